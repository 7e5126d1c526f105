"""The module that is trained, its average and its optimizer, whole or sharded, behind one face."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from anonymize.console import UserError
from vlp.training.checkpoint import State, load_weights, read_moments, save_checkpoint
from vlp.training.config import LoopConfig
from vlp.training.distributed import rank, world_size
from vlp.training.optim import adamw, parameter_groups


class Replica:
    """What this process holds of a run.

    Attributes:
        objective: the caller's module. It holds the weights that are trained, or, where they are sharded, waits on the CPU
            to be filled with whole ones.
        trained: the module whose weights the optimizer changes; ``objective`` itself unless sharded.
        model: ``trained`` as it is called in a step, wrapped for several processes.
        optimizer: PyTorch's own.
        sharded: whether weights are spread over processes.
    """

    def __init__(
        self, objective: nn.Module, config: LoopConfig, accelerator: Accelerator, checkpoint: Path | None
    ) -> None:
        """Start from ``checkpoint``, or from the weights that ``objective`` has.

        Raises:
            UserError: settings that exclude each other.
        """
        device = accelerator.device
        self.objective, self.device = objective, device
        self.sharded = config.shard == "fsdp2" and world_size() > 1
        if self.sharded and config.channels_last:
            raise UserError("shard=fsdp2 needs contiguous weights; set channels_last=false")
        if self.sharded:
            objective.cpu()
        self.trained = copy.deepcopy(objective) if self.sharded else objective
        self.trained.to(device).train()
        self.ema: ModelEmaV3 | None = None
        if config.ema:  # PyTorch has no fused average of sharded and plain tensors together
            self.ema = ModelEmaV3(self.trained, decay=config.ema, use_warmup=True, foreach=not self.sharded)
        if checkpoint is not None:
            load_weights(checkpoint, self.trained, None if self.ema is None else self.ema.module)
        if self.sharded:
            from vlp.training.sharding import shard

            shard(self.trained, device)
            if self.ema is not None:
                shard(self.ema.module, device)
        groups: Any = getattr(self.trained, "parameter_groups", None)
        self.optimizer = adamw(groups(config) if groups else parameter_groups(self.trained, config), config)
        if checkpoint is not None:
            moments = read_moments(checkpoint)
            if self.sharded:
                from vlp.training.sharding import spread_moments

                moments = spread_moments(moments, self.optimizer)
            self.optimizer.load_state_dict(moments)
        self.model: Any = self.trained if self.sharded else accelerator.prepare_model(self.trained)
        self._accelerator = accelerator
        self._parameters = list(self.trained.parameters())  # walking the modules takes milliseconds

    @contextmanager
    def unsynchronised(self, wanted: bool) -> Iterator[None]:
        """Inside, where ``wanted``, backward passes leave gradients as they are on each process (accumulation)."""
        if self.sharded:
            self.model.set_requires_gradient_sync(not wanted)
            yield
        elif wanted:
            with self._accelerator.no_sync(self.model):
                yield
        else:
            yield

    def clip(self, norm: float) -> Tensor:
        """Scale gradients to a norm of at most ``norm``; returns the one that they had, [] on the device."""
        parameters = [p for p in self._parameters if p.grad is not None]
        found = torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])
        # multiplying by 1 is a pass over all gradients; a GPU would have to be waited for to know
        if found.device.type != "cpu" or self.sharded or float(found) > norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, norm, found)
        return cast(Any, found).full_tensor() if self.sharded else found

    def after_step(self, step: int) -> None:
        """What follows the weights: the objective's own (teachers), and the average."""
        after = getattr(self.trained, "after_step", None)
        if after is not None:
            after(step)
        if self.ema is not None:
            self.ema.update(self.trained, step)

    @contextmanager
    def seen(self) -> Iterator[nn.Module]:
        """The module that checks look at: whole, in evaluation mode, averaged where there is an average.

        Every process must enter; it is filled on process 0.
        """
        if not self.sharded:
            module = self.objective if self.ema is None else self.ema.module
            module.eval()
            yield module
            self.objective.train()
            return
        state = self._state(self._averaged(), rank() == 0)
        if rank() == 0:
            self.objective.load_state_dict(state)
            self.objective.to(self.device).eval()
        yield self.objective
        self.objective.cpu()

    def save(self, folder: Path, state: State, keep: int) -> None:
        """Write a checkpoint. Every process must call it; process 0 writes."""
        mine = rank() == 0
        model, moments = self._state(self.trained, mine), self.optimizer.state_dict()
        ema = None if self.ema is None else self._state(self.ema.module, mine)
        if self.sharded:
            from vlp.training.sharding import whole

            moments = whole(moments, mine)
        if mine:
            save_checkpoint(folder, state, model, moments, ema, keep)

    def finish(self) -> None:
        """Leave the final weights in ``objective``, on the CPU, in evaluation mode, on every process."""
        if self.sharded or self.ema is not None:
            self.objective.load_state_dict(self._state(self._averaged(), True))
        self.objective.to("cpu").eval()

    def _averaged(self) -> nn.Module:
        return self.trained if self.ema is None else self.ema.module

    def _state(self, module: nn.Module, keep: bool) -> dict[str, Tensor]:
        if not self.sharded:
            return module.state_dict()
        from vlp.training.sharding import whole

        return whole(module.state_dict(), keep)
