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
    """Start ``encoder`` from a local safetensors file with timm's tensors for its architecture; returns the coverage.

    Three input channels are summed into one and position embeddings resampled, as timm does.

    Raises:
        UserError: not a safetensors file, or fewer than 95 % of the weights fit.
    """
    from timm.models import adapt_input_conv
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    state = {k.removeprefix("backbone."): v for k, v in read_safetensors(path).items()}
    if isinstance(encoder.backbone, VisionTransformer):
        state = checkpoint_filter_fn(state, encoder.backbone)
    own = encoder.backbone.state_dict()
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            state[key] = adapt_input_conv(1, value)
    return load_weights(encoder.backbone, state, str(path))
