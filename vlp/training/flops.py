"""How much arithmetic a step is, and which share of the device's peak that makes (model FLOP utilisation)."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_PEAKS: dict[str, tuple[float, float]] = {
    "GH200": (989, 67),
    "H200": (989, 67),
    "H100 PCIE": (756, 51),
    "H100 NVL": (835, 60),
    "H100": (989, 67),
    "H800": (989, 67),
    "H20": (148, 44),
    "B200": (2250, 75),
    "A100": (312, 19.5),
    "A800": (312, 19.5),
    "A40": (149.7, 37.4),
    "A30": (165, 10.3),
    "A10": (125, 31.2),
    "L40S": (362, 91.6),
    "L40": (181, 90.5),
    "L4": (121, 30.3),
    "RTX 6000 ADA": (364.2, 91.1),
    "RTX A6000": (154.8, 38.7),
    "RTX 5090": (209.5, 104.8),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71, 35.6),
    "V100": (125, 15.7),
    "T4": (65, 8.1),
}
"""Dense peak of one device in TFLOP/s, by the part of its name that tells: (bf16 on tensor cores, float32 without them).

Dense values of NVIDIA's product data sheets and architecture white papers (Volta, Turing, Ampere, Ada, Hopper, Blackwell),
where those quote sparse ones, halved; consumer cards with float32 accumulation. V100 and T4 have no bf16: float16 is given.
The longest fitting name counts, so that "H100 PCIe" is not an "H100" (SXM).
"""


class FlopCount(TorchDispatchMode):
    """Counts floating-point operations of matrix products, convolutions and attention (2 for a multiply-add) inside.

    Uses PyTorch's own formulas (``torch.utils.flop_counter``). What activation checkpointing and slices compute a second
    time is not counted, as in Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B): utilisation is of the model's
    arithmetic, not of the hardware's. Numbers and random states of what runs inside stay as they are.

    Attributes:
        total: operations so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._backward = False

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Inside is a backward pass: whatever runs with gradients enabled there is computed a second time."""
        self._backward = True
        try:
            yield
        finally:
            self._backward = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not (self._backward and torch.is_grad_enabled()):
            self.total += _count(func._overloadpacket, args, kwargs, out)
        return out


def _count(operation: Any, args: Any, kwargs: Any, out: Any) -> int:
    aten = torch.ops.aten
    if operation is aten._scaled_dot_product_flash_attention_for_cpu:  # not in PyTorch's table
        return sdpa_flop_count(*(part.shape for part in args[:3]))
    if operation is aten._scaled_dot_product_flash_attention_for_cpu_backward:
        return sdpa_backward_flop_count(*(part.shape for part in args[:4]))
    formula = flop_registry.get(operation)
    return int(formula(*args, **kwargs, out_val=out)) if formula is not None else 0


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Inside, ``module`` may run forward and backward without compiled code; after it, buffers are as before and
    gradients are gone."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])
        module.zero_grad(set_to_none=True)


def peak_flops(device: torch.device, bf16: bool) -> float | None:
    """Peak operations a second of ``device`` in the precision of the run; None for a GPU that the table does not have.

    A CPU has no name to go by: its peak is what a large float32 (or bf16) matrix product reaches on this process's threads.
    """
    if device.type == "cpu":
        return _measured(torch.bfloat16 if bf16 else torch.float32, torch.get_num_threads())
    return named_peak(torch.cuda.get_device_name(device), bf16) if device.type == "cuda" else None


def named_peak(name: str, bf16: bool) -> float | None:
    """Peak operations a second of the GPU called ``name``; None where the table does not have it."""
    words = f" {name.upper().replace('-', ' ').replace('_', ' ')} "
    found = [key for key in _PEAKS if f" {key} " in words]
    return _PEAKS[max(found, key=len)][0 if bf16 else 1] * 1e12 if found else None


@functools.cache
def _measured(dtype: torch.dtype, threads: int, side: int = 768) -> float:
    state = torch.get_rng_state()
    left, right = torch.randn(2, side, side).to(dtype)
    torch.set_rng_state(state)
    best = float("inf")
    with torch.no_grad():
        for _ in range(6):
            began = time.perf_counter()
            torch.mm(left, right)
            best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
