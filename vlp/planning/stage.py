"""A stage in the making and made, and what holds for every stage: steps, memory, loading, precision, disk."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from anonymize.console import UserError
from vlp.planning.costs import StepCost
from vlp.planning.facts import CorpusFacts
from vlp.planning.hardware import GB, Hardware

UTILISATION = 0.35  # of a GPU's peak that a step is assumed to reach; not measured here
STEP_FLOOR = 0.03  # seconds that a step takes on a GPU however small the model: launching its kernels; assumed
FILL = 0.85  # of the memory that may be planned: fragments and libraries take the rest
CONTEXT = 1 * GB  # what the driver and the libraries hold on a GPU
RECOMPUTED = 4 / 3  # arithmetic of a step whose activations are computed again


@dataclass(frozen=True)
class Choice:
    """One setting: ``key`` as in the configuration (``a.b``), why, and what else was possible."""

    key: str
    value: Any
    reason: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What one command is given and what it will take. Bytes and seconds; memory is of one process."""

    command: str
    choices: tuple[Choice, ...]
    processes: int
    batch: int
    steps: int
    epochs: float
    memory: int
    memory_limit: int
    flops_per_sample: float
    seconds: float | None  # of the whole run; None where the GPU's peak is not known
    checkpoint: int
    disk: int
    warnings: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """The settings as a nested mapping."""
        found: dict[str, Any] = {}
        for choice in self.choices:
            *parents, last = choice.key.split(".")
            place = found
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = choice.value
        return found


@dataclass
class Draft:
    """A stage in the making."""

    choices: list[Choice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any, reason: str, *alternatives: str) -> Any:
        self.choices.append(Choice(key, value, reason, alternatives))
        return value

    def values(self) -> dict[str, Any]:
        return Stage("", tuple(self.choices), 1, 0, 0, 0.0, 0, 0, 0.0, None, 0, 0).values()


def choose_steps(
    draft: Draft,
    samples: int,
    batch: int,
    epochs: float,
    hours: float,
    hardware: Hardware,
    cost: StepCost,
    again: float,
    rule: str,
) -> tuple[int, float | None, float]:
    """Steps, seconds of the run, epochs."""
    steps = max(1, round(epochs * samples / batch))
    seconds = _seconds(hardware, cost, batch, again)
    reason = f"{epochs:.0f} epochs: {rule}"
    if seconds and seconds * steps > hours * 3600:
        possible = max(1, int(hours * 3600 / seconds))
        reason = f"what {hours:g} hours hold at {seconds:.2g} s a step (--hours); the rule wants {steps}. {rule}"
        if possible * 10 < steps:
            draft.warnings.append(
                f"{hours:g} hours hold {possible} of {steps} steps: expect a weak model; give more --hours or GPUs"
            )
        steps = possible
    draft.add("steps", steps, reason)
    return steps, seconds * steps if seconds else None, steps * batch / samples


def _seconds(hardware: Hardware, cost: StepCost, batch: int, again: float) -> float | None:
    """Of one step."""
    if not hardware.gpus:
        return batch * cost.seconds * again
    if hardware.gpu is None or not hardware.gpu.tflops:
        return None
    arithmetic = batch * cost.flops * again / (hardware.processes * hardware.gpu.tflops * 1e12 * UTILISATION)
    return max(STEP_FLOOR, arithmetic)


