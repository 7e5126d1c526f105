"""THE training loop. Every objective (self-supervised, contrastive, fine-tuning, captioning) runs in it.

A step's randomness is a pure function of (seed, step, rank) and its batch of the step's index, so a run that was killed
and resumed from a checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anonymize.console import Console, UserError
from anonymize.files import fingerprint, write_json
from vlp.training.checkpoint import State, latest_checkpoint, load_checkpoint, read_state, save_checkpoint
from vlp.training.config import LoopConfig
from vlp.training.distributed import any_rank, check_world_size, mean_over_ranks, rank, reseed, world_size
from vlp.training.logging import TrainingLog, read_log
from vlp.training.optim import adamw, learning_rate, parameter_groups, set_learning_rate, set_weight_decay


class Batches(Protocol):
    """Batches by index: a pure function of the index (and of this process's rank), so that any step can be the first.

    A batch is a dict. ``images`` ([M, 1, H, W]) or ``ids`` (list of pseudonyms, saved when a loss is not finite) give
    the count for the rate; everything else is the objective's business. Index ``step * accumulate + k``.
    """

    def __getitem__(self, index: int) -> dict[str, Any]: ...


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
    logs: dict[str, float] = field(default_factory=dict)  # the last logged values, hooks' included


def fit(
    objective: nn.Module,
    batches: Batches,
    config: LoopConfig,
    out: Path,
    console: Console,
    hooks: Sequence[Hook] = (),
    *,
    identity: Any = "",
    what: str = "training",
) -> FitSummary:
    """Train ``objective`` in place; afterwards it holds the final (with ``ema``: the averaged) weights, on the CPU.

    Args:
        objective: ``forward(batch, step) -> (loss [], logs)`` with scalar logs. Optional methods:
            ``parameter_groups(config)`` (else all trainable parameters) and ``after_step(step)`` (EMA teachers).
        batches: see :class:`Batches`.
        out: gets ``checkpoints/step-*``, ``log.jsonl`` and ``tensorboard/``; an interrupted run in it goes on.
        identity: anything JSON that the result depends on besides ``config``: data, architecture. A checkpoint with
            another identity is refused.

    Raises:
        UserError: a checkpoint of other settings in ``out``; wrong number of processes; loss or gradient not finite
            (the batch's ids are saved in ``out/nonfinite-<rank>.json``).
        KeyboardInterrupt: after SIGTERM, SIGUSR1 or Ctrl-C, when the checkpoint is written.
    """
    accelerator = start_processes(config)
    device, me = accelerator.device, rank()
    console = console if me == 0 else Console("quiet")
    same = fingerprint(config.identity(), identity)
    folder = out / "checkpoints"

    objective.to(device).train()
    groups: Any = getattr(objective, "parameter_groups", None)
    optimizer = adamw(groups(config) if groups else parameter_groups(objective, config), config)
    ema = ModelEmaV3(objective, decay=config.ema, use_warmup=True) if config.ema else None
    state = State(0, 0.0, 0, 0.0, world_size(), same)
    last = latest_checkpoint(folder)
    if last is not None:
        state = _checked(read_state(last), same, folder)
        load_checkpoint(last, objective, optimizer, None if ema is None else ema.module)
        console.note(f"{what}: going on from step {state.step} of {config.steps}")
    model, optimizer = accelerator.prepare(objective, optimizer)
    log = TrainingLog(out, state.step, config.tensorboard, active=me == 0)
    run = _Run(accelerator, objective, model, optimizer, ema, config, out, log, hooks, state)
    start = state.step
    try:
        with _Signals() as stop:
            steps = range(start, config.steps)
            source = _stream(batches, start * config.accumulate, config.steps * config.accumulate, config.workers)
            for step in console.track(steps, len(steps), what, "steps"):
                run.step(step, source)
                due = (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps
                interrupted = any_rank(stop.asked, device)
                if due or interrupted:
                    run.checkpoint()
                if interrupted and step + 1 < config.steps:
                    raise KeyboardInterrupt
    finally:
        log.close()
    if ema is not None:
        objective.load_state_dict(ema.module.state_dict())
    objective.to("cpu").eval()
    accelerator.free_memory()
    return run.summary(start)


class _Run:
    """One call of :func:`fit`: what changes from step to step."""

    def __init__(
        self,
        accelerator: Accelerator,
        objective: nn.Module,
        model: nn.Module,
        optimizer: Any,
        ema: ModelEmaV3 | None,
        config: LoopConfig,
        out: Path,
        log: TrainingLog,
        hooks: Sequence[Hook],
        state: State,
    ) -> None:
        self.accelerator, self.objective, self.model, self.optimizer = accelerator, objective, model, optimizer
        self.ema, self.config, self.out, self.log, self.hooks, self.state = ema, config, out, log, hooks, state
        self.sums: dict[str, float] = {}
        self.since = (0, 0, 0.0, time.monotonic())  # steps, images, seconds waited, time at the last log line
        self.begun = time.monotonic()
        self.before = state.seconds

    def step(self, step: int, source: Iterator[dict[str, Any]]) -> None:
        """One update of the weights, its log and its hooks."""
        config, images, waited = self.config, 0, 0.0
        rate = learning_rate(step, config)
        set_learning_rate(self.optimizer, rate)
        set_weight_decay(self.optimizer, step, config)
        logs: dict[str, float] = {}
        for part in range(config.accumulate):
            asked = time.monotonic()
            moved = send_to_device(next(source), self.accelerator.device, non_blocking=True)
            batch = cast(dict[str, Any], moved)
            waited += time.monotonic() - asked
            images += _count(batch)
            reseed(config.seed, step * config.accumulate + part, rank())
            partial = part + 1 < config.accumulate
            with self.accelerator.no_sync(self.model) if partial else nullcontext():
                with self.accelerator.autocast():
                    loss, terms = self.model(batch, step)
                self.accelerator.backward(loss / config.accumulate)
            for key, value in {"loss": loss, **terms}.items():
                number = float(value.detach()) if isinstance(value, Tensor) else float(value)
                logs[key] = logs.get(key, 0.0) + number / config.accumulate
            self._finite(logs["loss"], step, batch)
        norm = float(cast(Tensor, self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip)))
        self._finite(norm, step, batch)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        after = getattr(self.objective, "after_step", None)
        if after is not None:
            after(step)
        if self.ema is not None:
            self.ema.update(self.objective, step)
        done, now = step + 1, time.monotonic()
        seconds = self.before + now - self.begun
        self.state = State(
            done,
            seconds,
            self.state.images + images * world_size(),
            self.state.waited + waited,
            self.state.world,
            self.state.identity,
        )
        for key, value in {**logs, "gradient_norm": norm}.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.since = (self.since[0] + 1, self.since[1] + images, self.since[2] + waited, self.since[3])
        if done % config.log_every == 0 or done == config.steps:
            self._log(done, rate)
        self._hooks(done)

    def checkpoint(self) -> None:
        """Write the state (rank 0), then let every rank go on."""
        if rank() == 0:
            ema = None if self.ema is None else self.ema.module
            inner = getattr(self.optimizer, "optimizer", self.optimizer)
            folder = self.out / "checkpoints"
            save_checkpoint(folder, self.state, self.objective, inner, ema, self.config.keep_last)
        barrier()

    def summary(self, start: int) -> FitSummary:
        """The totals, and the first and last logged values."""
        rows = [row for row in read_log(self.out / "log.jsonl") if "loss" in row]
        merged: dict[str, float] = {}
        for row in read_log(self.out / "log.jsonl"):
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
            logs=merged,
        )

    def _log(self, done: int, rate: float) -> None:
        steps, images, waited, begun = self.since
        seconds = max(time.monotonic() - begun, 1e-9)
        values = {key: value / steps for key, value in self.sums.items()}
        values |= {"images_per_s": images * world_size() / seconds, "data_wait": waited / seconds}
        values = mean_over_ranks(values, self.accelerator.device)
        self.log.write(done, {**values, "lr": rate, "seconds": self.state.seconds})
        self.sums, self.since = {}, (0, 0, 0.0, time.monotonic())

    def _hooks(self, done: int) -> None:
        due = [hook for hook in self.hooks if done % hook.every == 0 or done == self.config.steps]
        if not due:
            return
        if rank() == 0:
            seen = self.ema.module if self.ema is not None else self.objective
            seen.eval()
            with torch.no_grad():
                for hook in due:
                    self.log.write(done, hook.run(seen, done))
            self.objective.train()
        barrier()

    def _finite(self, value: float, step: int, batch: dict[str, Any]) -> None:
        if value == value and abs(value) != float("inf"):
            return
        path = self.out / f"nonfinite-{rank()}.json"
        write_json(path, {"step": step, "ids": list(batch.get("ids", []))})
        raise UserError(
            f"loss or gradient is not finite at step {step}; the batch's ids are in {path}. "
            "Look at those images, or lower lr, or raise warmup, and start again"
        )


class _Signals:
    """Turn SIGTERM, SIGUSR1 and the first Ctrl-C into a request that the loop answers after the current step."""

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            try:
                self._old[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: whoever owns it handles signals
                break
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


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


def _checked(state: State, identity: str, folder: Path) -> State:
    if state.identity != identity:
        raise UserError(f"{folder} belongs to a run with other settings or data; give another --out, or remove it")
    if state.world != world_size():
        raise UserError(f"{folder} was written by {state.world} process(es); resume with as many")
    return state


def _stream(batches: Batches, start: int, stop: int, workers: int) -> Iterator[dict[str, Any]]:
    loader = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        collate_fn=_identity,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def _identity(batch: Any) -> Any:
    return batch


def _count(batch: dict[str, Any]) -> int:
    images = batch.get("images")
    return int(images.shape[0]) if images is not None else len(batch.get("ids", ()))
