"""Training state on disk: whole or absent, never unpickled, the last few kept."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anonymize.console import UserError
from anonymize.files import fingerprint, read_json, write_json
from vlp.encoders.weights import plain_state
from vlp.training.config import LoopConfig
from vlp.training.distributed import world_size

_NAME = re.compile(r"^step-(\d+)$")


@dataclass(frozen=True)
class State:
    """What a resumed run needs besides weights and moments."""

    step: int  # updates done
    seconds: float  # spent in training so far
    images: int
    waited: float  # seconds spent waiting for data
    world: int
    identity: str  # fingerprint of configuration and data
    interval: dict[str, Any] = field(default_factory=dict)  # sums since the last log line


def save_checkpoint(
    folder: Path,
    state: State,
    model: dict[str, Tensor],
    optimizer: dict[str, Any],
    ema: dict[str, Tensor] | None,
    keep: int,
) -> Path:
    """Write ``folder/step-*`` from states of whole tensors; older ones beyond ``keep`` are removed."""
    final = folder / f"step-{state.step:08d}"
    partial = folder / f".part-{state.step:08d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(plain_state(model), partial / "model.safetensors")
    if ema is not None:
        save_file(plain_state(ema), partial / "ema.safetensors")
    torch.save(optimizer, partial / "optimizer.pt")
    write_json(partial / "state.json", state)
    complete(partial, final)
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def complete(partial: Path, final: Path) -> None:
    """Give the folder ``partial`` its name when all of it is on the disk; what had the name before is removed."""
    for file in partial.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in ``folder``."""
    found = _steps(folder)
    return found[-1] if found else None


def starting_point(out: Path, config: LoopConfig, identity: Any) -> tuple[State, Path | None]:
    """Where a run begins in ``out``: the state and folder of its last checkpoint; the very start and None without one.

    The loop asks, and every command before it writes its first file to ``out``, so that a refused run leaves the folder
    as it was.

    Args:
        identity: as for :func:`vlp.training.loop.fit`.

    Raises:
        UserError: the checkpoints are of other settings or data, or of another number of processes.
    """
    same, folder = fingerprint(config.identity(), identity), out / "checkpoints"
    last = latest_checkpoint(folder)
    if last is None:
        return State(0, 0.0, 0, 0.0, world_size(), same), None
    state = read_state(last)
    if state.identity != same:
        raise UserError(f"{folder} belongs to a run with other settings or data; give another --out, or remove it")
    if state.world != world_size():
        raise UserError(f"{folder} was written by {state.world} process(es); resume with as many")
    return state, last


def read_state(checkpoint: Path) -> State:
    """``state.json`` of a checkpoint."""
    return State(**read_json(checkpoint / "state.json"))


def load_weights(checkpoint: Path, model: nn.Module, ema: nn.Module | None) -> None:
    """Put weights and average back. Every tensor must be there and fit."""
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=True)
    if ema is not None:
        ema.load_state_dict(load_file(checkpoint / "ema.safetensors"), strict=True)


def read_moments(checkpoint: Path) -> dict[str, Any]:
    """The optimizer's state, on the CPU: the optimizer itself moves each moment to where its parameter is."""
    return torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)


def _steps(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    complete = [path for path in folder.iterdir() if _NAME.match(path.name) and (path / "state.json").is_file()]
    return sorted(complete, key=lambda path: int(path.name[5:]))
