"""The head of self-distillation: features to scores of prototypes (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from vlp.objectives.precision import precise
from vlp.training.distributed import gather, world_size


class BatchStatistics(nn.BatchNorm1d):
    """Batch normalisation [n, D] by the statistics of all ranks' rows (n may differ), in training and evaluation.

    There are no running statistics: the teacher's are those of its own crops. Without normalisation, heads on few images
    go constant. torch's SyncBatchNorm runs on no CPU.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, track_running_stats=False)

    def forward(self, input: Tensor) -> Tensor:
        if world_size() == 1:
            return super().forward(input)
        rows = precise(input)
        totals = gather(torch.cat([rows.sum(dim=0), rows.new_full((1,), len(rows))]).unsqueeze(0)).sum(dim=0)
        count = totals[-1]
        centred = rows - totals[:-1] / count
        variance = gather(centred.square().sum(dim=0, keepdim=True)).sum(dim=0) / count
        scaled = centred * (variance + self.eps).rsqrt() * precise(self.weight) + precise(self.bias)
        return scaled.to(input.dtype)


class DinoHead(nn.Module):
    """Three linear layers, a unit-length bottleneck and unit-length prototypes: [n, width] to cosines [n, outputs]."""

    def __init__(self, width: int, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            BatchStatistics(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            BatchStatistics(hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(outputs, bottleneck))
        for tensor in (*(layer.weight for layer in self.layers if isinstance(layer, nn.Linear)), self.prototypes):
            nn.init.trunc_normal_(tensor, std=0.02)

    def forward(self, features: Tensor, frozen: bool = False) -> Tensor:
        """``frozen``: the prototypes get no gradient, as in the first steps of DINO, which it steadies."""
        prototypes = self.prototypes.detach() if frozen else self.prototypes
        return linear(normalize(self.layers(features), dim=-1), normalize(prototypes, dim=-1))
