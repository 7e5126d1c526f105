"""Grades with an order, such as Kellgren-Lawrence 0-4 (CORAL: Cao, Mirjalili & Raschka 2020, arXiv 1901.07884)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class OrdinalHead(nn.Module):
    """One score and ordered thresholds: [B, width] to logits [B, grades - 1] of "the grade is above k"."""

    def __init__(self, width: int, grades: int) -> None:
        super().__init__()
        if grades < 2:
            raise ValueError(f"an ordinal scale needs at least 2 grades, not {grades}")
        self.score = nn.Linear(width, 1, bias=False)
        self.first = nn.Parameter(torch.tensor([grades / 2 - 1.0]))
        self.gaps = nn.Parameter(torch.zeros(grades - 2))  # softplus keeps thresholds in order

    def forward(self, features: Tensor) -> Tensor:
        steps = torch.cat([torch.zeros_like(self.first), nn.functional.softplus(self.gaps).cumsum(dim=0)])
        return self.score(features) + self.first - steps


def ordinal_loss(logits: Tensor, grades: Tensor) -> Tensor:
    """Mean cross-entropy of the questions "above k?": logits [B, G - 1], grades [B] float or int, NaN or < 0 not known.

    Returns:
        []; 0 with a gradient of 0 where nothing is known.
    """
    values = grades.float()
    known = values >= 0  # false for NaN
    above = values.unsqueeze(1) > torch.arange(logits.shape[1], device=logits.device)
    terms = binary_cross_entropy_with_logits(logits, above.float(), reduction="none").mean(dim=1)
    return torch.where(known, terms, 0.0).sum() / known.sum().clamp(min=1)


def expected_grade(logits: Tensor) -> Tensor:
    """The mean of the predicted distribution: [B], a real number in [0, G - 1]."""
    return logits.sigmoid().sum(dim=1)


def grade(logits: Tensor) -> Tensor:
    """The median grade: [B] int64, how many thresholds are likelier passed than not."""
    return (logits > 0).sum(dim=1)
