"""Switches that make the same training faster or smaller: compiled blocks, recomputed activations, memory format, malloc."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn
from transformers import PreTrainedModel

from vlp.encoders.convnet import ConvNet
from vlp.objectives.fused import Fused
from vlp.training.config import LoopConfig

BACKEND = "inductor"  # of torch.compile
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for this process; whether it can (glibc does).

    By default it hands large tensors back to the kernel when they are freed, and the next step pays for each of their
    pages again: about 10,000 page faults a step of small towers, a tenth of its time (`benchmarks/train.py`). The peak
    of resident memory stays what it was; what goes is the fall after it. GPU memory has an allocator of its own.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_MMAP_THRESHOLD, 2**30)])


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """The parts that towers repeat: members of a list or sequence whose members are of one class with parts of their own.

    Transformer layers of timm and transformers, residual blocks of convolutional networks. Where such sequences are
    nested, the members of the innermost.
    """
    found = [child for child in module.modules() if _repeats(child)]
    inner = [c for c in found if not any(_repeats(part) for part in c.modules() if part is not c)]
    return [block for container in inner for block in container.children()]


def _repeats(module: nn.Module) -> bool:
    if not isinstance(module, nn.ModuleList | nn.Sequential):
        return False
    parts = list(module.children())
    return bool(parts) and len({type(part) for part in parts}) == 1 and all(any(part.children()) for part in parts)


@contextmanager
def switched(module: nn.Module, config: LoopConfig) -> Iterator[None]:
    """Inside, ``module`` runs as ``config`` says; after it, as before. Names and values of its weights stay.

    Blocks, augmentation and losses over many prototypes are compiled each for itself and in place: equal blocks share
    their code, so that it takes seconds, texts stay outside, and DDP, FSDP2 and recomputation, which all wrap blocks, work
    with it. Compiled dropout and augmentation draw other random numbers than plain ones, the same ones in every run.
    """
    blocks = repeated_blocks(module)
    compiled = [*blocks, *(m.stages for m in module.modules() if isinstance(m, ConvNet))]
    compiled += [part for part in module.modules() if isinstance(part, Fused)]
    if config.activation_checkpointing:
        _recompute(module, True)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    cast = [block for block in blocks if config.residual == "bf16" and isinstance(block, Block)]
    hooks = [block.register_forward_pre_hook(_in_autocast_type) for block in cast]
    if config.compile:
        for block in compiled:
            block.compile(backend=BACKEND)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if config.compile:
            for block in compiled:
                block._compiled_call_impl = None  # has no public way back
        if config.channels_last:
            module.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        if config.activation_checkpointing:
            _recompute(module, False)


def _in_autocast_type(block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What enters a block, in the type of autocast's products where autocast is on."""
    tokens, *others = args
    kind = tokens.device.type
    return (tokens.to(torch.get_autocast_dtype(kind)), *others) if torch.is_autocast_enabled(kind) else args


def in_memory_format(batch: dict[str, Any], config: LoopConfig) -> dict[str, Any]:
    """``batch`` with its images [M, C, H, W] in the memory format of ``config``."""
    images = batch.get("images")
    if not config.channels_last or images is None or images.ndim != 4:
        return batch
    return {**batch, "images": images.contiguous(memory_format=torch.channels_last)}


def _recompute(module: nn.Module, on: bool) -> None:
    """Both libraries' own switch, in every tower that has one."""
    for part in module.modules():
        if isinstance(part, PreTrainedModel):
            if not part.supports_gradient_checkpointing:
                continue
            if on:
                part.gradient_checkpointing_enable({"use_reentrant": False})
            else:
                part.gradient_checkpointing_disable()
        elif (switch := getattr(part, "set_grad_checkpointing", None)) is not None:
            switch(on)
