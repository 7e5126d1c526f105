"""Embeddings of a batch whose activations do not fit in memory, with the exact gradient of one loss over all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vlp.training.distributed import most_over_ranks


def chunked(encode: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], chunk: int) -> tuple[Tensor, ...]:
    """``encode(*inputs)`` over slices of at most ``chunk`` rows, holding one slice's activations at a time.

    The gradient cache of Gao et al. 2021 (arXiv 2101.06983) by recomputation: embeddings of all slices enter one loss,
    and each slice runs again in the backward pass with the random numbers (CPU and device) of its first run, so dropout
    and augmentation agree. One more forward pass is the price. Unlike the published two-phase form, the step stays one
    forward and one backward: DistributedDataParallel reduces each gradient once, and overlaps it.

    Args:
        encode: takes slices of ``inputs`` and returns tensors with one row for each of theirs.
        inputs: tensors of n rows each, at least one of them on the device that ``encode`` draws random numbers on.
        chunk: rows; 0 for all at once.

    Returns:
        What ``encode`` returns, n rows each. Every rank makes as many slices as the one with most rows needs, since
        sharded parameters are gathered at each (FSDP).
    """
    count = len(inputs[0])
    if not chunk:
        return encode(*inputs)
    slices = most_over_ranks(-(-count // chunk), inputs[0].device)
    if slices <= 1:
        return encode(*inputs)
    parts: list[tuple[Tensor, ...]] = []
    for piece in zip(*(value.tensor_split(slices) for value in inputs), strict=True):
        if not torch.is_grad_enabled():  # nothing to run again
            parts.append(encode(*piece))
            continue
        # the checkpoint saves the random state of the devices of its tensor arguments only: no input may travel in a closure
        found = checkpoint(encode, *piece, use_reentrant=False, preserve_rng_state=True)
        assert isinstance(found, tuple)
        parts.append(found)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
