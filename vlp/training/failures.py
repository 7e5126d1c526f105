"""A full disk or memory, and what goes wrong between processes, in one paragraph that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from safetensors import SafetensorError

from anonymize.console import UserError

_LOST = ("Connection closed by peer", "Connection reset by peer", "NCCL error", "ncclRemoteError", "Broken pipe")

# safetensors and torch.save do not raise OSError; torch.save does not even name the cause
_FULL = (
    "No space left on device",
    "os error 28",
    "Disk quota exceeded",
    "inline_container.cc",
    "PytorchStreamWriter failed",
)


@contextmanager
def explained_failures() -> Iterator[None]:
    """Inside, errors of the network between processes, a full memory and a full disk become :class:`UserError`.

    Raises:
        UserError: the port is taken, processes did not come or ended, memory or disk is full. Other errors pass.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError, MemoryError) as error:
        told = paragraph(error)
        if told is None:
            raise
        raise UserError(told) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the memory of a GPU or of this machine is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def paragraph(error: BaseException) -> str | None:
    """What to tell the user of ``error``; None where it is another kind of failure."""
    text = str(error)
    where = f"{os.environ.get('MASTER_ADDR', 'localhost')}:{os.environ.get('MASTER_PORT', '29500')}"
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or any(m in text for m in _FULL):
        return (
            "the disk of --out is full, so the checkpoint or model could not be written; free some space, or move the folder "
            "to another disk and give its place as --out. What was complete before is whole: the same command goes on from "
            "the last checkpoint"
        )
    if is_out_of_memory(error):
        said = text.strip().partition("\n")[0].rstrip(".")
        return (
            f"out of memory outside of a training step{f' ({said})' if said else ''}. End other programs that use this "
            "device, or set the batch size, data.cache_mb or the size of images and towers lower, and start the same "
            "command again"
        )
    if isinstance(error, OSError | SafetensorError):
        return None
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (
            f"the port of {where} is taken, most likely by another run on this machine; start with "
            "`torchrun --standalone`, which takes a free one, or give another MASTER_PORT"
        )
    if isinstance(error, dist.DistStoreError | dist.DistNetworkError) or "clients joined" in text:
        return (
            f"the processes of this run did not find each other at {where} (MASTER_ADDR and MASTER_PORT): all must be "
            "started, with the same address, and reach it over the network; look at the messages of the others first"
        )
    if isinstance(error, dist.DistBackendError) or any(mark in text for mark in _LOST):
        return (
            "another process of this run ended, so this one cannot go on; its own message says why. The same command "
            "goes on from the last checkpoint"
        )
    return None
