"""One call of the training loop: what changes from step to step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn

from vlp.training.best import Best
from vlp.training.checkpoint import State
from vlp.training.config import LoopConfig
from vlp.training.distributed import rank, reseed, world_size
from vlp.training.errors import Doing
from vlp.training.flops import FlopCount, peak_flops, unchanged
from vlp.training.logging import TrainingLog, read_log
from vlp.training.meter import Meter
from vlp.training.optim import learning_rate, set_learning_rate, set_weight_decay
from vlp.training.processes import barrier
from vlp.training.replica import Replica
from vlp.training.signals import Signals
from vlp.training.speed import in_memory_format
from vlp.training.watch import Step, Watch


@dataclass(frozen=True)
class Hook:
    """``run(objective, step)`` on rank 0 every ``every`` steps and after the last, in evaluation mode without gradients.

    With ``ema`` it sees the averaged weights. What it returns is logged.
    """

    every: int
    run: Callable[[nn.Module, int], dict[str, float]]


@dataclass(frozen=True)
class FitSummary:
    """What a run cost and reached. Rates are per process group, times over all resumed parts."""

    steps: int
    seconds: float
    images: int
    images_per_s: float
    data_wait: float  # share of the time spent waiting for batches
    first_loss: float  # mean over the first logged interval
    last_loss: float
    processes: int
    resumed_from: int  # step, 0 for a fresh run
    result: str = "last"  # which weights the run ended with
    best: dict[str, Any] | None = None  # step, key, value and folder of the best check, where one was asked for
    logs: dict[str, float] = field(default_factory=dict)  # the last logged values, hooks' included


class Run:
    """One call of :func:`fit`: what changes from step to step."""

    def __init__(
        self,
        accelerator: Accelerator,
        replica: Replica,
        config: LoopConfig,
        out: Path,
        log: TrainingLog,
        hooks: Sequence[Hook],
        best: Best,
        state: State,
        doing: Doing,
    ) -> None:
        self.accelerator, self.replica, self.config, self.out = accelerator, replica, config, out
        self.doing = doing
        self.log, self.hooks, self.best, self.state = log, hooks, best, state
        device = accelerator.device
        self.watch = Watch(replica.optimizer, device, out, deferred=device.type == "cuda")
        self.meter = Meter(device, state.interval)
        self.flops_per_image: float | None = None  # None: not counted yet
        self.peak = peak_flops(device, accelerator.mixed_precision == "bf16") if config.flops else None
        self.begun = time.monotonic()
        self.before = state.seconds

    def step(self, step: int, source: Iterator[dict[str, Any]], stop: Signals) -> None:
        """One update of the weights, its log and its hooks."""
        self.doing.what = "step"
        config, replica, images, waited = self.config, self.replica, 0, 0.0
        rate = learning_rate(step, config)
        set_learning_rate(replica.optimizer, rate)
        set_weight_decay(replica.optimizer, step, config)
        batches: list[dict[str, Any]] = []
        losses: list[Tensor] = []
        for part in range(config.accumulate):
            asked = time.monotonic()
            moved = send_to_device(next(source), self.accelerator.device, non_blocking=True)
            batch = in_memory_format(cast(dict[str, Any], moved), config)
            waited += time.monotonic() - asked
            self.doing.images = _count(batch)
            images += self.doing.images
            loss, terms = self._gradients(batch, step, part)
            self.meter.add({"loss": loss, **terms}, 1 / config.accumulate)
            batches.append(batch)
            losses.append(loss.detach().reshape(()))
        norm = replica.clip(config.clip).reshape(())
        self.watch.judge(Step(step, losses, batches), norm, stop.asked)
        replica.optimizer.step()
        replica.optimizer.zero_grad(set_to_none=True)
        replica.after_step(step)
        self.meter.add({"gradient_norm": norm})
        self.meter.count(images, waited)
        self._account(step + 1, images, waited)
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            self._log(step + 1, rate)
        self._hooks(step + 1)

    def checkpoint(self) -> None:
        """Write the state (rank 0), then let every rank go on."""
        self.doing.what = "weights"
        self.watch.settle()
        self.state = replace(self.state, interval=self.meter.fold())
        self.replica.save(self.out / "checkpoints", self.state, self.config.keep_last)
        barrier()

    def _gradients(self, batch: dict[str, Any], step: int, part: int) -> tuple[Tensor, dict[str, Any]]:
        """Forward and backward pass over one batch; its loss and terms. The first ever counts its operations."""
        config, number = self.config, step * self.config.accumulate + part
        counter: FlopCount | None = None
        if config.flops and self.flops_per_image is None:
            if config.compile:  # compiled code has no operations that could be counted: once more without
                self._count_apart(batch, step, number)
            else:
                counter = FlopCount()
        reseed(config.seed, number, rank())
        with self.replica.unsynchronised(part + 1 < config.accumulate):
            loss, terms = self._pass(self.replica.model, batch, step, counter)
        if counter is not None:
            self.flops_per_image = counter.total / max(1, self.doing.images)
        return loss, terms

    def _pass(
        self, model: Any, batch: dict[str, Any], step: int, counter: FlopCount | None
    ) -> tuple[Tensor, dict[str, Any]]:
        with ExitStack() as stack:
            if counter is not None:
                stack.enter_context(counter)
            with self.accelerator.autocast():
                loss, terms = model(batch, step)
            if counter is not None:
                stack.enter_context(counter.backward())
            self.accelerator.backward(loss / self.config.accumulate)
        return loss, terms

    def _count_apart(self, batch: dict[str, Any], step: int, number: int) -> None:
        counter = FlopCount()
        reseed(self.config.seed, number, rank())
        with unchanged(self.replica.trained):
            self._pass(self.replica.trained, batch, step, counter)
        self.flops_per_image = counter.total / max(1, self.doing.images)

    def _account(self, done: int, images: int, waited: float) -> None:
        self.state = replace(
            self.state,
            step=done,
            seconds=self.before + time.monotonic() - self.begun,
            images=self.state.images + images * world_size(),
            waited=self.state.waited + waited,
        )

    def summary(self, start: int) -> FitSummary:
        """The totals, and the first and last logged values."""
        every = read_log(self.out / "log.jsonl")
        rows = [row for row in every if "loss" in row]
        merged: dict[str, float] = {}
        for row in every:
            merged.update(row)
        merged.pop("step", None)
        state, seconds = self.state, max(self.state.seconds, 1e-9)
        return FitSummary(
            steps=state.step,
            seconds=round(state.seconds, 2),
            images=state.images,
            images_per_s=round(state.images / seconds, 1),
            data_wait=round(state.waited / seconds, 4),
            first_loss=rows[0]["loss"] if rows else float("nan"),
            last_loss=rows[-1]["loss"] if rows else float("nan"),
            processes=state.world,
            resumed_from=start,
            result=self.config.result,
            best=self.best.summary(),
            logs=merged,
        )

    def _log(self, done: int, rate: float) -> None:
        self.watch.settle()
        images, seconds = self.meter.images, max(self.meter.seconds, 1e-9)
        values = self.meter.read()
        if self.flops_per_image:
            speed = self.flops_per_image * images / seconds
            values["tflops"] = speed / 1e12
            if self.peak:
                values["mfu"] = speed / self.peak
        self.log.write(done, {**values, "lr": rate, "seconds": self.state.seconds})

    def _hooks(self, done: int) -> None:
        due = [hook for hook in self.hooks if done % hook.every == 0 or done == self.config.steps]
        if not due:
            return
        self.watch.settle()
        self.doing.what = "check"
        with self.replica.seen() as module:
            if rank() == 0:
                found: dict[str, float] = {}
                eager = torch.compiler.set_stance("force_eager") if self.config.compile else nullcontext()
                with torch.no_grad(), eager:
                    for hook in due:
                        values = hook.run(module, done)
                        self.log.write(done, values)
                        found |= values
                if len(due) == len(self.hooks):
                    self.best.check(set(found))
                self.best.offer(done, found, module)
        barrier()


def _count(batch: dict[str, Any]) -> int:
    images = batch.get("images")
    return int(images.shape[0]) if images is not None else len(batch.get("ids", ()))
