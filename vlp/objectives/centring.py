"""What keeps a teacher from giving one answer to everything: balanced assignments, or a running centre."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vlp.objectives.fused import Fused
from vlp.objectives.precision import precise
from vlp.training.distributed import sum_over_ranks

Centring = Literal["sinkhorn", "softmax"]
_LEAST = 1e-30  # of a sum that is divided by


def powered(scores: Tensor, temperature: float) -> Tensor:
    """Cosines [n, K] to exp((cosine - 1) / temperature), at most 1, float32 at least."""
    return ((precise(scores) - 1) / temperature).exp()


@torch.no_grad()
def sinkhorn(
    scores: Tensor, temperature: float, iterations: int = 3, powers: Callable[..., Tensor] = powered
) -> Tensor:
    """Soft assignments of all ranks' rows to prototypes, each prototype used equally (Caron et al. 2020, SwAV).

    Only factors of rows and columns change from one iteration to the next: the table is read, and written once.

    Args:
        scores: [n, K] cosines; n may differ between ranks.
        powers: :func:`powered`, compiled or not.

    Returns:
        [n, K], rows sum to 1.
    """
    with torch.autocast(scores.device.type, enabled=False):  # or the sums would be of bfloat16
        table = powers(scores, temperature)
        rows = sum_over_ranks(table.new_full((1,), len(scores)))
        by_row = table.new_ones(len(scores))
        by_column = table.new_ones(table.shape[1])
        for _ in range(iterations):
            by_column = 1 / (sum_over_ranks(by_row @ table) * table.shape[1]).clamp(min=_LEAST)
            by_row = 1 / (table @ by_column * rows).clamp(min=_LEAST)
        return table.mul_((by_row * rows).unsqueeze(1)).mul_(by_column)


class Targets(nn.Module):
    """The teacher's scores [n, K] as assignments [n, K] whose rows sum to 1.

    ``sinkhorn`` balances each batch and keeps nothing. ``softmax`` takes off the running mean of the scores of all ranks
    (Caron et al. 2021, arXiv 2104.14294), which is in the checkpoint as ``centre`` [K].
    """

    centre: Tensor

    def __init__(self, kind: Centring, outputs: int, momentum: float) -> None:
        """``momentum``: share of the centre that a batch leaves as it was."""
        super().__init__()
        self.kind, self.momentum = kind, momentum
        self.powers = Fused(powered)
        if kind == "softmax":
            self.register_buffer("centre", torch.zeros(outputs))

    @torch.no_grad()
    def forward(self, scores: Tensor, temperature: float) -> Tensor:
        """In training mode a softmax's centre moves, after the assignments were made."""
        if self.kind == "sinkhorn":
            return sinkhorn(scores, temperature, powers=self.powers)
        plain = precise(scores)
        assigned = ((plain - self.centre) / temperature).softmax(dim=-1)
        if self.training:
            totals = sum_over_ranks(torch.cat([plain.sum(dim=0), plain.new_full((1,), len(plain))]))
            self.centre.lerp_(totals[:-1] / totals[-1].clamp(min=1), 1 - self.momentum)
        return assigned
