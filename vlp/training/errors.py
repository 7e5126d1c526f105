"""Failures of a machine in a paragraph that says what to do."""

from __future__ import annotations

import torch

from anonymize.console import UserError
from vlp.training.config import LoopConfig
from vlp.training.failures import paragraph
from vlp.training.meter import memory_mb


def explained(error: BaseException, config: LoopConfig, device: torch.device, images: int) -> UserError | None:
    """What to tell the user of ``error``; None where there is nothing to say that the error does not.

    Args:
        images: how many this process had in a batch.
    """
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return UserError(_out_of_memory(config, device, images))
    if isinstance(error, RuntimeError) and "can't allocate memory" in text:
        return UserError(_out_of_memory(config, device, images))
    if isinstance(error, RuntimeError) and "DataLoader worker" in text and ("killed" in text or "exited" in text):
        return UserError(
            f"one of the workers={config.workers} processes that load images was killed, most likely because the machine's "
            "memory is full; set workers lower (0 loads in the training process itself), or data.cache_mb lower, and start "
            "the same command again: training goes on from the last checkpoint"
        )
    told = paragraph(error)
    return None if told is None else UserError(told)


def _out_of_memory(config: LoopConfig, device: torch.device, images: int) -> str:
    numbers = f"{memory_mb(device) / 1000:.1f} GB"
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory / 1e9
        numbers += f" of {total:.1f} GB on {torch.cuda.get_device_name(device)}"
    ways = []
    if hasattr(config, "contrastive"):
        ways.append(f"contrastive.chunk={max(1, images // 4)} (exact: the batch stays whole)")
    if not config.activation_checkpointing:
        ways.append("activation_checkpointing=true (exact, a third more time)")
    if config.precision == "fp32":
        ways.append("precision=auto")
    if config.shard == "none":
        ways.append("shard=fsdp2 on several GPUs")
    ways.append("a smaller data.batch_size or image.image_size")
    return (
        f"out of memory with {images} images a process and step part: {numbers} were in use. Try, in this order: "
        f"{'; '.join(ways)}. Start the same command again: where the settings allow it, training goes on from the last "
        "checkpoint"
    )
