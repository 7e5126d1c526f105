"""What models know without training for a task: zero-shot, retrieval, linear and nearest-neighbour probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonymize import __version__
from anonymize.config import ConfigError, dump_config
from anonymize.console import Console, UserError
from anonymize.files import fingerprint, read_json, write_json
from anonymize.languages import available, load_pack
from vlp.corpus.dataset import Corpus
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.evaluation.intervals import bootstrap, result_of
from vlp.evaluation.metrics import METRICS, OF_TASK
from vlp.evaluation.results import Result, library_versions, read_result, write_metrics
from vlp.hub import load_dual, load_image_encoder, read_config
from vlp.hub.licence import check_licences
from vlp.study import Study
from vlp.tasks.attention import write_attention
from vlp.tasks.config import EvaluateConfig
from vlp.tasks.features import Features, cached_features, device, one_process, png_uri, text_embeddings
from vlp.tasks.linear_probe import fit_probe, knn_predict
from vlp.tasks.predictions import Predictions, write_predictions
from vlp.tasks.retrieval import retrieval_examples, retrieval_ranks
from vlp.tasks.task import Task, label_subset, task_by_name
from vlp.tasks.zero_shot import class_embeddings, corpus_language, prompts_of, zero_shot
from vlp.training.texts import whole


@dataclass(frozen=True)
class _Model:
    name: str
    mark: str  # fingerprint
    image: ImageEncoder
    dual: DualEncoder | None


@dataclass(frozen=True)
class _Sets:
    """Labelled studies of one task."""

    task: Task
    train: list[Study]
    validation: list[Study]
    test: list[Study]


def run_evaluate(
    config: EvaluateConfig, corpus_path: Path, models: Sequence[Path], out: Path, console: Console
) -> dict[str, Any]:
    """Measure each model folder on the test split of the corpus.

    Writes ``metrics.json``, ``predictions.parquet``, ``subgroups.json``, ``retrieval_examples.json`` and
    ``attention/*.png``. Features are kept in ``out/cache`` and finished parts in ``out/parts``, so that an interrupted
    run goes on.

    Raises:
        UserError: not a corpus or model folder, no such task, no test studies with images, a licence that the user has not
            accepted.
    """
    one_process()
    for path in models:
        read_config(path)
        check_licences({"--model": path}, config.allow_non_commercial, console)
    corpus = Corpus.open(corpus_path, cache_mb=512)
    tasks = [task_by_name(name) for name in config.tasks]
    sets = [s for s in (_sets(task, corpus, config) for task in tasks) if s is not None]
    test = [s for s in corpus.select("test") if s.images]
    if not test:
        raise UserError(f"{corpus_path}: no test study with an image; the numbers would mean nothing")
    out.mkdir(parents=True, exist_ok=True)
    dump_config(config, out / "config.yaml")
    started = time.monotonic()
    loaded = [_load(path) for path in models]
    if config.random_baseline and {"linear", "knn"} & set(config.protocols):
        loaded.append(_random(loaded[0]))
    results: list[Result] = []
    predictions: list[Predictions] = []
    groups: list[dict[str, Any]] = []
    examples: list[dict[str, Any]] = []
    settings = [
        __version__,
        config.model_dump(mode="json", exclude={"allow_non_commercial"}),
        _prompt_files(config, corpus),
    ]
    for model in loaded:
        part = out / "parts" / f"{fingerprint(model.name, model.mark, corpus.fingerprint, settings)}.json"
        worker = _Worker(config, corpus, model, sets, test, out, console)
        found = worker.from_json(read_json(part)) if part.is_file() else None
        if found is None:
            found = worker.measure()
            write_json(part, found.to_json())
        results += found.results
        predictions += found.predictions
        groups += found.groups
        examples = examples or found.examples
    main = loaded[0]
    shown = write_attention(
        main.image, corpus, test, out / "attention", count=config.attention_maps, seed=config.seeds[0]
    )
    write_predictions(out / "predictions.parquet", predictions)
    write_json(out / "subgroups.json", groups)
    write_json(out / "retrieval_examples.json", examples)
    prints = {"corpus": corpus.fingerprint, **{f"model {m.name}": m.mark for m in loaded if m.mark}}
    write_metrics(out / "metrics.json", results, [], library_versions(), fingerprints=prints)
    summary = {
        "models": [m.name for m in loaded],
        "test_studies": len(test),
        "tasks": {s.task.name: len(s.test) for s in sets},
        "attention_maps": len(shown),
        "seconds": round(time.monotonic() - started, 1),
        "out": str(out),
        "results": [asdict(r) for r in results if "/" not in r.data],
    }
    write_json(out / "summary.json", {**summary, "fingerprints": prints})
    return summary


@dataclass
class _Part:
    results: list[Result]
    predictions: list[Predictions]
    groups: list[dict[str, Any]]
    examples: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        kept = [
            {
                **{k: getattr(p, k) for k in ("task", "protocol", "model", "labels", "seed", "split")},
                "studies": [s.study_id for s in p.studies],
                "target": p.target.tolist(),
                "prediction": p.prediction.tolist(),
            }
            for p in self.predictions
        ]
        rows = [{k: v if v == v else None for k, v in asdict(r).items()} for r in self.results]
        return {"results": rows, "predictions": kept, "groups": self.groups, "examples": self.examples}


class _Worker:
    """Everything that is measured of one model."""

    def __init__(
        self,
        config: EvaluateConfig,
        corpus: Corpus,
        model: _Model,
        sets: list[_Sets],
        test: list[Study],
        out: Path,
        console: Console,
    ) -> None:
        self.config, self.corpus, self.model, self.sets, self.test = config, corpus, model, sets, test
        self.out, self.console = out, console

    def measure(self) -> _Part:
        """Compute everything."""
        features = self._features()
        predictions: list[Predictions] = []
        examples: list[dict[str, Any]] = []
        results: list[Result] = []
        if self.model.dual is not None and "zero-shot" in self.config.protocols:
            retrieved, examples, found = self._retrieval(features)
            results += retrieved
            predictions += found
        jobs: list[tuple[Callable[[_Sets, Features], list[Predictions]], _Sets]] = []
        if self.model.dual is not None and "zero-shot" in self.config.protocols:
            jobs += [(self._zero_shot, s) for s in self.sets]
        jobs += [(self._linear, s) for s in self.sets if "linear" in self.config.protocols]
        jobs += [(self._knn, s) for s in self.sets if "knn" in self.config.protocols]
        groups: list[dict[str, Any]] = []
        for work, one in self.console.track(jobs, len(jobs), f"tasks of {self.model.name}", "tasks"):
            for p in work(one, features):
                predictions.append(p)
                results += p.results(self.config.data, self.config.resamples)
                if (
                    self.model.mark
                    and p.labels in (0.0, 1.0)
                    and p.seed == self.config.seeds[0]
                    and p.protocol != "knn"
                ):
                    table = p.subgroups(self.config.resamples, self.config.group_floor)
                    groups += p.subgroup_rows(table, self.config.data)
                    results += p.subgroup_results(table, self.config.data)
        return _Part(results, predictions, groups, examples)

    def from_json(self, data: dict[str, Any]) -> _Part:
        """The inverse of ``_Part.to_json``."""
        by_id = {s.study_id: s for s in self.corpus.studies}
        predictions = []
        for row in data["predictions"]:
            studies = tuple(by_id[i] for i in row.pop("studies"))
            target, prediction = (np.asarray(row.pop(k), float) for k in ("target", "prediction"))
            predictions.append(Predictions(**row, studies=studies, target=target, prediction=prediction))
        results = [read_result(row) for row in data["results"]]
        return _Part(results, predictions, data["groups"], data["examples"])

    def _features(self) -> Features:
        wanted = {s.study_id: s for s in self.test}
        if {"linear", "knn"} & set(self.config.protocols):
            wanted |= {s.study_id: s for one in self.sets for s in (*one.train, *one.validation)}
        return cached_features(
            self.out / "cache",
            fingerprint(self.model.name, self.model.mark),
            self.model.image,
            self.model.dual,
            self.corpus,
            list(wanted.values()),
            self.console,
            batch_size=self.config.batch_size,
            what=f"features of {self.model.name}",
        )

    def _predictions(
        self, task: Task, protocol: str, labels: float, seed: int, studies: list[Study], answer: np.ndarray
    ) -> Predictions:
        return Predictions(
            task.name, protocol, self.model.name, labels, seed, "test", tuple(studies), task.targets(studies), answer
        )

    def _zero_shot(self, sets: _Sets, features: Features) -> list[Predictions]:
        language = self.config.language or corpus_language(self.corpus.studies)
        if sets.task.kind == "regression" or not language:
            return []
        try:
            prompts = prompts_of(language, sets.task, self.config.prompts)
        except ConfigError as error:
            self.console.warn(str(error))
            return []
        if not prompts:
            return []
        assert self.model.dual is not None
        classes = class_embeddings(self.model.dual, prompts)
        scale = float(self.model.dual.logit_scale.detach().exp())
        answer = zero_shot(features.of(sets.test).embedding, classes, scale)
        return [self._predictions(sets.task, "zero-shot", 0.0, self.config.seeds[0], sets.test, answer)]

    def _linear(self, sets: _Sets, features: Features) -> list[Predictions]:
        found = []
        for labels in self.config.labels:
            for seed in self.config.seeds:
                train = label_subset(sets.task, sets.train, labels, seed)
                pairs = [(features.of(s).probe, s) for s in (train, sets.validation)]
                probe = fit_probe(sets.task, pairs[0], pairs[1])
                if probe is not None:
                    answer = probe.predict(features.of(sets.test).probe, sets.test)
                    found.append(self._predictions(sets.task, "linear", labels, seed, sets.test, answer))
        return found

    def _knn(self, sets: _Sets, features: Features) -> list[Predictions]:
        train = (features.of(sets.train).probe, sets.train)
        answer = knn_predict(sets.task, train, features.of(sets.test).probe, self.config.neighbours)
        return [self._predictions(sets.task, "knn", 1.0, self.config.seeds[0], sets.test, answer)]

    def _retrieval(self, features: Features) -> tuple[list[Result], list[dict[str, Any]], list[Predictions]]:
        """Image to text under the metrics' own names, text to image with the ending ``_text_to_image``."""
        reported = [s for s in self.test if s.report]
        if len(reported) < 2:
            return [], [], []
        assert self.model.dual is not None
        images = features.of(reported).embedding
        texts = text_embeddings(self.model.dual, [whole(s) for s in reported])
        answers = [s.report_hash for s in reported]
        seed = self.config.seeds[0]
        found = []
        pool = np.full(len(reported), float(len(reported)))
        results = []
        for ending, ranks in (
            ("", retrieval_ranks(images, texts, answers)),
            ("_text_to_image", retrieval_ranks(texts, images, answers)),
        ):
            p = Predictions(
                f"retrieval{ending}",
                "zero-shot",
                self.model.name,
                0.0,
                seed,
                "test",
                tuple(reported),
                np.ones(len(reported)),
                ranks,
            )
            found.append(p)
            for name in OF_TASK["retrieval"]:
                interval = bootstrap(
                    METRICS[name], (ranks, pool), p.patients, seed=seed, resamples=self.config.resamples
                )
                row = result_of(METRICS[name], interval, **{**p.fields(self.config.data), "task": "retrieval"})
                results.append(replace(row, metric=name + ending))
        shown = retrieval_examples(images, texts, reported, self.config.examples, seed)
        by_id = {s.study_id: s for s in reported}
        for example in shown:
            example["image"] = png_uri(self.corpus.pixels(by_id[example["study_id"]].images[0]))
        return results, shown, found


def _sets(task: Task, corpus: Corpus, config: EvaluateConfig) -> _Sets | None:
    """The task's studies; None where the test split says too little (few studies, or fewer than 2 of a class)."""
    train, validation, test = (task.eligible(corpus.studies, split) for split in ("train", "validation", "test"))
    target = task.targets(test)
    if len(test) < config.minimum_test or len(train) < 2 or len(np.unique(target)) < 2:
        return None
    if task.kind == "binary" and min((target == 0).sum(), (target == 1).sum()) < 2:
        return None
    return _Sets(task, train, validation, test)


def _prompt_files(config: EvaluateConfig, corpus: Corpus) -> str:
    """Fingerprint of the prompts that zero-shot would use."""
    language = config.language or corpus_language(corpus.studies)
    if language not in available():
        return ""
    files = [load_pack(language).folder / name for name in ("prompts.yaml", "descriptions.yaml")]
    return fingerprint(*[path for path in files if path.is_file()])


def _load(path: Path) -> _Model:
    mark = fingerprint(path / "model.safetensors", path / "config.json") if (path / "config.json").is_file() else ""
    if "dual" in read_config(path):
        dual = load_dual(path).to(device())
        return _Model(path.name, mark, dual.image, dual)
    return _Model(path.name, mark, load_image_encoder(path).to(device()), None)


def _random(model: _Model) -> _Model:
    torch.manual_seed(0)
    return _Model("random initialisation", "", ImageEncoder(model.image.config).to(device()).eval(), None)
