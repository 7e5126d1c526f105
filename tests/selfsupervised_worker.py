"""Gradients of DINO and MAE on N gloo processes, and of one process with the whole batch.

``python selfsupervised_worker.py FOLDER``: forks 2 processes; rank 0 writes ``FOLDER/2.pt`` with
``{case: {"found": gradients, "wanted": gradients}}``. What is random is a function of the image and not of the rank:
augmentation is off, and masks and the choice of visible patches are rows of one table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from exact_worker import alone, gradients
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

import vlp.objectives.mae as mae
from vlp.corpus.augment import AugmentConfig
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.objectives.dino import DinoConfig, DinoObjective
from vlp.objectives.mae import MaeConfig, MaeObjective
from vlp.training.distributed import rank, world_size

ROWS = 8
STILL = AugmentConfig(
    scale=(1.0, 1.0), ratio=1.0, rotation=0.0, brightness=0.0, contrast=0.0, gamma=0.0, noise=0.0, blur=0.0
)
DINO = DinoConfig(
    outputs=32, hidden=32, bottleneck=16, local_crops=2, local_size=32, local_scale=(1.0, 1.0), augment=STILL
)
CASES: dict[str, dict[str, Any]] = {
    "dino": {},
    "dino softmax": {"centring": "softmax"},
    "dino without koleo": {"koleo": 0.0},
}


def images() -> Tensor:
    """[ROWS, 1, 64, 64] uint8, bodies of different size, so that ranks hold different numbers of body patches."""
    generator = torch.Generator().manual_seed(1)
    films = torch.randint(60, 256, (ROWS, 1, 64, 64), dtype=torch.uint8, generator=generator)
    for row in range(ROWS):
        films[row, :, :, 64 - 16 * (row // 3) :] = 0  # 0 to 2 columns of air
    return films


def own(rows: Tensor) -> Tensor:
    """This rank's rows."""
    share = len(rows) // world_size()
    return rows[rank() * share : (rank() + 1) * share]


def masks(count: int) -> Tensor:
    """[2 * count, 16] bool: both large crops of an image; every second image has a mask, of differing size."""
    table = torch.zeros(2, ROWS, 16, dtype=torch.bool)
    order = torch.rand(2, ROWS, 16, generator=torch.Generator().manual_seed(2)).argsort(dim=2)
    for view in range(2):
        for row in range(0, ROWS, 2):
            table[view, row, order[view, row, : 2 + row // 2]] = True
    return torch.cat([own(view) for view in table]) if count < ROWS else table.flatten(0, 1)


def double(objective: nn.Module, tower: ImageEncoder) -> None:
    """Everything in float64, so that what is left of a difference is no rounding; pixels are the same float32 ones."""
    objective.double()
    tower.normalise = lambda images: ImageEncoder.normalise(tower, images).double()  # type: ignore[method-assign]


def dino(values: dict[str, Any]) -> DinoObjective:
    torch.manual_seed(0)
    tower = ImageEncoder(ImageConfig(name="vit_atto", image_size=64))
    objective = DinoObjective(tower, DINO.model_copy(update=values), steps=10).train()
    with torch.no_grad():  # a teacher that is not the student, prototypes that are apart, a mask token that is seen
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    double(objective, tower)
    objective._mask = lambda count, tower: masks(count // 2)  # type: ignore[method-assign]
    return objective


def masked() -> MaeObjective:
    torch.manual_seed(0)
    tower = ImageEncoder(ImageConfig(name="vit_atto", image_size=64, gradient_checkpointing=True))
    objective = MaeObjective(tower, MaeConfig(width=32, mask=0.5, augment=STILL)).train()
    double(objective, tower)
    return objective


def chosen(body: Tensor, mask: float) -> tuple[Tensor, Tensor]:
    """Stands in for the random choice of visible patches."""
    order = torch.rand(ROWS, body.shape[1], generator=torch.Generator().manual_seed(3)).argsort(dim=1)
    order = own(order) if len(body) < ROWS else order
    return order[:, : body.shape[1] // 2], order[:, body.shape[1] // 2 :]


def case(make: Callable[[], nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Two steps, so that a centre is not 0 in the second."""
    model, whole = make(), make()
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    for step in range(2):
        model.zero_grad(set_to_none=True)
        wrapped({"images": own(images())}, step)[0].backward()
        whole.zero_grad(set_to_none=True)
        with alone():
            whole({"images": images()}, step)[0].backward()
    return {"found": gradients(model), "wanted": gradients(whole)}


def sharded() -> dict[str, dict[str, Tensor]]:
    """MAE under FSDP2, activations recomputed, against one process."""
    model, whole = masked(), masked()
    mesh = init_device_mesh("cpu", (world_size(),))
    for block in model.encoder.backbone.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model({"images": own(images())}, 0)[0].backward()
    with alone():
        whole({"images": images()}, 0)[0].backward()
    found = {n: p.grad.full_tensor().clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"found": found, "wanted": gradients(whole)}


def main(me: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=me, world_size=world)
    cases = {name: case(lambda values=values: dino(values)) for name, values in CASES.items()}
    with patch.object(mae, "choose", chosen):
        cases["mae"] = case(masked)
        cases["mae FSDP2"] = sharded()
    if me == 0:
        torch.save(cases, Path(folder) / f"{world}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(main, (2, sys.argv[1]), nprocs=2, start_method="fork")
