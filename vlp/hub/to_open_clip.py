"""The dual encoder as an open_clip folder (``local-dir:``): open_clip_config.json, open_clip_model.safetensors, tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from anonymize.console import UserError
from anonymize.files import write_bytes_atomic, write_json
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.encoders.weights import plain_state
from vlp.hub.rgb import rgb_backbone, same_size_options
from vlp.hub.to_transformers import write_tokenizer

# RoBERTa under another name: the same tensors, and open_clip knows only these three types
_TEXT_TYPES = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "xlm-roberta", "camembert": "roberta"}
_POOLERS = {"mean": "mean_pooler", "cls": "cls_last_hidden_state_pooler"}
_RESIZE = {"squash": "squash", "pad": "longest"}


def write_open_clip(dual: DualEncoder, folder: Path, siglip: bool) -> list[str]:
    """Write a folder for ``open_clip.create_model_from_pretrained("local-dir:FOLDER")``.

    Args:
        siglip: whether the model was trained with SigLIP's bias.

    Returns:
        Remarks for the card.

    Raises:
        UserError: a tower, a pooling or an input that open_clip cannot express, and why.
    """
    vision, visual = _vision(dual.image, dual.image_projection)
    text, kind = dual.text, str(dual.text.backbone_config["model_type"])
    if kind not in _TEXT_TYPES or text.pooling not in _POOLERS:
        raise UserError(
            f"open_clip cannot express a text tower of type {kind} pooled by {text.pooling}: it knows "
            f"{', '.join(_TEXT_TYPES)} with mean or cls. Export to transformers or onnx instead"
        )
    if dual.study_attention is not None:
        raise UserError("open_clip sees one image at a time: dual.study_pooling=attention has no place there")
    values = text.backbone.config.to_dict()
    values |= {"model_type": _TEXT_TYPES[kind], "pad_token_id": text.tokenizer.pad_id}
    write_json(folder / "config.json", values)
    write_tokenizer(text.tokenizer, folder, text.config.max_length)
    config = {
        "embed_dim": dual.width,
        "vision_cfg": {**vision, "image_size": dual.image.image_size},
        "text_cfg": {
            "hf_model_name": str(folder.resolve()),  # open_clip resolves no relative path here
            "hf_tokenizer_name": str(folder.resolve()),
            "hf_model_pretrained": False,
            "hf_proj_type": "linear",
            "hf_pooler_type": _POOLERS[text.pooling],
            "context_length": text.config.max_length,
            "vocab_size": int(text.backbone.config.vocab_size),
        },
        **({"init_logit_bias": 0.0} if siglip else {}),
    }
    image = dual.image.config
    preprocess = {
        "mode": "RGB",
        "mean": [image.mean] * 3,
        "std": [image.std] * 3,
        "interpolation": "bilinear",
        "resize_mode": _RESIZE.get(image.framing, "squash"),
        "fill_color": 0,
    }
    state = {f"visual.{key}": value for key, value in visual.items()}
    state |= {f"text.transformer.{key}": value for key, value in text.backbone.state_dict().items()}
    state["text.proj.weight"] = dual.text_projection.state_dict()["weight"]
    state["logit_scale"] = dual.logit_scale.detach()[0]
    if siglip:
        state["logit_bias"] = dual.logit_bias.detach()[0]
    write_bytes_atomic(folder / "open_clip_model.safetensors", save(plain_state(state)))
    write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
    return [
        f'open_clip.create_model_from_pretrained("local-dir:{folder}"), open_clip.get_tokenizer("local-dir:{folder}")',
        "after moving this folder, write its new place into open_clip_config.json: hf_model_name, hf_tokenizer_name",
        "open_clip resizes the whole picture: cut a radiograph to the body first, as `vlp prepare` does",
    ]


def _vision(image: ImageEncoder, projection: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """vision_cfg, and the tensors below ``visual.``."""
    matrix: Tensor = projection.state_dict()["weight"]  # [E, D]
    if not image.is_vit:
        return _timm_vision(image, matrix)
    if image.pooling not in ("cls", "mean"):
        raise UserError(
            f"open_clip pools by the class token or by the mean, this image tower by {image.pooling}; train with "
            "image.pooling=cls or mean, or export to timm or onnx"
        )
    return _native_vision(image, matrix)


def _native_vision(image: ImageEncoder, matrix: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A plain vision transformer in open_clip's own names: it can take the mean after the norm, its timm adapter not."""
    vit: Any = rgb_backbone(image, same_size_options(image))
    state = dict(vit.state_dict())
    block = vit.blocks[0]
    width, heads, gamma = image.width, block.attn.num_heads, getattr(block.ls1, "gamma", None)
    hidden = block.mlp.fc1.weight.shape[0]
    plain = (
        type(block).__name__ == "Block"
        and vit.num_prefix_tokens == 1
        and vit.cls_token is not None
        and not vit.no_embed_class
        and isinstance(block.mlp.act, nn.GELU)
        and not hasattr(block.mlp, "fc1_g")
        and isinstance(block.attn.q_norm, nn.Identity)
        and isinstance(vit.fc_norm, nn.Identity)
        and isinstance(vit.norm, nn.LayerNorm)
    )
    if not plain:
        raise UserError(
            f"open_clip has no vision transformer like {image.config.name} (registers, gates or norms of its own); export "
            "to timm or onnx instead"
        )
    config: dict[str, Any] = {
        "layers": len(vit.blocks),
        "width": width,
        "head_width": width // heads,
        "mlp_ratio": hidden / width,
        "patch_size": image.patch,
        "no_ln_pre": isinstance(vit.norm_pre, nn.Identity),
        "pool_type": "tok" if image.pooling == "cls" else "avg",
        "norm_kwargs": {"eps": vit.norm.eps},
        **({"ls_init_value": 1.0} if gamma is not None else {}),
    }
    position = state["pos_embed"][0].clone()
    if "patch_embed.proj.bias" in state:  # open_clip's patches have none: it is the same on every one of them
        position[1:] += state["patch_embed.proj.bias"]
    found = {
        "class_embedding": state["cls_token"][0, 0],
        "positional_embedding": position,
        "conv1.weight": state["patch_embed.proj.weight"],
        "proj": matrix.t(),
        "ln_post.weight": state["norm.weight"],
        "ln_post.bias": state["norm.bias"],
    }
    if not config["no_ln_pre"]:
        found |= {f"ln_pre.{part}": state[f"norm_pre.{part}"] for part in ("weight", "bias")}
    for number in range(len(vit.blocks)):
        found |= _block(state, f"blocks.{number}.", f"transformer.resblocks.{number}.", width)
    return config, found


