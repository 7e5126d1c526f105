"""Where the time of a GPU goes: the kernels of a few steps by what they are for, and what it waits for."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

KINDS = (  # the first whose pattern is in a kernel's name
    ("fused by the compiler", r"^triton_"),
    ("attention", r"flash|fmha|sdpa|attention|attn|dot_do_o|convert_dq"),
    ("matrix products", r"gemm|nvjet|cutlass__5x_cublas|cublas|splitk|gemv|_mm_"),
    ("optimizer, norms, teacher", r"multi_tensor|fused_adam|lpnorm"),
    ("convolutions", r"conv|im2col|wgrad|dgrad|cudnn|xmma|nchwto|nhwcto"),
    ("copies", r"memcpy|memset|catarray|copy"),
    ("embedding tables, indices", r"embedding|index|radixsort|sort|scatter|gather"),
    ("reductions and norms", r"reduce|softmax|layer_?norm|batch_?norm"),
    ("elementwise", r"elementwise|vectorized|dropout|grid_sampler"),
)
WARM, STEPS = 2, 3


class Profile:
    """Profiles ``STEPS`` steps; :meth:`at` is to be called with the index of every batch.

    The clock is the GPU's own, from the first kernel of the first of them to the end of the last, so that a queue which
    the host keeps full shows as no wait.
    """

    def __init__(self, first: int) -> None:
        """``first``: index of the batch from which on the profiler runs, ``WARM`` steps before it counts."""
        self.first = first
        self.result: dict[str, Any] = {}
        self._profile: Any = None

    @property
    def length(self) -> int:
        """Steps that it needs from ``first`` on."""
        return WARM + STEPS + 1

    def at(self, index: int) -> None:
        if index == self.first:
            self._profile = profile(
                activities=[ProfilerActivity.CUDA],
                schedule=schedule(wait=0, warmup=WARM, active=STEPS, repeat=1),
                on_trace_ready=self._read,
            )
            self._profile.__enter__()
        elif self._profile is not None:
            if index == self.first + WARM + STEPS:
                torch.cuda.synchronize()
            self._profile.step()
            if index == self.first + WARM + STEPS:
                self._profile.__exit__(None, None, None)
                self._profile = None

    def _read(self, found: Any) -> None:
        self.result = shares(found)


def shares(found: Any) -> dict[str, Any]:
    """Shares of the time by kind of kernel, ``idle`` among them; the kernels that take most; the longest waits (between
    which kernels). Both with how often they came and their share."""
    seen = [
        (event.time_range.start, event.time_range.end, event.name)
        for event in found.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
    ]
    seen.sort()
    kinds: dict[str, float] = defaultdict(float)
    kernels: dict[str, list[float]] = defaultdict(list)
    waits: dict[str, list[float]] = defaultdict(list)
    end, before = seen[0][0], ""
    for start, stop, name in seen:
        if start > end:
            kinds["idle"] += start - end
            waits[f"{before[:70]} -> {name[:70]}"].append(start - end)
        took = max(0.0, stop - max(start, end))  # copies run beside kernels
        kernels[name].append(took)
        kinds[next((kind for kind, pattern in KINDS if re.search(pattern, name.lower())), "other")] += took
        end, before = (stop, name) if stop > end else (end, before)
    total = end - seen[0][0]

    def most(sums: dict[str, list[float]], count: int) -> list[list[Any]]:
        top = sorted(sums.items(), key=lambda item: -sum(item[1]))[:count]
        return [[name[:160], len(values), round(sum(values) / total, 4)] for name, values in top]

    return {
        "ms": round(total / 1000, 2),
        "shares": {kind: round(value / total, 4) for kind, value in sorted(kinds.items(), key=lambda i: -i[1])},
        "kernels": most(kernels, 40),
        "waits": most(waits, 15),
    }
