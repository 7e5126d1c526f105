"""Losses over two processes give the gradients of one: started by torchrun, talking over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from anonymize.console import UserError
from vlp.objectives.contrastive import info_nce, siglip
from vlp.training import distributed

ROWS, WIDTH = 6, 8


def _loss(name: str, images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, keys: tuple) -> torch.Tensor:
    if name == "siglip":
        return siglip(images, texts, scale, torch.tensor([-1.0]), keys)
    return info_nce(images, texts, scale, keys if name == "multi" else None)


def _problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.ModuleDict({"image": nn.Linear(5, WIDTH), "text": nn.Linear(5, WIDTH)})
    model.register_parameter("scale", nn.Parameter(torch.full([1], 5.0)))
    said = torch.tensor([[1, 2], [1, 3], [2, 0], [1, 0], [4, 5], [6, 7]])
    studies = torch.tensor([[1, 2, 3], [1, 3, 0], [2, 1, 0], [1, 8, 0], [4, 5, 1], [6, 7, 2]])
    return model.double(), torch.randn(ROWS, 5).double(), torch.randn(ROWS, 5).double(), (studies, said)


def gradients(name: str, world: int, rank: int) -> dict[str, torch.Tensor]:
    """Gradients of this rank's part of the batch."""
    model, x, y, keys = _problem()
    part = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    images = nn.functional.normalize(model["image"](x[part]), dim=-1)
    texts = nn.functional.normalize(model["text"](y[part]), dim=-1)
    _loss(name, images, texts, model.scale, (keys[0][part], keys[1][part])).backward()
    return {key: value.grad for key, value in model.named_parameters() if value.grad is not None}


def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("clip", "multi", "siglip"):
        wanted = gradients(name, 1, 0)
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert set(found) == set(wanted)
        for key, value in wanted.items():
            assert value.abs().max() > 1e-3
            torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-9)


def test_another_number_of_processes_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="torchrun --nproc_per_node 2"):
        distributed.check_world_size(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE is 2"):
        distributed.check_world_size(None)


def test_reseeding_is_a_pure_function() -> None:
    draws = []
    for seed, step, rank in ((0, 5, 0), (0, 5, 1), (0, 6, 0), (1, 5, 0), (0, 5, 0)):
        distributed.reseed(seed, step, rank)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[4]
    assert len({tuple(draw) for draw in draws}) == 4


def main(folder: Path) -> None:
    """Run under torchrun: gradients averaged over ranks, as DDP does, saved by rank 0."""
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    for name in ("clip", "multi", "siglip"):
        found = gradients(name, world, rank)
        for value in found.values():
            torch.distributed.all_reduce(value)
            value /= world
        if rank == 0:
            torch.save(found, folder / f"{name}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
