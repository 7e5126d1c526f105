"""Gradients of every contrastive loss on N gloo processes, and of one process that does the same without any of it.

``python exact_worker.py FOLDER``: imports once, forks 1, 2 and 4 processes in turn; each world's rank 0 writes
``FOLDER/<world>.pt`` with ``{case: {"found": gradients, "wanted": gradients}}``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

import vlp.objectives.contrastive as contrastive
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.objectives.crosslingual import decorrelation
from vlp.objectives.descriptions import FACETS, Described, FacetProjection, description_loss, own_part
from vlp.objectives.gloria import gloria
from vlp.objectives.hardnegative import hard_negative
from vlp.objectives.infonce import info_nce
from vlp.objectives.local import LocalFeatures, by_study, sparc
from vlp.objectives.siglip import siglip
from vlp.objectives.synonyms import SynonymConfig, multi_similarity
from vlp.objectives.targets import Keys, Targets
from vlp.training.distributed import rank, world_size
from vlp.training.texts import keys

ROWS, WIDTH = 8, 6
# the study of an image: 7 and 6 on 2 ranks, 3, 4, 3 and 3 on 4; at most 2 a study on each, so that all ranks pad alike
OWNER = torch.tensor([0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7])
Gradients = dict[str, Tensor]


# -- losses on embeddings ----------------------------------------------------------------------------------------------


def toy() -> tuple[nn.Module, dict[str, Tensor]]:
    """A model with three parameters and a batch of 8 studies, float64."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"image": nn.Linear(5, WIDTH), "text": nn.Linear(5, WIDTH)}).double()
    model.register_parameter("scale", nn.Parameter(torch.full([1], 5.0).double()))
    model.register_parameter("bias", nn.Parameter(torch.full([1], -1.0).double()))
    model["facets"] = FacetProjection(WIDTH, len(FACETS)).double()
    for parameter in model["facets"].parameters():
        nn.init.normal_(parameter, std=0.3)
    said = torch.tensor([[1, 2], [1, 3], [2, 0], [1, 0], [4, 5], [6, 7], [1, 2], [0, 0]])
    heard = torch.tensor([[1, 2, 3], [1, 3, 0], [2, 1, 0], [1, 8, 0], [4, 5, 1], [6, 7, 2], [1, 2, 0], [9, 0, 0]])
    batch = {name: torch.randn(ROWS, 5).double() for name in ("x", "y", "second", "negative")}
    batch |= {"studies": heard, "texts": said, "labels": torch.tensor([1, 2, 1, 0, 2, 0, 0, 3])}
    batch["findings"] = torch.tensor(
        [[1, 0, -1], [0, 1, 1], [0, -1, 0], [1, 1, 0], [-1, 0, 1], [0, 0, 0], [1, 0, 1], [-1] * 3]
    )
    batch |= {"concepts": torch.tensor([1, 2, 1, 3, 2, 1, 3, 4]), "forms": torch.tensor([1, 2, 3, 4, 5, 2, 6, 7])}
    batch["present"] = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1]).bool()
    batch |= {"words": torch.randn(ROWS, 4, 5).double(), "heard": torch.rand(ROWS, 4) < 0.7}
    batch["patches"] = torch.randn(len(OWNER), 9, 5).double()
    return model, batch


