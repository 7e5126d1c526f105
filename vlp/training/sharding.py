"""FSDP2: weights, gradients and moments spread over the processes, and whole again for checkpoints and checks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vlp.training.distributed import world_size
from vlp.training.speed import repeated_blocks


def shard(module: nn.Module, device: torch.device) -> None:
    """Spread ``module`` over all processes, in place: each block for itself, and the rest together.

    Every process starts from the weights of process 0, as with DistributedDataParallel. Weights stay float32 and are
    gathered so; autocast chooses the precision of the arithmetic, so that losses equal those of replicated training.
    """
    with torch.no_grad():
        for value in module.state_dict().values():
            dist.broadcast(value, 0)
    mesh = init_device_mesh(device.type, (world_size(),))
    for block in repeated_blocks(module):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def whole(value: Any, keep: bool = True) -> Any:
    """``value`` (tensors in dicts and lists) with every sharded tensor whole, tensors on the CPU and detached.

    Every process must call it; those that do not ``keep`` get None in place of tensors, and hold one at a time.
    """
    if isinstance(value, dict):
        return {key: whole(part, keep) for key, part in value.items()}
    if isinstance(value, list):
        return [whole(part, keep) for part in value]
    if isinstance(value, DTensor):
        value = value.full_tensor()
    if isinstance(value, Tensor):
        return value.detach().cpu() if keep else None
    return value


def spread_moments(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """``state`` (an optimizer's, whole) with each moment sharded as its parameter of ``optimizer`` is."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread: dict[int, dict[str, Any]] = {}
    for number, moments in state["state"].items():
        parameter = parameters[number]
        spread[number] = dict(moments)
        if not isinstance(parameter, DTensor):
            continue
        for key, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and key != "step":
                moved = value.to(parameter.device)
                spread[number][key] = distribute_tensor(moved, parameter.device_mesh, parameter.placements)
    return {**state, "state": spread}
