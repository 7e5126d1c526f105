"""Training for one task with labels: a head on the frozen encoder, the whole network, or the same network from scratch.

All arms see the same training patients, the same validation split (whole, at every fraction of labels, to choose the
penalty or the state) and the same test studies, which nothing is chosen on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import fingerprint, read_json, write_bytes_atomic, write_json
from vlp.corpus.augment import augment
from vlp.corpus.dataset import Corpus
from vlp.encoders.image import ImageEncoder
from vlp.evaluation.metrics import METRICS, columns_of
from vlp.evaluation.results import library_versions, write_metrics
from vlp.hub import load_image_encoder, read_config, save_model
from vlp.hub.licence import check_licences, licence_of
from vlp.study import Study
from vlp.tasks.batches import TaskBatches
from vlp.tasks.comparison import compare_protocols
from vlp.tasks.config import FinetuneConfig, loop_config
from vlp.tasks.features import Features, batch_of, cached_features, device, one_process, study_batches
from vlp.tasks.linear_probe import FittedProbe, fit_probe
from vlp.tasks.model import TaskModel
from vlp.tasks.predictions import Predictions, write_predictions
from vlp.tasks.task import Task, label_subset, sex_bit, task_by_name
from vlp.training.checkpoint import starting_point
from vlp.training.config import FREE, LoopConfig
from vlp.training.data import source_square
from vlp.training.loop import Hook, fit
from vlp.training.optim import parameter_groups


class TaskObjective(nn.Module):
    """Trains ``model``; a batch is :class:`TaskBatches`' with ``target`` and ``sex`` [B] float32."""

    def __init__(self, model: TaskModel, config: FinetuneConfig, encoder_lr_scale: float) -> None:
        super().__init__()
        self.model, self.config, self.encoder_lr_scale = model, config, encoder_lr_scale
        if model.image.mask_token is not None:
            model.image.mask_token.requires_grad_(False)
        if encoder_lr_scale == 0:
            model.image.requires_grad_(False)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        image = self.model.image
        pixels = augment(batch["images"], image.image_size, self.config.augment)
        raw = self.model(image.normalise(pixels), batch["study_index"], batch["sex"])
        return self.model.loss(raw, batch["target"]), {}

    def parameter_groups(self, config: LoopConfig) -> list[dict[str, Any]]:
        """The encoder at its own rate."""
        return parameter_groups(self, config, {"model.image.": self.encoder_lr_scale})


@torch.no_grad()
def predict(model: TaskModel, corpus: Corpus, studies: Sequence[Study], batch_size: int = 64) -> np.ndarray:
    """The model's answers [n] float64, from all images of each study."""
    parts = []
    for batch in study_batches(studies, batch_size):
        images, index = batch_of(corpus, batch, model.image)
        sex = torch.from_numpy(sex_bit(batch)).to(images.device)
        parts.append(model.answer(model(images, index, sex)).float().cpu().numpy())
    return np.concatenate(parts).astype(float) if parts else np.zeros(0)


