"""Joining the processes that a launcher started, on the right device and in the right precision."""

from __future__ import annotations

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from vlp.training.config import LoopConfig
from vlp.training.distributed import check_world_size, world_size


def start_processes(config: LoopConfig) -> Accelerator:
    """Join the processes that torchrun or accelerate started, choose device and precision. May be called again.

    Raises:
        UserError: another number of processes than asked for.
    """
    accelerator = _accelerator(config)
    check_world_size(config.processes)
    return accelerator


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        torch.distributed.barrier()


def _accelerator(config: LoopConfig) -> Accelerator:
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    bf16 = config.precision == "bf16" or (config.precision == "auto" and _has_bf16(on_cpu))
    AcceleratorState._reset_state()  # or a second run in this process could not choose another precision
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="bf16" if bf16 else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _has_bf16(on_cpu: bool) -> bool:
    """Whether the device multiplies bfloat16 itself; emulated it is slower than float32."""
    if not on_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.12 on
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
