"""Findings that are present or absent, or one of several classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def binary_loss(logits: Tensor, labels: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the known labels.

    Args:
        logits: [B, K].
        labels: [B, K] float in [0, 1]; NaN where not known.
        positive_weight: [K], weight of positives against negatives.

    Returns:
        []; 0 with a gradient of 0 where nothing is known.
    """
    known = ~labels.isnan()
    terms = binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, 0.0), pos_weight=positive_weight, reduction="none"
    )
    return torch.where(known, terms, 0.0).sum() / known.sum().clamp(min=1)


def class_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy: logits [B, C], labels [B] int64, -100 where not known; 0 where nothing is known."""
    total = cross_entropy(logits, labels, ignore_index=-100, label_smoothing=smoothing, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def positive_weight(labels: Tensor, limit: float = 10.0) -> Tensor:
    """Negatives per positive of each column of ``labels`` [N, K] (NaN: not known), within [1 / limit, limit]: [K]."""
    positives = (labels == 1).sum(dim=0).float()
    negatives = (labels == 0).sum(dim=0).float()
    return (negatives / positives.clamp(min=1)).clamp(1 / limit, limit)
