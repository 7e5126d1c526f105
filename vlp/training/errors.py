"""Failures of a machine in a paragraph that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors import SafetensorError

from anonymize.console import UserError
from vlp.training.config import LoopConfig
from vlp.training.failures import is_out_of_memory, paragraph
from vlp.training.meter import memory_mb


@dataclass
class Doing:
    """What the loop is at, so that a failure can be explained.

    Attributes:
        what: "weights" while model, average and optimizer are made or taken apart, "step", or "check" in a hook.
        weights: numbers in the objective's parameters and buffers.
        images: how many this process had in its last batch.
    """

    weights: int
    what: Literal["weights", "step", "check"] = "weights"
    images: int = 0


@contextmanager
def explained(config: LoopConfig, device: torch.device, doing: Doing) -> Iterator[None]:
    """Inside, failures of the machine become :class:`UserError`; others pass.

    Raises:
        UserError: memory or disk full, a loading process killed, another process gone.
    """
    try:
        yield
    except (RuntimeError, OSError, SafetensorError, MemoryError) as error:
        told = _told(error, config, device, doing)
        if told is None:
            raise
        raise UserError(told) from error


def _told(error: BaseException, config: LoopConfig, device: torch.device, doing: Doing) -> str | None:
    text = str(error)
    if is_out_of_memory(error):
        return _out_of_memory(config, device, doing)
    if isinstance(error, RuntimeError) and "DataLoader worker" in text and ("killed" in text or "exited" in text):
        return (
            f"one of the workers={config.workers} processes that load images was killed, most likely because the machine's "
            "memory is full; set workers lower (0 loads in the training process itself), or data.cache_mb lower, and start "
            "the same command again: training goes on from the last checkpoint"
        )
    return paragraph(error)


def _out_of_memory(config: LoopConfig, device: torch.device, doing: Doing) -> str:
    numbers = f"{memory_mb(device) / 1000:.1f} GB"
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory / 1e9
        numbers += f" of {total:.1f} GB on {torch.cuda.get_device_name(device)}"
    where = {
        "weights": f"with the weights of the model ({doing.weights / 1e6:.1f} million numbers), their average and the optimizer",
        "step": f"with {doing.images} images a process and step part",
        "check": "in a check between two steps",
    }[doing.what]
    ways = {"weights": _less_weights, "step": _less_activations, "check": _less_checked}[doing.what](config, doing)
    return (
        f"out of memory {where}: {numbers} were in use. Try, in this order: {'; '.join(ways)}. Start the same command "
        "again: where the settings allow it, training goes on from the last checkpoint"
    )


def _less_activations(config: LoopConfig, doing: Doing) -> list[str]:
    ways = []
    if hasattr(config, "contrastive"):
        ways.append(f"contrastive.chunk={max(1, doing.images // 4)} (exact: the batch stays whole)")
    if not config.activation_checkpointing:
        ways.append("activation_checkpointing=true (exact, a third more time)")
    if config.precision == "fp32":
        ways.append("precision=auto")
    return [*ways, *_several(config), "a smaller data.batch_size or image.image_size"]


def _less_weights(config: LoopConfig, doing: Doing) -> list[str]:
    ways = ["end other programs that use this device"]
    if config.ema:
        ways.append("ema=0 (one copy of the weights less)")
    return [*ways, *_several(config), "a smaller image.name or text tower"]


def _less_checked(config: LoopConfig, doing: Doing) -> list[str]:
    known = [name for name in ("validation", "monitor") if hasattr(config, name)]
    ways = [f"a smaller {name}={getattr(config, name)} (0 is without)" for name in known]
    return [*ways, "a smaller data.batch_size, which leaves more room beside the step"]


def _several(config: LoopConfig) -> list[str]:
    return ["shard=fsdp2 on several GPUs"] if config.shard == "none" else []
