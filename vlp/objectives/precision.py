"""Losses are computed in float32 whatever autocast makes of the towers, and in float64 where everything is."""

from __future__ import annotations

import torch
from torch import Tensor


def precise(values: Tensor) -> Tensor:
    """``values`` in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
