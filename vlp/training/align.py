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
from vlp.corpus.dataset import Corpus, no_training
from vlp.corpus.frame import Square
from vlp.encoders.adapters import LoraConfig, add_lora, merge_lora
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_backbone
from vlp.hub import load_dual, load_image_encoder, read_config, save_model
from vlp.hub.licence import check_licences, inherited
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.study import Study
from vlp.training.checkpoint import latest_checkpoint, starting_point
from vlp.training.config import LoopConfig
from vlp.training.data import DataConfig, Images, StudyBatches, source_square
from vlp.training.descriptions import Descriptions
from vlp.training.distributed import rank, reseed, world_size
from vlp.training.loop import Hook, barrier, fit, start_processes
from vlp.training.monitor import retrieval
from vlp.training.rewrite import rewritable
from vlp.training.texts import TextSampling, whole


class AlignConfig(LoopConfig):
    """Settings of ``vlp align``."""

    steps: int = Field(default=800, ge=1)
    # with --encoder of a model that `vlp align` wrote: go on with its text tower, tokenizer, projections and temperature
    # too; text and dual are then that model's own
    both_towers: bool = False
    image: ImageConfig = ImageConfig()  # used without --encoder only
    text: TextConfig = TextConfig()
    dual: DualConfig = DualConfig()
    data: DataConfig = DataConfig()
    sampling: TextSampling = TextSampling()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    lora: LoraConfig = LoraConfig()  # frozen towers that learn through adapters
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
        UserError: no corpus, too few reports, settings that do not fit, a licence that the user has not accepted; see
            also :func:`vlp.training.loop.fit`.
    """
    start_processes(config)
    shown = console if rank() == 0 else Console("quiet")
    sources = {"--encoder": encoder, "text.folder": config.text.folder, "image.weights": config.image.weights}
    used = {what: Path(path) for what, path in sources.items() if path and not (what == "image.weights" and encoder)}
    licences = check_licences(used, config.allow_non_commercial, shown)
    data = Corpus.open(corpus)
    identity = [data.fingerprint, read_config(encoder)["fingerprints"] if encoder else {}]
    starting_point(out, config, identity)
    studies = [study for study in data.select(split="train", reported=True) if study.images and whole(study).strip()]
    if not studies:
        raise UserError(no_training(data, "images and a report"))
    flip, negatives = config.contrastive.augment.flip, config.contrastive.needs_negatives
    if flip or negatives:
        _, mute = rewritable([study.language for study in studies])
        if mute:
            names = ", ".join(language or "unknown" for language in mute)
            console.warn(f"no rewrite.yaml for reports in: {names}; those are not mirrored and have no hard negatives")
    reseed(config.seed, 0, 0)
    dual = _dual(config, encoder, studies, out)
    learned = dual.logit_scale.detach().clone(), dual.logit_bias.detach().clone()
    cut = _count_cut(dual.text, studies, shown)
    _adapt(dual, config)
    objective = ContrastiveObjective(dual, config.contrastive, config.data.batch_size)
    if config.both_towers and (config.contrastive.loss == "infonce" or learned[1].any()):  # else SigLIP starts anew
        with torch.no_grad():
            dual.logit_scale.copy_(learned[0])
            dual.logit_bias.copy_(learned[1])
    square = source_square(dual.image.config, config.data.source_size)
    seed = config.seed
    me, world = rank(), world_size()
    told = Descriptions.of(studies, seed) if config.contrastive.descriptions else None
    batches = StudyBatches(
        data,
        studies,
        config.data,
        config.sampling,
        square,
        seed,
        me,
        world,
        shown,
        flip=flip,
        negatives=negatives,
        descriptions=told,
    )
    hooks = []
    checked = [
        study for study in data.select(split="validation", reported=True) if study.images and whole(study).strip()
    ]
    if config.validation and len(checked) > 1:
        validator = Validator(data, checked[: config.validation], square, config.data.cache_mb)
        hooks = [Hook(config.validate_every or config.steps, validator)]
    if rank() == 0:
        dump_config(config, out / "config.yaml")
    done = fit(objective, batches, config, out, console, hooks, identity=identity, what="aligning")
    merge_lora(dual)
    summary = {
        "loss": config.contrastive.loss,
        "image_tower": dual.image.config.name,
        "started_from": "random weights" if encoder is None else "both towers" if config.both_towers else "encoder",
        "training_studies": len(studies),
        "training_images": sum(len(study.images) for study in studies),
        "vocabulary": len(dual.text.tokenizer),
        "reports_cut": cut,
        **dataclasses.asdict(done),
    }
    if rank() == 0:
        languages = sorted({study.language for study in studies if study.language})
        card = {
            "licence": inherited(config.licence, licences),
            "summary": f"Image and text encoder ({config.contrastive.loss}), trained on {len(studies)} studies.",
            "fingerprints": {"corpus": data.fingerprint},
            "languages": ", ".join(languages),
            **{f"licence of {what}": licence for what, licence in licences.items()},
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


def _dual(config: AlignConfig, encoder: Path | None, studies: list[Study], out: Path) -> DualEncoder:
    """What is trained, as it starts."""
    if not config.both_towers:
        return DualEncoder(_image_tower(config, encoder), _text_tower(config, studies, out), config.dual)
    if encoder is None:
        raise UserError("both_towers=true needs --encoder ALIGN, a folder that `vlp align` wrote, to go on from")
    if config.text.folder:
        raise UserError(f"both_towers=true takes the text tower of {encoder}; leave text.folder out")
    return load_dual(encoder)


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


def _count_cut(text: TextEncoder, studies: list[Study], console: Console) -> int:
    """How many training reports are longer than what the tower reads of a text; says so, and where accents are lost."""
    if rank() != 0:
        return 0
    if not text.tokenizer.keeps_accents:
        console.warn("this tokenizer takes accents away (e and e acute are one token); a cased model keeps them")
    cut = text.tokenizer.count_cut(whole(study) for study in studies)
    if cut:
        console.warn(
            f"{cut} of {len(studies)} reports are longer than {text.tokenizer.max_length} tokens; what is beyond is not "
            "read. Raise text.max_length, or text.windows where the tower has no more positions"
        )
    return cut


def _adapt(dual: DualEncoder, config: AlignConfig) -> None:
    """Put adapters beside the towers that the configuration names."""
    if not config.lora.rank:
        return
    scales = {"image": config.contrastive.image_lr_scale, "text": config.contrastive.text_lr_scale}
    backbones = {"image": dual.image.backbone, "text": dual.text.backbone}
    for name in dict.fromkeys(config.lora.towers):
        if scales[name] == 0:
            raise UserError(
                f"contrastive.{name}_lr_scale=0 locks the {name} tower and lora.towers adapts it; take one of them away"
            )
        add_lora(backbones[name], config.lora, name)
