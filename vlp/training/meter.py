"""What is summed between two log lines. Loss terms stay on the device until then: reading one makes a GPU wait."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlp.training.distributed import mean_over_ranks, most_over_ranks, world_size


class Meter:
    """Sums over the steps since the last log line; a checkpoint keeps them, so that a resumed run logs the same values."""

    def __init__(self, device: torch.device, interval: Mapping[str, Any] | None = None) -> None:
        """``interval``: what :meth:`fold` returned when the checkpoint was written."""
        self._device = device
        self._terms: dict[tuple[str, ...], Tensor] = {}
        self._plain: dict[str, float] = {}
        self._clear(interval or {})

    def _clear(self, interval: Mapping[str, Any]) -> None:
        self._folded: dict[str, float] = dict(interval.get("terms", {}))
        self.steps: int = interval.get("steps", 0)
        self.images: int = interval.get("images", 0)  # of this process
        self.waited: float = interval.get("waited", 0.0)
        self._before: float = interval.get("seconds", 0.0)
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the last log line, in training."""
        return self._before + time.monotonic() - self._since

    def add(self, terms: Mapping[str, Tensor | float], share: float = 1.0) -> None:
        """Add ``share`` of each of ``terms`` (one element each)."""
        tensors = {key: value.detach().reshape(()) for key, value in terms.items() if isinstance(value, Tensor)}
        if tensors:
            names = tuple(tensors)
            values = torch.stack([value.to(self._device, non_blocking=True) for value in tensors.values()]).double()
            before = self._terms.get(names)
            self._terms[names] = values * share if before is None else before.add_(values, alpha=share)
        for key, value in terms.items():
            if not isinstance(value, Tensor):
                self._plain[key] = self._plain.get(key, 0.0) + float(value) * share

    def count(self, images: int, waited: float) -> None:
        """One step more, with so many images and seconds of waiting for them."""
        self.steps += 1
        self.images += images
        self.waited += waited

    def fold(self) -> dict[str, Any]:
        """What a checkpoint keeps. Every process must call it, so that all sum in one order from here."""
        sums = dict(self._plain)
        for names, values in self._terms.items():
            for name, value in zip(names, values.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
        self._terms, self._plain = {}, {}
        for name, value in mean_over_ranks(sums, self._device).items():
            self._folded[name] = self._folded.get(name, 0.0) + value
        return {
            "terms": dict(self._folded),
            "steps": self.steps,
            "images": self.images,
            "waited": self.waited,
            "seconds": self.seconds,
        }

    def read(self) -> dict[str, float]:
        """Means over the steps and processes since the last call, and rates; starts anew."""
        found = self.fold()
        seconds, steps = max(found["seconds"], 1e-9), max(found["steps"], 1)
        values = {key: value / steps for key, value in found["terms"].items()}
        rates = {"images_per_s": found["images"] * world_size() / seconds, "data_wait": found["waited"] / seconds}
        rates = mean_over_ranks(rates, self._device)
        self._clear({})
        return {**values, **rates, "memory_mb": float(most_over_ranks(memory_mb(self._device), self._device))}


def memory_mb(device: torch.device) -> int:
    """The most that this process has used so far, in MB (10^6 bytes): tensors on a GPU, resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 10**6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) // 10**6
