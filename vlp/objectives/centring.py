"""What keeps a teacher from giving one answer to everything: balanced assignments, or a running centre."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vlp.objectives.precision import precise
from vlp.training.distributed import sum_over_ranks

Centring = Literal["sinkhorn", "softmax"]


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Soft assignments of all ranks' rows to prototypes, each prototype used equally (Caron et al. 2020, SwAV).

    Args:
        scores: [n, K] cosines; n may differ between ranks.

    Returns:
        [n, K], rows sum to 1.
    """
    shares = ((precise(scores) - 1) / temperature).exp()  # cosines are at most 1
    rows = sum_over_ranks(shares.new_tensor([len(scores)]))
    for _ in range(iterations):
        shares = shares / (sum_over_ranks(shares.sum(dim=0)) * shares.shape[1]).clamp(min=1e-30)
        shares = shares / (shares.sum(dim=1, keepdim=True) * rows).clamp(min=1e-30)
    return shares * rows


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
        if kind == "softmax":
            self.register_buffer("centre", torch.zeros(outputs))

    @torch.no_grad()
    def forward(self, scores: Tensor, temperature: float) -> Tensor:
        """In training mode a softmax's centre moves, after the assignments were made."""
        if self.kind == "sinkhorn":
            return sinkhorn(scores, temperature)
        plain = precise(scores)
        assigned = ((plain - self.centre) / temperature).softmax(dim=-1)
        if self.training:
            totals = sum_over_ranks(torch.cat([plain.sum(dim=0), plain.new_tensor([len(plain)])]))
            self.centre.lerp_(totals[:-1] / totals[-1].clamp(min=1), 1 - self.momentum)
        return assigned
