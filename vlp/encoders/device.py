"""To the device without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device``. A copy from pageable memory to a GPU would wait until it has done all that it was given."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