def run_finetune(
    config: FinetuneConfig, task_name: str, corpus_path: Path, encoder_path: Path, out: Path, console: Console
) -> dict[str, Any]:
    """Train every protocol at every fraction of labels and seed; finished ones are not trained again.

    Writes ``metrics.json``, ``predictions.parquet`` (validation and test), ``subgroups.json``, ``comparisons.json`` and
    one model folder a run in ``runs/``.

    Raises:
        UserError: no such task, too few labelled studies, not a corpus or model folder.
    """
    one_process()
    read_config(encoder_path)
    check_licences({"--encoder": encoder_path}, config.allow_non_commercial, console)
    task = task_by_name(task_name)
    corpus = Corpus.open(corpus_path, cache_mb=1024)
    splits = {name: task.eligible(corpus.studies, name) for name in ("train", "validation", "test")}
    _check_splits(task, splits, corpus_path)
    encoder = load_image_encoder(encoder_path).to(device())
    mark = fingerprint(encoder_path / "model.safetensors", encoder_path / "config.json")
    arms = [
        _Arm(config, task, protocol, fraction, seed, corpus, splits, encoder_path, mark, out)
        for protocol in config.protocol
        for fraction in config.labels
        for seed in config.seeds
    ]
    for arm in arms:
        arm.check()
    out.mkdir(parents=True, exist_ok=True)
    dump_config(config, out / "config.yaml")
    started = time.monotonic()
    everyone = [s for studies in splits.values() for s in studies]
    features = cached_features(
        out / "cache", mark, encoder, None, corpus, everyone, console, batch_size=config.batch_size
    )
    found = [prediction for arm in arms for prediction in arm.predictions(features, console)]
    test = [p for p in found if p.split == "test"]
    results = [r for p in test for r in p.results(config.data, config.resamples)]
    rows: list[dict[str, Any]] = []
    for p in test:
        if p.labels == max(config.labels) and p.seed == config.seeds[0]:
            groups = p.subgroups(config.resamples, config.group_floor)
            results += p.subgroup_results(groups, config.data)
            rows += p.subgroup_rows(groups, config.data)
    write_predictions(out / "predictions.parquet", found)
    write_json(out / "subgroups.json", rows)
    comparisons = compare_protocols(task, test, config.resamples)
    write_json(out / "comparisons.json", comparisons)
    prints = {"corpus": corpus.fingerprint, "encoder": mark}
    write_metrics(out / "metrics.json", results, [], library_versions(), fingerprints=prints)
    counts = {name: len(studies) for name, studies in splits.items()}
    summary = {
        "task": task.name,
        "studies": counts,
        "seconds": round(time.monotonic() - started, 1),
        "out": str(out),
        "results": [asdict(r) for r in results if "/" not in r.data],
        "comparisons": comparisons,
    }
    write_json(out / "summary.json", {**summary, "fingerprints": prints})
    return summary


