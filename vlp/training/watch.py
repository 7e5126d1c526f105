"""Is every step sound, and did someone ask to stop? Known to all processes, without waiting for a GPU at every step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from anonymize.console import UserError
from anonymize.files import write_json
from vlp.encoders.weights import plain_state
from vlp.training.distributed import rank, world_size


@dataclass(frozen=True)
class Step:
    """What is needed to judge a step, and to look at its batches where it is not sound."""

    number: int
    losses: list[Tensor]  # [] of each batch, on the device
    batches: list[dict[str, Any]]


class Watch:
    """Refuses updates that are not finite.

    Where ``deferred``, the verdict over a step is read one step later, when it has long been on this side, so that the
    device never runs dry; the optimizer itself leaves the weights alone in between (``found_inf`` of fused AdamW, what
    ``torch.amp.GradScaler`` uses). :meth:`settle` reads it at once; call it before weights are used or written.

    Attributes:
        stop: whether any process was asked to stop, as far as read.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device, out: Path, deferred: bool) -> None:
        self.stop = False
        self._optimizer, self._device, self._out, self._deferred = optimizer, device, out, deferred
        self._waiting: tuple[Step, Tensor, torch.cuda.Event | None] | None = None

    def judge(self, step: Step, norm: Tensor, asked: bool) -> None:
        """Call between the gradients and the optimizer's step.

        Args:
            norm: [] of the gradient; not finite if any of its elements is not.
            asked: whether this process was asked to stop.

        Raises:
            UserError: this step (where deferred: the one before) is not finite; its batches are saved.
        """
        sound = torch.stack([loss.detach().float() for loss in step.losses]).isfinite().all() & norm.isfinite()
        flags = torch.stack([(~sound).float(), torch.full((), float(asked), device=self._device)])
        if world_size() > 1:
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        self.settle()
        event = None
        if self._deferred:
            # fused AdamW looks for these two on itself; the flag stays on the device
            self._optimizer.found_inf, self._optimizer.grad_scale = flags[0], None  # type: ignore[attr-defined]
        if flags.is_cuda:
            here = torch.empty(2, pin_memory=True).copy_(flags, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._waiting = (step, here, event)
        else:
            self._waiting = (step, flags, None)
        if not self._deferred:
            self.settle()

    def settle(self) -> None:
        """Read what is not read yet.

        Raises:
            UserError: as in :meth:`judge`.
        """
        if self._waiting is None:
            return
        step, flags, event = self._waiting
        self._waiting = None
        if event is not None:
            event.synchronize()
        bad, stop = flags.tolist()
        self.stop = self.stop or stop > 0
        if bad:
            raise UserError(self._saved(step))

    def _saved(self, step: Step) -> str:
        """Write the batches of ``step`` whose loss is not finite, else all; returns what to tell the user."""
        broken = [i for i, loss in enumerate(step.losses) if not bool(loss.isfinite())]
        chosen = broken or list(range(len(step.losses)))
        tensors: dict[str, Tensor] = {}
        parts = []
        for i in chosen:
            batch = step.batches[i]
            tensors |= {f"{i}.{key}": value for key, value in batch.items() if isinstance(value, Tensor)}
            texts = {key: list(value) for key, value in batch.items() if isinstance(value, list | tuple)}
            parts.append({"batch": i, "loss": str(step.losses[i].item()), **texts})
        name = self._out / f"nonfinite-{rank()}"
        save_file(plain_state(tensors), name.with_suffix(".safetensors"))
        ids = [i for part in parts for i in part.get("ids", [])]
        write_json(name.with_suffix(".json"), {"step": step.number, "ids": ids, "batches": parts})
        where = "loss" if broken else "gradient"
        return (
            f"{where} is not finite at step {step.number}; the weights are as before it. The batch is in {name}.json (ids, "
            f"texts) and {name}.safetensors (images as the model got them). Look at those images, or lower lr, or raise "
            "warmup, and start again: training goes on from the last checkpoint"
        )