def _block(state: dict[str, Tensor], old: str, new: str, width: int) -> dict[str, Tensor]:
    names = {
        "norm1.": "ln_1.",
        "norm2.": "ln_2.",
        "attn.proj.": "attn.out_proj.",
        "attn.qkv.": "attn.in_proj_",
        "mlp.fc1.": "mlp.c_fc.",
        "mlp.fc2.": "mlp.c_proj.",
        "ls1.": "ls_1.",
        "ls2.": "ls_2.",
    }
    found: dict[str, Tensor] = {new + "attn.in_proj_bias": torch.zeros(3 * width)}
    for key, value in state.items():
        if key.startswith(old):
            inner = key.removeprefix(old)
            prefix = next(name for name in names if inner.startswith(name))
            found[new + names[prefix] + inner.removeprefix(prefix)] = value
    return found


def _timm_vision(image: ImageEncoder, matrix: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Any other tower of timm through open_clip's adapter, where timm's own pooling is the mean over all places."""
    twin: Any = rgb_backbone(image, {})
    probe = torch.rand(2, 1, image.image_size, image.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        twin.reset_classifier(0, "avg")
        same = twin(probe.expand(-1, 3, -1, -1))
        wanted = image.eval()(probe).pooled
    if same.shape != wanted.shape or not torch.allclose(same, wanted, rtol=1e-4, atol=1e-4):
        raise UserError(
            f"open_clip pools {image.config.name} in another way than {image.pooling} here (a norm after the mean, or a "
            "maximum); export to timm or onnx instead"
        )
    config = {
        "timm_model_name": image.config.name,
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    }
    state = {f"trunk.{key}": value for key, value in twin.state_dict().items()}
    return config, {**state, "head.proj.weight": matrix}