class _Arm:
    """One protocol at one fraction of labels and one seed, in its own folder."""

    def __init__(
        self,
        config: FinetuneConfig,
        task: Task,
        protocol: str,
        fraction: float,
        seed: int,
        corpus: Corpus,
        splits: dict[str, list[Study]],
        encoder_path: Path,
        mark: str,
        out: Path,
    ) -> None:
        self.config, self.task, self.protocol, self.fraction, self.seed = config, task, protocol, fraction, seed
        self.corpus, self.splits, self.encoder_path = corpus, splits, encoder_path
        self.name = f"{protocol}-labels{fraction:g}-seed{seed}"
        self.folder = out / "runs" / self.name
        self.train = label_subset(task, splits["train"], fraction, seed)
        ignored = FREE | {"labels", "protocol", "seeds", "data", "resamples", "group_floor"}
        own = config.model_dump(mode="json", exclude=set(ignored))
        self.identity = fingerprint(own, task.name, protocol, fraction, seed, corpus.fingerprint, mark)
        decay = {"layer_decay": 1.0} if protocol == "scratch" else {}
        self.loop = loop_config(config, seed=seed, **decay)
        self._done = self.folder / "done.json"

    @property
    def is_done(self) -> bool:
        """Whether it was trained and measured with the same settings."""
        return self._done.is_file() and read_json(self._done)["identity"] == self.identity

    def check(self) -> None:
        """Raises:
        UserError: its folder holds the checkpoints of a run with other settings.
        """
        if not self.is_done:
            starting_point(self.folder, self.loop, self.identity)

    def predictions(self, features: Features, console: Console) -> list[Predictions]:
        """Predictions for the validation and the test split: read where this arm is done, else trained for.

        Args:
            features: of the encoder, of all studies of the three splits.
        """
        if not self.is_done:
            model = self._trained(features, console).to(device()).eval()
            answers = {name: predict(model, self.corpus, self.splits[name]).tolist() for name in ("validation", "test")}
            card = {
                "kind": "task",
                "licence": licence_of(self.encoder_path),
                "summary": f"{self.task.name} ({self.protocol}), {self.fraction:.0%} of the labels, seed {self.seed}.",
                "studies with labels": len(self.train),
                "fingerprints": {"corpus": self.corpus.fingerprint, "run": self.identity},
            }
            save_model(self.folder, model, card, model.description())
            write_json(self._done, {"identity": self.identity, "n_train": len(self.train), "answers": answers})
        answers = read_json(self._done)["answers"]
        return [
            Predictions(
                self.task.name,
                self.protocol,
                f"{self.encoder_path.name}" if self.protocol != "scratch" else "random initialisation",
                self.fraction,
                self.seed,
                name,
                tuple(self.splits[name]),
                self.task.targets(self.splits[name]),
                np.asarray(answers[name], float),
            )
            for name in ("validation", "test")
        ]

    def _trained(self, features: Features, console: Console) -> TaskModel:
        config, task = self.config, self.task
        probe = self._probe(features)
        image = load_image_encoder(self.encoder_path)
        torch.manual_seed(self.seed)
        if self.protocol == "scratch":
            image = ImageEncoder(image.config)
        model = TaskModel(
            image,
            task,
            attentive=self.protocol == "attentive",
            sex=task.uses_sex if config.sex is None else config.sex,
            dropout=config.head_dropout,
        )
        target = task.targets(self.train)
        if task.kind == "regression":
            model.scale.mean.fill_(float(target.mean()))
            model.scale.std.fill_(max(float(target.std()), 1e-3))
        if self.protocol in ("linear", "finetune"):
            if probe is None:
                raise UserError(f"{task.name}: the training labels at {self.fraction:.0%} hold one value only")
            model.start_from(probe)
        if self.protocol == "linear":
            return model
        frozen = self.protocol == "attentive"
        scale = 0.0 if frozen else 1.0 if self.protocol == "scratch" else config.encoder_lr_scale
        objective = TaskObjective(model, config, scale)
        batches = TaskBatches(
            self.corpus,
            self.train,
            source_square(image.config),
            min(config.batch_size, max(2, len(self.train))),
            seed=self.seed,
            images=config.images,
            extra=self._extra,
        )
        keeper = _BestState(self)
        if self.protocol == "finetune":
            keeper.start(model)
        every = max(1, self.loop.steps // config.evaluations)
        what = f"{task.name} {self.name}"
        hooks = [Hook(every, keeper)]
        fit(objective, batches, self.loop, self.folder, console, hooks, identity=self.identity, what=what)
        keeper.restore(model)
        return model

    def _extra(self, studies: list[Study]) -> dict[str, Tensor]:
        return {
            "target": torch.tensor(self.task.targets(studies), dtype=torch.float32),
            "sex": torch.from_numpy(sex_bit(studies)),
        }

    def _probe(self, features: Features) -> FittedProbe | None:
        sets = [(features.of(s).probe, s) for s in (self.train, self.splits["validation"])]
        return fit_probe(self.task, sets[0], sets[1], sex=self.config.sex)


class _BestState:
    """Keeps the weights that did best on the validation split, on disk, so that a resumed run has them too."""

    def __init__(self, arm: _Arm) -> None:
        self.arm = arm
        self.metric = METRICS[arm.task.selects]
        self.path = arm.folder / "best.safetensors"
        self.note = arm.folder / "best.json"

    def start(self, model: TaskModel) -> None:
        """The state before the first step counts: fine-tuning that only harms ends with the probe."""
        if not self._note():
            self._offer(model.to(device()).eval(), 0)

    def __call__(self, objective: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(objective, TaskObjective)
        return {f"validation_{self.metric.name}": self._offer(objective.model, step)}

    def restore(self, model: TaskModel) -> None:
        """Load the best state into ``model``; without a usable validation split the last state stays."""
        if self._note():
            model.load_state_dict(load_file(self.path))

    def _offer(self, model: TaskModel, step: int) -> float:
        studies = self.arm.splits["validation"]
        wanted = self.arm.task.targets(studies)
        columns = columns_of(self.arm.task.name, wanted, predict(model, self.arm.corpus, studies))
        value = self.metric.value(*columns)
        kept = self._note()
        better = np.isfinite(value) and (
            not kept or (value > kept["value"] if self.metric.higher_is_better else value < kept["value"])
        )
        if better:
            state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
            write_bytes_atomic(self.path, save_tensors(state))
            write_json(self.note, {"identity": self.arm.identity, "step": step, "value": value})
        return value

    def _note(self) -> dict[str, Any] | None:
        found = read_json(self.note) if self.note.is_file() else None
        return found if found and found["identity"] == self.arm.identity else None


def _check_splits(task: Task, splits: dict[str, list[Study]], corpus: Path) -> None:
    for name in ("train", "test"):
        if len(splits[name]) < 2:
            raise UserError(
                f"{corpus}: {len(splits[name])} {name} studies have an image and the label '{task.label}'; "
                "more are needed (see the data card)"
            )
