"""Layouts of released vision transformers, and what turns their tensors into ours.

Read are files of timm, of DINOv2's own repository and of transformers' ``Dinov2Model`` (RAD-DINO among them). The patch
embedding of a colour model becomes that of a gray one together with its normalisation: with ``x`` a pixel (0-1) and
``z = (x - m) / s`` what our towers see, ``sum_c W_c (x - m_c) / s_c = z s sum_c W_c / s_c + sum_c W_c (m - m_c) / s_c``,
so that a gray image has the features that it has in the source model, to rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from anonymize.files import read_json

Layout = Literal["timm", "dinov2", "transformers", "open_clip", "unknown"]
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_TRUNK = "visual.trunk."  # open_clip around a tower of timm
_PREFIXES = (
    "backbone.",
    "model.",
    "module.",
    "teacher.backbone.",
    "dinov2.",
    "dinov2_with_registers.",
    "vit.",
    "image.",
)
# from transformers' names, of files (4.x and 5.x write the same) and of 5.x in memory, to timm's
_RENAMED = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
_QUERY = re.compile(r"^(blocks\.\d+)\.attention\.(?:attention\.query|q_proj)\.(weight|bias)$")


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel that a model expects, of pixels scaled to 0-1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def weights_file(path: Path) -> Path:
    """The file of weights that ``path`` is, or that the folder ``path`` holds."""
    if not path.is_dir():
        return path
    names = ("open_clip_model.safetensors", "model.safetensors")
    return next((path / name for name in names if (path / name).is_file()), path / names[-1])


def image_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of an open_clip model the image tower: under timm's names where it is one of timm's, else under its own."""
    if any(key.startswith(_TRUNK) for key in state):
        return {key.removeprefix(_TRUNK): value for key, value in state.items() if key.startswith(_TRUNK)}
    return dict(state)


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """Whose names the tensors have."""
    if "visual.conv1.weight" in state:
        return "open_clip"
    if any(key.startswith("embeddings.patch_embeddings.") for key in state):
        return "transformers"
    if "mask_token" in state and "patch_embed.proj.weight" in state:
        return "dinov2"
    return (
        "timm" if any(key.startswith(("blocks.", "patch_embed.", "stages.", "layer1.")) for key in state) else "unknown"
    )


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without a prefix that wraps a whole backbone, such as ``backbone.`` or ``teacher.backbone.``."""
    for prefix in sorted(_PREFIXES, key=len, reverse=True):
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if len(inside) > len(state) / 2:
            return without_prefix(inside)
    return dict(state)


def source_normalisation(folder: Path, layout: Layout, backbone: torch.nn.Module) -> Normalisation:
    """What the source model expects of its pixels.

    From ``preprocessor_config.json`` (transformers), ``open_clip_config.json`` or ``config.json`` (timm) beside the weights;
    else ImageNet's for DINOv2's layouts, CLIP's for open_clip's own, else what timm says of the architecture.
    """
    found = _from_file(folder / "preprocessor_config.json", "image_mean", "image_std")
    if found is None and (folder / "open_clip_config.json").is_file():
        found = _pair(read_json(folder / "open_clip_config.json").get("preprocess_cfg", {}), "mean", "std")
    if found is None and layout == "open_clip":
        found = Normalisation(*_CLIP)
    if found is None and (folder / "config.json").is_file():
        inner = read_json(folder / "config.json").get("pretrained_cfg", {})
        found = _pair(inner, "mean", "std")
    if found is None and layout in ("dinov2", "transformers"):
        found = Normalisation(*_IMAGENET)
    return found or _pair(getattr(backbone, "pretrained_cfg", {}), "mean", "std") or Normalisation(*_IMAGENET)


def as_timm(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Tensors of any known layout under timm's names; queries, keys and values are joined."""
    if layout in ("timm", "open_clip"):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        for pattern, replacement in _RENAMED:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    joined: dict[str, Tensor] = {}
    for key, value in renamed.items():
        if match := _QUERY.match(key):
            block, kind = match.groups()
            others = [_sibling(renamed, key, name) for name in ("key", "value")]
            if all(other is not None for other in others):
                joined[f"{block}.attn.qkv.{kind}"] = torch.cat([value, *(o for o in others if o is not None)])
        elif ".attention." not in key:
            joined[key] = value
    for key in [k for k in joined if k.endswith(".mlp.gate_proj.weight") or k.endswith(".mlp.gate_proj.bias")]:
        up = key.replace("gate_proj", "up_proj")  # SwiGLU of transformers 5.x in memory
        joined[key.replace("gate_proj", "fc1")] = torch.cat([joined.pop(key), joined.pop(up)])
        down = key.replace("gate_proj", "down_proj")
        joined[key.replace("gate_proj", "fc2")] = joined.pop(down)
    if "register_tokens" in joined:
        joined["reg_token"] = joined.pop("register_tokens")
    if joined.get("mask_token") is not None:
        joined["mask_token"] = joined["mask_token"].reshape(1, 1, -1)
    return joined


