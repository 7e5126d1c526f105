"""``vlp pretrain``: an image encoder from images alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import write_json
from vlp.corpus.dataset import Corpus, no_training
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.weights import load_backbone
from vlp.hub import save_model
from vlp.hub.licence import check_licences, inherited
from vlp.objectives.dino import DinoConfig, DinoObjective
from vlp.objectives.mae import MaeConfig, MaeObjective
from vlp.training.checkpoint import starting_point
from vlp.training.config import LoopConfig
from vlp.training.data import DataConfig, ImageBatches, Images, source_square
from vlp.training.distributed import rank, reseed, world_size
from vlp.training.loop import Hook, fit, start_processes
from vlp.training.monitor import embed, knn_accuracy, probe_findings, rankme


class PretrainConfig(LoopConfig):
    """Settings of ``vlp pretrain``."""

    steps: int = Field(default=600, ge=1)
    objective: Literal["mae", "dino", "both"] = "mae"
    image: ImageConfig = ImageConfig()
    data: DataConfig = DataConfig()
    mae: MaeConfig = MaeConfig()
    dino: DinoConfig = DinoConfig()
    # share of the steps in which heads learn alone: with image.weights, fresh heads would spoil what the encoder knows
    warmup_frozen: float = Field(default=0.0, ge=0, lt=1)
    mae_weight: float = Field(default=1.0, ge=0)  # of the MAE loss against DINO's (objective=both)
    monitor: int = Field(default=512, ge=0)  # images of a split for kNN, linear probe and RankMe; 0 is off
    monitor_every: int | None = None  # steps between; default once, at the end
    licence: str = "unspecified"  # of the weights; written on the card

    @property
    def frozen_steps(self) -> int:
        """Steps in which heads learn alone."""
        return round(self.warmup_frozen * self.steps)


class Both(nn.Module):
    """DINO and MAE on one encoder: the sum of their losses."""

    def __init__(self, encoder: ImageEncoder, config: PretrainConfig) -> None:
        super().__init__()
        self.dino = DinoObjective(encoder, config.dino, config.steps, config.frozen_steps)
        self.mae = MaeObjective(encoder, config.mae, config.frozen_steps)
        if encoder.mask_token is not None:
            encoder.mask_token.requires_grad_(config.dino.ibot > 0)
        self.weight = config.mae_weight

    @property
    def encoder(self) -> ImageEncoder:
        """The result: DINO's teacher."""
        return self.dino.encoder

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        first, logs = self.dino(batch, step)
        second, more = self.mae(batch, step)
        return first + self.weight * second, {**logs, **more}

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.dino.after_step(step)


def run_pretrain(config: PretrainConfig, corpus: Path, out: Path, console: Console) -> dict[str, Any]:
    """Pretrain on the training images of ``corpus``; write a model folder (docs/architecture.md) to ``out``.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        UserError: no corpus, too few images, settings that do not fit; see also :func:`vlp.training.loop.fit`.
    """
    if config.image.patch_dropout:
        raise UserError(
            "image.patch_dropout is for `vlp align`; masked and cropped images have no use for it: leave it out"
        )
    start_processes(config)
    shown = console if rank() == 0 else Console("quiet")
    sources = {"image.weights": Path(config.image.weights)} if config.image.weights else {}
    licences = check_licences(sources, config.allow_non_commercial, shown)
    data = Corpus.open(corpus)
    identity = [data.fingerprint]
    starting_point(out, config, identity)
    studies = data.select(split="train")
    refs = [ref for study in studies for ref in study.images]
    if not refs:
        raise UserError(no_training(data))
    images = Images(data, refs, source_square(config.image, config.data.source_size), config.data.cache_mb, shown)
    contours = config.objective != "dino" and config.mae.body > 0
    batches = ImageBatches(images, config.data.batch_size, config.seed, rank(), world_size(), body=contours)
    reseed(config.seed, 0, 0)
    encoder = ImageEncoder(config.image)
    if config.image.weights:
        load_backbone(encoder, Path(config.image.weights))
    objective = _objective(encoder, config)
    hooks = []
    if config.monitor:
        monitor = Monitor(data, config, images)
        hooks = [Hook(config.monitor_every or config.steps, monitor)]
    if rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        dump_config(config, out / "config.yaml")
    done = fit(objective, batches, config, out, console, hooks, identity=identity, what="pretraining")
    summary = {
        "objective": config.objective,
        "image_tower": config.image.name,
        "training_images": len(refs),
        **dataclasses.asdict(done),
    }
    if rank() == 0:
        card = {
            "licence": inherited(config.licence, licences),
            "summary": f"Image encoder, self-supervised ({config.objective}) on {len(refs)} radiographs.",
            "fingerprints": {"corpus": data.fingerprint},
            "steps": done.steps,
        }
        save_model(out, objective.encoder, card)
        write_json(out / "summary.json", summary)
    return summary


class Monitor:
    """Validation images against training images: kNN of the anatomy, a linear probe of each finding, and RankMe.

    Findings are the binary labels of the manifest, mined from reports where a department gave none.
    """

    def __init__(self, corpus: Corpus, config: PretrainConfig, train: Images) -> None:
        known = [(study, ref) for study in corpus.select(split="validation") for ref in study.images]
        known = known[:: max(1, len(known) // config.monitor)][: config.monitor]
        studies = [study for study in corpus.select(split="train") for _ in study.images]
        rows = range(0, len(train), max(1, len(train) // config.monitor))
        self._train, self._train_studies = train[list(rows)], [studies[i] for i in rows]
        self._studies = [study for study, _ in known]
        images = Images(corpus, [ref for _, ref in known], train.square, config.data.cache_mb, Console("quiet"))
        self._images = images[range(len(known))] if known else torch.empty(0, 1, 1, 1)

    def __call__(self, objective: nn.Module, step: int) -> dict[str, float]:
        encoder = objective.encoder
        assert isinstance(encoder, ImageEncoder)
        train = embed(encoder, self._train)
        if not len(self._images):
            return {"rankme": rankme(train)}
        seen = embed(encoder, self._images)
        classes = [[study.anatomy for study in studies] for studies in (self._train_studies, self._studies)]
        findings = [[study.labels for study in studies] for studies in (self._train_studies, self._studies)]
        return {
            "rankme": rankme(seen),
            "knn_anatomy": knn_accuracy(train, classes[0], seen, classes[1]),
            **probe_findings(train, findings[0], seen, findings[1]),
        }


def _objective(encoder: ImageEncoder, config: PretrainConfig) -> MaeObjective | DinoObjective | Both:
    if config.objective == "mae":
        return MaeObjective(encoder, config.mae, config.frozen_steps)
    if config.objective == "dino":
        return DinoObjective(encoder, config.dino, config.steps, config.frozen_steps)
    return Both(encoder, config)