def toy_loss(name: str, model: nn.Module, batch: dict[str, Tensor], owner: Tensor) -> Tensor:
    """One of the losses on this rank's part of the batch."""
    image, text = (lambda x: normalize(model.image(x), dim=-1)), (lambda x: normalize(model.text(x), dim=-1))
    x, y, count = image(batch["x"]), text(batch["y"]), len(batch["x"])
    said = Keys(batch["studies"], batch["texts"], batch["labels"])
    goals: dict[str, Callable[[], Targets]] = {
        "plain": lambda: Targets.of(count, x.device),
        "multi": lambda: Targets.of(count, x.device, said),
        "soft": lambda: Targets.of(count, x.device, said, y, 0.4),
    }
    kind, _, detail = name.partition("/")
    goal, _, elements = detail.partition("/")
    small = {"elements": int(elements)} if elements else {}
    if kind == "infonce":
        return info_nce(x, y, model.scale, goals[goal](), **small)
    if kind == "siglip":
        return siglip(x, y, model.scale, model.bias, goals[goal](), **small)
    if kind == "hard":
        return hard_negative(x, y, text(batch["negative"]), batch["present"], model.scale)
    if kind == "decorrelation":
        return decorrelation(y, text(batch["second"]))
    if kind == "synonyms":
        return multi_similarity(y, batch["concepts"], batch["forms"], SynonymConfig(beta=6.0), **small)[0]
    if kind == "descriptions":
        told = torch.randn(3 * len(FACETS), 5, generator=torch.Generator().manual_seed(3)).double()
        mine = [int(number) for number in own_part([str(number) for number in range(len(told))])]
        written = torch.ones(3, len(FACETS), dtype=torch.bool)
        written[1, 3] = False
        return description_loss(
            x, text(told[mine]), model["facets"], Described(batch["findings"], written), model.scale
        )
    patches, seen = by_study(image(batch["patches"]), owner, count)
    local = LocalFeatures(patches, seen, text(batch["words"]), batch["heard"])
    return gloria(local, model.scale, goals[goal](), **small) if kind == "gloria" else sparc(local, model.scale)


TOY = (
    *("infonce/plain", "infonce/multi", "infonce/soft", "infonce/multi/16", "infonce/soft/8"),
    *("siglip/plain", "siglip/multi", "siglip/multi/16", "hard", "decorrelation", "local"),
    *("gloria/plain", "gloria/multi", "gloria/multi/200"),
    *("descriptions", "synonyms", "synonyms/block/16"),
)


def part_of(batch: dict[str, Tensor], me: int, world: int) -> tuple[dict[str, Tensor], Tensor]:
    """What rank ``me`` holds: its studies in a row, and all their images."""
    first, last = me * ROWS // world, (me + 1) * ROWS // world
    mine = (first <= OWNER) & (last > OWNER)
    part = {k: v[mine] if len(v) == len(OWNER) else v[first:last] for k, v in batch.items()}
    return part, OWNER[mine] - first


def toy_case(name: str) -> dict[str, Gradients]:
    model, batch = toy()
    part, owner = part_of(batch, rank(), world_size())
    toy_loss(name, model, part, owner).backward()
    found = averaged(model)
    whole, batch = toy()
    with alone():
        toy_loss("/".join(name.split("/")[:2]), whole, batch, OWNER).backward()  # in one block
    return {"found": found, "wanted": gradients(whole)}


def open_clip_case(name: str) -> dict[str, Gradients]:
    """open_clip's own loss, with the flags that are exact, on the same part of the batch."""
    from open_clip.loss import ClipLoss, SigLipLoss

    model, batch = toy()
    part, _ = part_of(batch, rank(), world_size())
    x, y = normalize(model.image(part["x"]), dim=-1), normalize(model.text(part["y"]), dim=-1)
    if name == "siglip":
        SigLipLoss(rank=rank(), world_size=world_size())(x, y, model.scale, model.bias).backward()
    else:
        theirs = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank(), world_size=world_size())
        theirs(x, y, model.scale).backward()
    wanted = averaged(model)
    ours, _ = toy()
    toy_loss(f"{name}/plain", ours, part, OWNER).backward()
    return {"found": averaged(ours), "wanted": wanted}


# -- the whole objective, with dropout, augmentation and recomputed slices ------------------------------------------------

TEXTS = [
    "Fracture du radius gauche.",
    "Pas de fracture visible ce jour.",
    "Épanchement pleural droit minime.",
    "Pas d'épanchement pleural à droite.",
    "Fracture du radius gauche.",
    "Cœur de taille normale ce jour.",
    "Pas de fracture visible ce jour.",
    "Opacité de la base gauche.",
]
FALSE = [
    "Pas de fracture du radius gauche.",
    "Fracture visible ce jour.",
    "",
    "Épanchement pleural à droite.",
    *[""] * 4,
]
ALL = {"local": 0.5, "hard_negatives": 0.5, "hard_negatives_centred": 0.5, "cross_lingual": 0.1, "captioning": 0.2}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "infonce and its terms": {**ALL, "soft_targets": 0.2, "chunk": 2},
    "siglip": {"loss": "siglip", "hard_negatives": 0.5, "chunk": 2},
    "descriptions of findings": {"descriptions": 0.5, "chunk": 2},
    "masked language": {"masked_language": 0.5, "chunk": 2},
}


