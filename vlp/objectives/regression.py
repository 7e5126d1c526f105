"""Quantities, such as bone age in months."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss


class Standardizer(nn.Module):
    """Targets in units of the training set's standard deviation; saved with the model, so that it answers in months."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([mean], dtype=torch.float32))
        self.register_buffer("std", torch.tensor([max(std, 1e-6)], dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """Natural units to standard units, any shape."""
        return (values - self.mean) / self.std

    def inverse(self, values: Tensor) -> Tensor:
        """Standard units to natural units, any shape."""
        return values * self.std + self.mean


def regression_loss(predicted: Tensor, wanted: Tensor, beta: float = 0.2) -> Tensor:
    """Mean Huber loss over the known targets: near the absolute error, which the mean absolute deviation rewards.

    Args:
        predicted, wanted: [B] in standard units; ``wanted`` is NaN where not known.
        beta: below this difference the loss is quadratic.

    Returns:
        []; 0 with a gradient of 0 where nothing is known.
    """
    known = ~wanted.isnan()
    terms = smooth_l1_loss(predicted, torch.where(known, wanted, 0.0), beta=beta, reduction="none")
    return torch.where(known, terms, 0.0).sum() / known.sum().clamp(min=1)
