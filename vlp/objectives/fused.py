"""Functions that read and write large tensors many times, and few times where they are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Fused(nn.Module):
    """``function`` of tensors as a module, so that ``compile`` (:func:`vlp.training.speed.switched`) finds it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Any) -> Any:
        """What the function returns."""
        return self.function(*values)
