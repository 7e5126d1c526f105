"""Next-token prediction for report generation."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def captioning_loss(logits: Tensor, ids: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of every token given those before it.

    Args:
        logits: [B, T, V] at each position of ``ids``; the last position's are not used.
        ids: [B, T] int64.
        mask: [B, T], 1 for tokens and 0 for padding; padding is no target.
        smoothing: label smoothing in [0, 1).

    Returns:
        []; 0 where no token has a successor.
    """
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    total = cross_entropy(
        logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100, label_smoothing=smoothing, reduction="sum"
    )
    return total / (targets != -100).sum().clamp(min=1)
