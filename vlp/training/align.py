"""``vlp align``: images and reports in one space."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import write_json, write_text_atomic
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_backbone
from vlp.hub import load_image_encoder, read_config, save_model
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.study import Study
from vlp.training.checkpoint import latest_checkpoint
from vlp.training.config import LoopConfig
from vlp.training.data import DataConfig, Images, StudyBatches, source_square
from vlp.training.distributed import rank, reseed, world_size
from vlp.training.loop import Hook, barrier, fit, start_processes
from vlp.training.monitor import retrieval
from vlp.training.rewrite import rewritable
from vlp.training.texts import TextSampling, whole


class AlignConfig(LoopConfig):
    """Settings of ``vlp align``."""

    steps: int = Field(default=800, ge=1)
    image: ImageConfig = ImageConfig()  # used without --encoder only
    text: TextConfig = TextConfig()
    dual: DualConfig = DualConfig()
    data: DataConfig = DataConfig()
    sampling: TextSampling = TextSampling()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    validation: int = Field(default=256, ge=0)  # studies for the retrieval check; 0 is off
    validate_every: int | None = None  # steps between; default once, at the end
    licence: str = "unspecified"  # of the weights; written on the card


def run_align(config: AlignConfig, corpus: Path, out: Path, encoder: Path | None, console: Console) -> dict[str, Any]:
    """Align the studies of ``corpus`` that have a report; write a model folder (docs/architecture.md) to ``out``.

    Args:
        encoder: a model folder whose image tower to start from; None starts from random weights.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        UserError: no corpus, too few reports, settings that do not fit; see also :func:`vlp.training.loop.fit`.
    """
    start_processes(config)
    data = Corpus.open(corpus)
    studies = [study for study in data.select(split="train", reported=True) if study.images and whole(study).strip()]
    if not studies:
        raise UserError(f"{corpus} has no training studies with both images and a report; see `vlp prepare --help`")
    flip, negatives = config.contrastive.augment.flip, config.contrastive.needs_negatives
    if flip or negatives:
        _, mute = rewritable([study.language for study in studies])
        if mute:
            names = ", ".join(language or "unknown" for language in mute)
            console.warn(f"no rewrite.yaml for reports in: {names}; those are not mirrored and have no hard negatives")
    reseed(config.seed, 0, 0)
    dual = DualEncoder(_image_tower(config, encoder), _text_tower(config, studies, out), config.dual)
    objective = ContrastiveObjective(dual, config.contrastive, config.data.batch_size)
    square = source_square(dual.image.config, config.data.source_size)
    shown = console if rank() == 0 else Console("quiet")
    seed = config.seed
    me, world = rank(), world_size()
    batches = StudyBatches(
        data, studies, config.data, config.sampling, square, seed, me, world, shown, flip=flip, negatives=negatives
    )
    hooks = []
    checked = [
        study for study in data.select(split="validation", reported=True) if study.images and whole(study).strip()
    ]
    if config.validation and len(checked) > 1:
        validator = Validator(data, checked[: config.validation], square, config.data.cache_mb)
        hooks = [Hook(config.validate_every or config.steps, validator)]
    start = read_config(encoder)["fingerprints"] if encoder else {}
    if rank() == 0:
        dump_config(config, out / "config.yaml")
    identity = [data.fingerprint, start]
    done = fit(objective, batches, config, out, console, hooks, identity=identity, what="aligning")
    summary = {
        "loss": config.contrastive.loss,
        "image_tower": dual.image.config.name,
        "started_from": "random weights" if encoder is None else "encoder",
        "training_studies": len(studies),
        "training_images": sum(len(study.images) for study in studies),
        "vocabulary": len(dual.text.tokenizer),
        **dataclasses.asdict(done),
    }
    if rank() == 0:
        languages = sorted({study.language for study in studies if study.language})
        card = {
            "licence": config.licence,
            "summary": f"Image and text encoder ({config.contrastive.loss}), trained on {len(studies)} studies.",
            "fingerprints": {"corpus": data.fingerprint},
            "languages": ", ".join(languages),
            "steps": done.steps,
        }
        save_model(out, dual, card)
        write_json(out / "summary.json", summary)
    return summary


class Validator:
    """Image-to-text retrieval among validation studies."""

    def __init__(self, corpus: Corpus, studies: list[Study], square: Square, cache_mb: int) -> None:
        refs = [ref for study in studies for ref in study.images]
        self._images = Images(corpus, refs, square, cache_mb, Console("quiet"))[range(len(refs))]
        self._owner = torch.tensor([i for i, study in enumerate(studies) for _ in study.images])
        self._texts = [whole(study) for study in studies]

    def __call__(self, objective: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(objective.dual, DualEncoder)
        found = retrieval(objective.dual, self._images, self._owner, self._texts)
        return {f"validation_{key}": value for key, value in found.items()}


def _image_tower(config: AlignConfig, encoder: Path | None) -> ImageEncoder:
    if encoder is not None:
        return load_image_encoder(encoder)
    tower = ImageEncoder(config.image)
    if config.image.weights:
        load_backbone(tower, Path(config.image.weights))
    return tower


def _text_tower(config: AlignConfig, studies: list[Study], out: Path) -> TextEncoder:
    if config.text.folder:
        return TextEncoder.from_folder(config.text)
    file = out / "tokenizer.json"
    if rank() == 0 and not (latest_checkpoint(out / "checkpoints") and file.is_file()):
        texts = [text for study in studies for text in (study.results, study.conclusion, study.report) if text]
        tokenizer = Tokenizer.train(texts, config.text.vocabulary, config.text.max_length)
        write_text_atomic(file, tokenizer.to_json())
    barrier()
    return TextEncoder(config.text, Tokenizer.from_folder(out, config.text.max_length))
