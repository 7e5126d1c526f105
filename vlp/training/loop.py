"""THE training loop. Every objective (self-supervised, contrastive, fine-tuning, captioning) runs in it.

A step's randomness is a pure function of (seed, step, rank) and its batch of the step's index, so a run that was killed
and resumed from a checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader

from anonymize.console import Console
from vlp.training.best import Best
from vlp.training.checkpoint import starting_point
from vlp.training.config import LoopConfig
from vlp.training.distributed import rank, world_size
from vlp.training.errors import Doing, explained
from vlp.training.logging import TrainingLog
from vlp.training.processes import barrier, start_processes
from vlp.training.replica import Replica
from vlp.training.run import FitSummary, Hook, Run
from vlp.training.signals import Signals
from vlp.training.speed import keep_freed_memory, switched

__all__ = ["Batches", "FitSummary", "Hook", "barrier", "fit", "start_processes"]


class Batches(Protocol):
    """Batches by index: a pure function of the index (and of this process's rank), so that any step can be the first.

    A batch is a dict. ``images`` ([M, 1, H, W]) or ``ids`` (list of pseudonyms, saved when a loss is not finite) give
    the count for the rate; everything else is the objective's business. Index ``step * accumulate + k``.
    """

    def __getitem__(self, index: int) -> dict[str, Any]: ...


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
    """Train ``objective`` in place; afterwards it holds the final weights, on the CPU.

    With ``ema`` they are the averaged ones, with ``result=best`` those that the check ``best`` liked most.

    Args:
        objective: ``forward(batch, step) -> (loss [], logs)`` with scalar logs. Optional methods:
            ``parameter_groups(config)`` (else all trainable parameters) and ``after_step(step)`` (EMA teachers).
        batches: see :class:`Batches`.
        out: gets ``checkpoints/step-*``, ``log.jsonl`` and ``tensorboard/``; an interrupted run in it goes on.
        identity: anything JSON that the result depends on besides ``config``: data, architecture. A checkpoint with
            another identity is refused.

    Raises:
        UserError: a checkpoint of other settings in ``out``; wrong number of processes; loss or gradient not finite
            (the batch is saved in ``out/nonfinite-<rank>.*``); memory or disk full; a check ``best`` that is none.
        KeyboardInterrupt: after SIGTERM, SIGUSR1 or Ctrl-C, when the checkpoint is written.
    """
    accelerator = start_processes(config)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    me = rank()
    console = console if me == 0 else Console("quiet")
    state, last = starting_point(out, config, identity)
    if last is not None:
        console.note(f"{what}: going on from step {state.step} of {config.steps}")
    best = Best(out / "checkpoints", config, state.identity, resumed=last is not None)
    if not hooks:
        best.check(set())
    doing = Doing(sum(tensor.numel() for tensor in (*objective.parameters(), *objective.buffers())))
    settings = {name: getattr(config, name) for name in LoopConfig.model_fields}
    with explained(config, accelerator.device, doing):
        replica = Replica(objective, config, accelerator, last)
        with Signals() as stop:  # one that comes before the first step is answered after it
            log = TrainingLog(out, state.step, config.tensorboard, me == 0, config.trackers, settings)
            run = Run(accelerator, replica, config, out, log, hooks, best, state, doing)
            try:
                _steps(run, batches, config, stop, console, what)
            finally:
                log.close()
        replica.finish()
    if config.result == "best":
        best.load(objective)
    accelerator.free_memory()
    return run.summary(state.step)


def _steps(run: Run, batches: Batches, config: LoopConfig, stop: Signals, console: Console, what: str) -> None:
    """Every step that is left, with its checkpoints."""
    start = run.state.step
    with switched(run.replica.trained, config):
        steps = range(start, config.steps)
        source = _stream(batches, start * config.accumulate, config.steps * config.accumulate, config.workers)
        for step in console.track(steps, len(steps), what, "steps"):
            run.step(step, source, stop)
            due = (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps
            interrupted = stop.asked if world_size() == 1 else run.watch.stop
            if due or interrupted:
                run.checkpoint()
            if interrupted and step + 1 < config.steps:
                raise KeyboardInterrupt


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