def finish(
    command: str,
    draft: Draft,
    facts: CorpusFacts,
    hardware: Hardware,
    cost: StepCost,
    batch: int,
    steps: int,
    epochs: float,
    seconds: float | None,
    held: int,
    *,
    ema: bool,
) -> Stage:
    each = batch // hardware.processes if command == "pretrain" else held
    memory = cost.memory(each, ema=ema, processes=hardware.processes)
    _loading(draft, facts, hardware)
    _precision(draft, hardware)
    if hardware.processes > 1:
        draft.add("processes", hardware.processes, "refuse to start with another number, such as one by mistake")
    every = steps if not seconds else max(1, min(steps, round(600 * steps / seconds)))
    draft.add("checkpoint_every", every, "about ten minutes of work are lost when the run is killed")
    draft.add("log_every", max(1, min(50, steps // 20)), "a line in log.jsonl")
    checkpoint = cost.checkpoint(ema=ema)
    disk = 2 * checkpoint + 4 * cost.weights
    if disk > hardware.disk:
        draft.warnings.append(
            f"`vlp {command}` writes up to {disk / GB:.1f} GB (two checkpoints for a moment, and the model), and "
            f"{hardware.disk / GB:.1f} GB are free: write to another disk"
        )
    return Stage(
        command=command,
        choices=tuple(draft.choices),
        processes=hardware.processes,
        batch=batch,
        steps=steps,
        epochs=round(epochs, 2),
        memory=memory,
        memory_limit=_limit(hardware),
        flops_per_sample=cost.flops,
        seconds=seconds,
        checkpoint=checkpoint,
        disk=disk,
        warnings=tuple(draft.warnings),
    )


def _loading(draft: Draft, facts: CorpusFacts, hardware: Hardware) -> None:
    side = draft.values()["data"]["source_size"]
    count = facts.images["train"] + facts.images["validation"]
    size, local = count * side**2, max(1, hardware.gpus)
    if size * local <= 0.4 * hardware.memory:
        draft.add("data.cache_mb", size // 2**20 + 64, f"{size / 1e9:.1f} GB hold all squares; {local} process(es) of a "
                  "machine hold them each")  # fmt: skip
        draft.add("workers", 0, "images are in memory")
        return
    draft.add("data.cache_mb", 0, f"{size / 1e9:.0f} GB of squares for each of {local} process(es) are too much for "
              f"{hardware.memory / 1e9:.0f} GB of memory", "VLP_CACHE=FOLDER on a local disk: decoded once")  # fmt: skip
    workers = min(8, max(0, hardware.cpus // local - 1))
    draft.add("workers", workers, f"{hardware.cpus} cores for {local} process(es), one kept for training")
    if not workers:
        draft.warnings.append("one core for each process: reading images will hold training up")


def _precision(draft: Draft, hardware: Hardware) -> None:
    if not hardware.gpus:
        draft.add("precision", "auto", "bf16 where the CPU has it; memory is estimated for fp32")
    elif uses_bf16(hardware):
        draft.add("precision", "bf16", "the GPU has it; weights and moments stay float32")
    else:
        draft.add("precision", "fp32", f"{hardware.gpu.name if hardware.gpu else 'the GPU'} has no bfloat16")


def uses_bf16(hardware: Hardware) -> bool:
    return hardware.gpu is not None and hardware.gpu.bf16


def _limit(hardware: Hardware) -> int:
    """Bytes that one process may plan."""
    if hardware.gpu is not None:
        return int(FILL * (hardware.gpu.memory - CONTEXT))
    return int(0.5 * hardware.memory)  # the other half is for images and the system


def fitting(hardware: Hardware, cost: StepCost, *, ema: bool) -> int:
    """The largest power of two of samples that a process holds.

    Raises:
        UserError: not even two.
    """
    limit, samples = _limit(hardware), 1
    while samples < 2**16 and cost.memory(2 * samples, ema=ema, processes=hardware.processes) <= limit:
        samples *= 2
    if samples < 2:
        need = cost.memory(2, ema=ema, processes=hardware.processes)
        raise UserError(
            f"the planned model needs {need / GB:.1f} GB for two samples, and a process may use {limit / GB:.1f} GB; plan "
            "for hardware with more memory (--gpu, --gpu-memory, --ram), or write a smaller image.name and image.image_size "
            "into a configuration by hand"
        )
    return samples


def power_of_two(value: float) -> int:
    """The largest power of two that is at most ``value``, at least 1."""
    return 2 ** max(0, math.floor(math.log2(max(1.0, value))))


def rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
