"""Weights in and out of safetensors, with a check that a checkpoint really fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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
        raise UserError(f"{path} is missing or is no safetensors file (pickled weights are refused)") from None


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
            f"missing or of another shape: {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
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
    """Start ``encoder`` from local weights for its architecture; returns the coverage.

    Three input channels are summed into one and position embeddings resampled, as timm does.

    Args:
        path: a safetensors file in timm's or open_clip's names (its image tower), or the folder of one.

    Raises:
        UserError: not a safetensors file, or fewer than 95 % of the weights fit.
    """
    from timm.models import adapt_input_conv
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    if path.is_dir():
        names = ("open_clip_model.safetensors", "model.safetensors")
        path = next((path / name for name in names if (path / name).is_file()), path / names[-1])
    state = {k.removeprefix("backbone."): v for k, v in read_safetensors(path).items()}
    native = "visual.conv1.weight" in state  # open_clip's own transformer, whose patches have no bias
    trunk = "visual.trunk."  # open_clip around a tower of timm
    if any(key.startswith(trunk) for key in state):
        state = {k.removeprefix(trunk): v for k, v in state.items() if k.startswith(trunk)}
    if isinstance(encoder.backbone, VisionTransformer):
        state = checkpoint_filter_fn(state, encoder.backbone)
    own = encoder.backbone.state_dict()
    if native and "patch_embed.proj.bias" in own:
        state.setdefault("patch_embed.proj.bias", own["patch_embed.proj.bias"].new_zeros(encoder.width))
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            state[key] = adapt_input_conv(1, value)
    return load_weights(encoder.backbone, state, str(path))