def objective(values: dict[str, Any]) -> ContrastiveObjective:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(TEXTS * 2, 300, 8)  # every text is cut to 8 tokens, so that all ranks pad alike
    text = TextConfig(
        width=16, layers=1, heads=2, vocabulary=300, max_length=8, dropout=0.0 if "descriptions" in values else 0.1
    )
    image = ImageEncoder(ImageConfig(name="vit_atto", image_size=16))
    dual = DualEncoder(image, TextEncoder(text, tokenizer), DualConfig(width=16))
    return ContrastiveObjective(dual, ContrastiveConfig(**values), ROWS).train()


WHOLE = {
    "descriptions": [f"{finding} {facet} visible ce jour" for finding in ("Fracture", "Opacité") for facet in FACETS],
    "written": torch.ones(2, len(FACETS), dtype=torch.bool),
}
"""The same on every rank."""


def full_batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (len(OWNER), 1, 18, 18), dtype=torch.uint8, generator=generator)
    return {
        "images": images,
        "study_index": OWNER,
        "texts": TEXTS,
        "negatives": FALSE,
        "anatomy_keys": torch.tensor([1, 1, 2, 2, 1, 2, 1, 2]),
        "study_keys": keys(TEXTS),
        "text_keys": keys(TEXTS),
        "findings": torch.tensor([[1, 0], [0, -1], [1, 1], [0, 0], [1, 0], [-1, 1], [0, 1], [0, 0]]),
        **WHOLE,
    }


def own_batch() -> dict[str, Any]:
    """This rank's part."""
    batch = full_batch()
    first, last = rank() * ROWS // world_size(), (rank() + 1) * ROWS // world_size()
    mine = (first <= OWNER) & (last > OWNER)
    whole = ("images", "study_index", *WHOLE)
    part = {key: value[first:last] for key, value in batch.items() if key not in whole}
    return {**part, **WHOLE, "images": batch["images"][mine], "study_index": OWNER[mine] - first}


def hidden_words(ids: Tensor, mask: Tensor, text: TextEncoder) -> tuple[Tensor, Tensor]:
    """Stands in for the random choice, so that it does not depend on how many texts a rank holds."""
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[:, 2:5:2] = mask[:, 2:5:2].bool()
    return torch.where(chosen, contrastive.mask_id(text), ids), chosen


