"""Weights in and out of safetensors, with a check that a checkpoint really fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anonymize.console import UserError

if TYPE_CHECKING:
    from vlp.encoders.image import ImageEncoder

MINIMUM_COVERAGE = 0.95


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises:
        UserError: no such file, or it is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a local safetensors file") from None
        raise UserError(
            f"{path} is no safetensors file, or damaged. Pickled weights (.pth, .pt, .bin, .ckpt) are refused: opening one "
            "can run any program. Convert it where that is safe: safetensors.torch.save_file(torch.load(FILE, "
            "weights_only=True), 'model.safetensors')"
        ) from None


def load_weights(
    module: nn.Module, state: Mapping[str, Tensor], source: str, minimum: float = MINIMUM_COVERAGE
) -> float:
    """Copy the tensors of ``state`` whose name and shape fit into ``module``.

    Returns:
        The coverage: the share of the module's numbers that were found.

    Raises:
        UserError: coverage below ``minimum``. A checkpoint that loads nothing must not pass in silence.
    """
    own = module.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    total = sum(v.numel() for v in own.values())
    coverage = sum(own[k].numel() for k in fitting) / total if total else 1.0
    if coverage < minimum:
        missing = sorted(set(own) - set(fitting))
        raise UserError(
            f"{source}: only {coverage:.1%} of the model's weights are there ({minimum:.0%} needed); "
            f"missing or of another shape: {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}. The file has such as "
            f"{', '.join(sorted(state)[:3]) or 'nothing'}: it was made for another architecture or another program"
        )
    module.load_state_dict(dict(fitting), strict=False)
    return coverage


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: contiguous, on the CPU, none sharing memory with another."""
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        tensor = value.detach().cpu().contiguous()
        pointer = tensor.untyped_storage().data_ptr()
        plain[key] = tensor.clone() if pointer in seen or tensor.numel() != tensor.untyped_storage().size() else tensor
        seen.add(pointer)
    return plain


def load_backbone(encoder: ImageEncoder, path: Path) -> float:
    """Start ``encoder`` from released weights of its architecture; returns the coverage.

    ``path`` is a safetensors file, or a folder that holds one, in the layout of timm, of DINOv2's repository, of
    transformers' ``Dinov2Model`` (RAD-DINO) or of open_clip (its image tower). Colour patch embeddings become gray ones,
    normalisation included, and position embeddings are resampled (:mod:`vlp.encoders.released`). A mask token comes along.

    Raises:
        UserError: not a safetensors file, fewer than 95 % of the model's weights are there, or more than 5 % of the file's
            have no place in the model.
    """
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    from vlp.encoders import released

    file = released.weights_file(path)
    state = released.without_prefix(released.image_part(read_safetensors(file)))
    layout = released.layout_of(state)
    source = released.source_normalisation(file.parent, layout, encoder.backbone)
    state = released.as_timm(state, layout)
    mask_token = state.pop("mask_token", None)
    backbone = encoder.backbone
    if isinstance(backbone, VisionTransformer):
        antialias = layout != "transformers" or "reg_token" in state
        released.fit_positions(state, backbone, antialias)
        state = checkpoint_filter_fn(state, backbone)
    own = backbone.state_dict()
    if layout == "open_clip" and "patch_embed.proj.bias" in own:  # its own transformer has none
        state.setdefault("patch_embed.proj.bias", own["patch_embed.proj.bias"].new_zeros(encoder.width))
    for key in [k for k, v in state.items() if v.ndim == 4 and v.shape[1] == 3 and k in own and own[k].shape[1] == 1]:
        released.gray_patches(state, key.removesuffix(".weight"), source, encoder.config.mean, encoder.config.std)
    _refuse_left_over(state, own, str(file), layout)
    coverage = load_weights(backbone, state, f"{file} (names of {layout}'s layout)")
    if mask_token is not None and encoder.mask_token is not None and mask_token.shape == encoder.mask_token.shape:
        with torch.no_grad():
            encoder.mask_token.copy_(mask_token)
    return coverage


def _refuse_left_over(state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str, layout: str) -> None:
    """A file of a larger model would fill a smaller one without a word."""
    body = {k: v for k, v in state.items() if not k.startswith(("head", "fc_norm", "fc.", "classifier"))}
    extra = sorted(k for k in body if k not in own)
    if "reg_token" in extra:
        count = body["reg_token"].shape[1]
        raise UserError(f"{source}: has {count} registers and the model none; set image.registers={count}")
    total = sum(v.numel() for v in body.values())
    used = sum(v.numel() for k, v in body.items() if k in own)
    if 0 < used < MINIMUM_COVERAGE * total:  # nothing in common is load_weights's to say
        raise UserError(
            f"{source} ({layout}'s layout): {1 - used / total:.0%} of its weights have no place in the model, such as "
            f"{', '.join(extra[:3])}; it is another architecture, so change image.name"
        )
