"""Logits of many rows against many columns, a block of rows at a time: the whole matrix is never in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

ELEMENTS = 2**22
"""Logits of one block: 16 MB in float32. Smaller problems are one block and are not computed twice."""


def in_blocks(
    part: Callable[[int, int], Tensor], rows: int, columns: int, elements: int = ELEMENTS
) -> Iterator[Tensor]:
    """``part(start, stop)`` of slices of ``rows`` in order, each made again in the backward pass.

    What a slice keeps for its gradient is dropped and recomputed, so memory is one block of at most ``elements``
    logits (at least one row), whatever ``rows`` and ``columns`` are. ``part`` must draw no random numbers.

    Args:
        part: from the rows ``start`` to ``stop``, differentiable in whatever tensors it closes over.
    """
    step = max(1, elements // max(columns, 1))
    if step >= rows:
        yield part(0, rows)
        return
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        if torch.is_grad_enabled():
            value = checkpoint(part, start, stop, use_reentrant=False, preserve_rng_state=False)
        else:
            value = part(start, stop)
        assert isinstance(value, Tensor)
        yield value


def sum_by_blocks(part: Callable[[int, int], Tensor], rows: int, columns: int, elements: int = ELEMENTS) -> Tensor:
    """The sum of :func:`in_blocks`."""
    first, *others = in_blocks(part, rows, columns, elements)
    return sum(others, first)
