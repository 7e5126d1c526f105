"""How many processes run, and sums and gathers over them. The only file, with the objectives, that knows.

Start processes with ``torchrun --nproc_per_node N -m vlp.cli ...`` (gloo on a CPU, nccl on GPUs) or, on GPUs,
``accelerate launch``. ``accelerate launch --cpu --num_processes 2`` starts one process only.
"""

from __future__ import annotations

import os
import random

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from anonymize.console import UserError


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process; 0 writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def check_world_size(asked: int | None) -> None:
    """Refuse to train with another number of processes than was asked for.

    Raises:
        UserError: the launcher's WORLD_SIZE or the configured ``processes`` differs from what runs.
    """
    running = world_size()
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != running:
        raise UserError(f"WORLD_SIZE is {launched} but {running} process(es) take part; start with torchrun")
    if asked is not None and asked != running:
        raise UserError(
            f"processes={asked} was asked for but {running} run; start with `torchrun --nproc_per_node {asked} -m vlp.cli` "
            "(`accelerate launch --cpu` starts one process only)"
        )


class _Gather(torch.autograd.Function):
    """Concatenation of every rank's rows, with the exact gradient.

    A row enters every rank's loss, so its gradient is the sum over ranks of what flows back to it.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        ctx.rows = rows.shape[0]  # type: ignore[attr-defined]
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        rows = ctx.rows  # type: ignore[attr-defined]
        return total[rank() * rows : (rank() + 1) * rows]


def gather(rows: Tensor) -> Tensor:
    """[b, ...] of each rank to [world * b, ...] on every rank, in rank order, differentiable. All ranks need equal b."""
    if world_size() == 1:
        return rows
    if rows.requires_grad:
        return _Gather.apply(rows)
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def sum_over_ranks(values: Tensor) -> Tensor:
    """``values`` summed over ranks, without gradient; the argument stays as it is."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def mean_of_all(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of ``values`` [n] where ``counted`` [n] (0 or 1, or a weight) over every rank's rows; n may differ by rank.

    Returns:
        [], this rank's share: its mean over ranks is the mean of all counted values, so that averaged gradients are
        exact however the rows are spread. 0 where nothing is counted anywhere.
    """
    weights = counted.to(values.dtype)
    total = sum_over_ranks(weights.sum().detach())
    return (values * weights).sum() * world_size() / total.clamp(min=1)


def most_over_ranks(count: int, device: torch.device) -> int:
    """The largest ``count`` of any rank."""
    if world_size() == 1:
        return count
    found = torch.tensor([count], device=device)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return int(found.item())


def mean_over_ranks(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Each value averaged over ranks; all ranks need the same keys."""
    if world_size() == 1 or not values:
        return values
    packed = torch.tensor([values[key] for key in sorted(values)], dtype=torch.float64, device=device)
    dist.all_reduce(packed)
    return dict(zip(sorted(values), (packed / world_size()).tolist(), strict=True))


def reseed(seed: int, step: int, rank: int) -> None:
    """Make every generator a pure function of (seed, step, rank), so that a resumed run draws what it would have drawn."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(4)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))  # CPU and accelerators
    np.random.seed(int(words[2]))
    random.seed(int(words[3]))