class Emulated:
    """What N ranks do in :func:`vlp.objectives.gradcache.chunked`, in one process and without recomputation.

    Each rank's rows are encoded slice by slice, with that rank's own stream of random numbers.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.states = []
        for me in range(world):
            torch.manual_seed(100 + me)
            self.states.append(torch.get_rng_state())

    def __call__(
        self, encode: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], chunk: int
    ) -> tuple[Tensor, ...]:
        count, own = len(inputs[0]), ROWS // self.world
        if count == len(WHOLE["descriptions"]):  # shared out over the ranks; without dropout, so nothing is drawn
            return encode(*inputs)
        if count == len(OWNER):
            rows = [torch.nonzero(OWNER // own == me).flatten() for me in range(self.world)]
        else:  # texts once or, behind each other, rewritten and read again
            times = range(0, count, ROWS)
            rows = [torch.cat([torch.arange(own) + t + me * own for t in times]) for me in range(self.world)]
        slices = max(-(-len(mine) // chunk) for mine in rows)
        parts: list[tuple[Tensor, ...]] = []
        for me, mine in enumerate(rows):
            torch.set_rng_state(self.states[me])
            parts += [encode(*(value[piece] for value in inputs)) for piece in mine.tensor_split(slices)]
            self.states[me] = torch.get_rng_state()
        order = torch.cat(rows).argsort()
        return tuple(torch.cat(column)[order] for column in zip(*parts, strict=True))


def objective_case(values: dict[str, Any]) -> dict[str, Gradients]:
    model = objective(values)
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    with patch.object(contrastive, "hide", hidden_words):
        torch.manual_seed(100 + rank())
        wrapped(own_batch(), 0)[0].backward()
        reference = objective(values)
        emulated = Emulated(world_size())
        with alone(), patch.object(contrastive, "chunked", emulated):
            reference(full_batch(), 0)[0].backward()
    return {"found": gradients(model), "wanted": gradients(reference)}


def accumulation_case() -> dict[str, Gradients]:
    """Two batches before one update, the first without synchronisation, as the loop does it."""
    model = objective(OBJECTIVES["siglip"])
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    with wrapped.no_sync():
        torch.manual_seed(100 + rank())
        (wrapped(own_batch(), 0)[0] / 2).backward()
    torch.manual_seed(100 + rank())
    other = {**own_batch(), "texts": own_batch()["texts"][::-1]}
    (wrapped(other, 1)[0] / 2).backward()
    reference = objective(OBJECTIVES["siglip"])
    own = ROWS // world_size()
    texts = [text for me in range(world_size()) for text in TEXTS[me * own : (me + 1) * own][::-1]]
    with alone():
        for batch in (full_batch(), {**full_batch(), "texts": texts}):
            with patch.object(contrastive, "chunked", Emulated(dist_world())):
                (reference(batch, 0)[0] / 2).backward()
    return {"found": gradients(model), "wanted": gradients(reference)}


def sharded_case() -> dict[str, Gradients]:
    """FSDP2 against DDP, same seeds."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    values = OBJECTIVES["infonce and its terms"]
    replicated = objective(values)
    torch.manual_seed(100 + rank())
    wrapped = DistributedDataParallel(replicated, find_unused_parameters=True)
    wrapped(own_batch(), 0)[0].backward()
    model = objective(values)
    mesh = init_device_mesh("cpu", (world_size(),))
    for block in (*model.dual.image.backbone.blocks, *model.dual.text.backbone.encoder.layer):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    torch.manual_seed(100 + rank())
    model(own_batch(), 0)[0].backward()
    found = {n: p.grad.full_tensor().clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"found": found, "wanted": gradients(replicated)}


# -- processes -----------------------------------------------------------------------------------------------------------

_WORLD = 1


def dist_world() -> int:
    """The true number of processes, also inside :func:`alone`."""
    return _WORLD


class alone:
    """Inside, this process believes that it is the only one."""

    def __enter__(self) -> None:
        self._patches = [
            patch(f"torch.distributed.get_{what}", return_value=value)
            for what, value in (("world_size", 1), ("rank", 0))
        ]
        for item in self._patches:
            item.start()

    def __exit__(self, *exc: object) -> None:
        for item in self._patches:
            item.stop()


def gradients(model: nn.Module) -> Gradients:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def averaged(model: nn.Module) -> Gradients:
    """Gradients averaged over ranks, as DistributedDataParallel does."""
    found = gradients(model)
    for value in found.values():
        dist.all_reduce(value)
        value /= world_size()
    return found


def main(me: int, world: int, folder: str) -> None:
    global _WORLD
    _WORLD = world
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{world}", rank=me, world_size=world)
    cases: dict[str, dict[str, Gradients]] = {name: toy_case(name) for name in TOY}
    if find_spec("open_clip") is not None:
        cases |= {f"open_clip {name}": open_clip_case(name) for name in ("infonce", "siglip")}
    cases |= {name: objective_case(values) for name, values in OBJECTIVES.items()}
    cases["accumulation"] = accumulation_case()
    if world == 2:
        cases["FSDP2"] = sharded_case()
    if me == 0:
        torch.save(cases, Path(folder) / f"{world}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    for size in (1, 2, 4):
        start_processes(main, (size, sys.argv[1]), nprocs=size, start_method="fork")