def fit_positions(state: dict[str, Tensor], vit: VisionTransformer, antialias: bool) -> None:
    """Make ``pos_embed`` and ``cls_token`` fit ``vit`` in place: its grid, and whether its class token has a position.

    ``antialias``: how the source model itself shrinks its grid. DINOv2 and timm enlarge alike; when they shrink, DINOv2
    without registers does not average, timm and DINOv2 with registers do.
    """
    position, own = state.get("pos_embed"), vit.pos_embed
    if position is None or own is None or position.dim() != 3:
        return
    without_class = bool(getattr(vit, "no_embed_class", False))
    rows, columns = vit.patch_embed.grid_size
    prefix = position.shape[1] - math.isqrt(position.shape[1]) ** 2  # a square grid, and the class token before it
    if prefix > 1:
        return
    if prefix and without_class and "cls_token" in state:
        state["cls_token"] = state["cls_token"] + position[:, :1]
        position, prefix = position[:, 1:], 0
    side = math.isqrt(position.shape[1])
    state["pos_embed"] = resample_abs_pos_embed(
        position, [rows, columns], [side, side], num_prefix_tokens=prefix, antialias=antialias
    )


def gray_patches(state: dict[str, Tensor], key: str, source: Normalisation, mean: float, std: float) -> None:
    """Turn the colour convolution ``key`` (``.weight`` [D, 3, p, p]) into a gray one in place, normalisation included.

    The mean goes into the bias; a convolution without bias keeps the source's contrast, not its mean.
    """
    weight = state[f"{key}.weight"].float()
    if weight.shape[1] != 3:
        return
    middle = weight.new_tensor(source.mean).view(1, 3, 1, 1)
    spread = weight.new_tensor(source.std).view(1, 3, 1, 1)
    state[f"{key}.weight"] = (weight / spread).sum(dim=1, keepdim=True) * std
    if f"{key}.bias" in state:
        shift = (weight * (mean - middle) / spread).sum(dim=(1, 2, 3))
        state[f"{key}.bias"] = state[f"{key}.bias"].float() + shift


def _sibling(state: Mapping[str, Tensor], query: str, name: str) -> Tensor | None:
    return state.get(query.replace(".q_proj.", f".{name[0]}_proj.").replace(".query.", f".{name}."))


def _from_file(path: Path, mean: str, std: str) -> Normalisation | None:
    return _pair(read_json(path), mean, std) if path.is_file() else None


def _pair(values: Mapping[str, Any], mean: str, std: str) -> Normalisation | None:
    if not (isinstance(values.get(mean), list | tuple) and isinstance(values.get(std), list | tuple)):
        return None
    return Normalisation(tuple(float(x) for x in values[mean]), tuple(float(x) for x in values[std]))
