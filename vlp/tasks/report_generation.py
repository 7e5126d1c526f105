"""Report generation: a decoder trained offline, beside the nearest and the commonest report; references uncut."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from anonymize.config import ConfigError, dump_config
from anonymize.console import Console, UserError
from anonymize.files import fingerprint, read_json, write_json, write_table, write_text_atomic
from vlp.corpus.dataset import Corpus
from vlp.corpus.labels import labeler
from vlp.encoders.image import ImageEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.evaluation.fairness import NOT_ENOUGH, Floor, age_band, subgroup_table
from vlp.evaluation.intervals import bootstrap, result_of
from vlp.evaluation.metrics import METRICS
from vlp.evaluation.results import Result, library_versions, write_metrics
from vlp.evaluation.text import bleu_counts, rouge_l
from vlp.hub import load_dual, load_image_encoder, read_config, save_model
from vlp.hub.licence import check_licences, licence_of
from vlp.objectives.captioning import captioning_loss
from vlp.study import Study
from vlp.tasks.batches import TaskBatches
from vlp.tasks.captioner import Captioner, CaptioningObjective, tokens_of
from vlp.tasks.config import ReportConfig, loop_config
from vlp.tasks.features import batch_of, cached_features, device, one_process, png_uri, study_batches
from vlp.tasks.retrieval import nearest
from vlp.training.checkpoint import starting_point
from vlp.training.config import FREE
from vlp.training.data import source_square
from vlp.training.loop import Hook, fit
from vlp.training.texts import whole

TEXTS = pa.schema([(name, pa.string()) for name in ("model", "study_id", "patient_id", "split", "reference", "text")])


def run_report_generation(
    config: ReportConfig, corpus_path: Path, encoder_path: Path, out: Path, console: Console
) -> dict[str, Any]:
    """Train the decoder on the training reports (results and conclusion), write and score the test reports.

    Writes a model folder, ``metrics.json``, ``texts.parquet``, ``examples.json`` and ``subgroups.json``.

    Raises:
        UserError: not a corpus or model folder, fewer than 2 reports with images in the training or test split.
    """
    one_process()
    read_config(encoder_path)
    check_licences({"--encoder": encoder_path}, config.allow_non_commercial, console)
    started = time.monotonic()
    corpus = Corpus.open(corpus_path, cache_mb=512)
    splits = {
        name: [s for s in corpus.select(name, reported=True) if s.images] for name in ("train", "validation", "test")
    }
    for name in ("train", "test"):
        if len(splits[name]) < 2:
            raise UserError(
                f"{corpus_path}: {len(splits[name])} {name} studies have images and a report; more are needed"
            )
    mark = fingerprint(encoder_path / "model.safetensors", encoder_path / "config.json")
    identity = _identity(config, corpus, mark)
    if _read_texts(out, identity) is None:
        starting_point(out, loop_config(config), identity)
    out.mkdir(parents=True, exist_ok=True)
    dump_config(config, out / "config.yaml")
    written = _written(config, corpus, splits, encoder_path, identity, out, console)
    dual = load_dual(encoder_path).to(device()) if "dual" in read_config(encoder_path) else None
    image = dual.image if dual is not None else load_image_encoder(encoder_path).to(device())
    answers = {
        encoder_path.name: ("finetune", written),
        "nearest report": ("knn", _nearest(config, image, dual, corpus, splits, mark, out, console)),
        "commonest report": ("zero-shot", _commonest(splits)),
    }
    results: list[Result] = []
    groups: list[dict[str, Any]] = []
    for model, (protocol, texts) in answers.items():
        labels = 0.0 if protocol == "zero-shot" else 1.0
        fields = {
            "task": "report_generation",
            "protocol": protocol,
            "labels": labels,
            "seed": config.seed,
            "model": model,
            "split": "test",
        }
        found, table = _scores(config, splits["test"], texts, fields, subgroups=protocol == "finetune", console=console)
        results += found
        groups += table
    _write_texts(out, splits["test"], answers)
    write_json(out / "subgroups.json", groups)
    write_json(out / "examples.json", _examples(config, corpus, splits["test"], answers, encoder_path.name))
    prints = {"corpus": corpus.fingerprint, "encoder": mark}
    write_metrics(out / "metrics.json", results, [], library_versions(), fingerprints=prints)
    summary = {
        "task": "report_generation",
        "studies": {name: len(studies) for name, studies in splits.items()},
        "different_test_reports_written": len(set(written)),
        "seconds": round(time.monotonic() - started, 1),
        "out": str(out),
        "results": [asdict(r) for r in results if "/" not in r.data],
    }
    write_json(out / "summary.json", {**summary, "fingerprints": prints})
    return summary


@torch.no_grad()
def write_reports(model: Captioner, corpus: Corpus, studies: Sequence[Study], config: ReportConfig) -> list[str]:
    """A report for each of ``studies``, from its first ``config.images`` images."""
    texts: list[str] = []
    for batch in study_batches(studies, config.batch_size):
        images, index = batch_of(corpus, batch, model.image)
        # the decoder was trained with at most this many images of a study
        place = torch.cat([torch.arange(len(s.images)) for s in batch]).to(index.device)
        kept = place < config.images
        texts += model.write(images[kept], index[kept], len(batch), config.beams)
    return texts


def label_matrix(studies: Sequence[Study], texts: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Findings [n, L] that ``texts`` assert (uncertain ones count), by each study's language pack; their names."""
    rows = [labeler(study.language).labels(text) for study, text in zip(studies, texts, strict=True)]
    names = sorted({name for s in studies for name in labeler(s.language).findings})
    return np.asarray([[float(row.get(name, 0.0) >= 0.5) for name in names] for row in rows]), names


def _identity(config: ReportConfig, corpus: Corpus, mark: str) -> str:
    ignored = FREE | {"data", "resamples", "group_floor", "examples"}
    return fingerprint(config.model_dump(mode="json", exclude=set(ignored)), corpus.fingerprint, mark)


def _read_texts(out: Path, identity: str) -> list[str] | None:
    """The test reports of the same run where it is done, else None."""
    done = out / "written.json"
    kept = read_json(done) if done.is_file() else {}
    return list(kept["texts"]) if kept.get("identity") == identity else None


def _written(
    config: ReportConfig,
    corpus: Corpus,
    splits: dict[str, list[Study]],
    encoder_path: Path,
    identity: str,
    out: Path,
    console: Console,
) -> list[str]:
    """The test reports that the decoder writes; read where the same run is done."""
    read = _read_texts(out, identity)
    if read is not None:
        return read
    texts = [whole(s) for s in splits["train"]]
    if (encoder_path / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_folder(encoder_path, config.max_tokens)
    else:
        tokenizer = Tokenizer.train(texts, config.vocabulary, config.max_tokens)
    torch.manual_seed(config.seed)
    model = Captioner(load_image_encoder(encoder_path), tokenizer, config)
    dual = load_dual(encoder_path) if "dual" in read_config(encoder_path) else None
    words = cast(Tensor, dual.text.backbone.get_input_embeddings().weight) if dual else None
    model.start_from(words, texts)
    batches = TaskBatches(
        corpus,
        splits["train"],
        source_square(model.image.config),
        min(config.batch_size, len(splits["train"])),
        seed=config.seed,
        images=config.images,
        extra=lambda studies: tokens_of(tokenizer, [whole(s) for s in studies]),
    )
    hooks = []
    if splits["validation"]:
        every = max(1, config.steps // config.evaluations)
        hooks = [Hook(every, _ValidationLoss(corpus, splits["validation"], config))]
    objective = CaptioningObjective(model, config)
    fit(objective, batches, loop_config(config), out, console, hooks, identity=identity, what="report generation")
    model.to(device()).eval()
    blocks = [splits["test"][i : i + 64] for i in range(0, len(splits["test"]), 64)]
    written = [
        text
        for block in console.track(blocks, len(blocks), "writing reports", "blocks")
        for text in write_reports(model, corpus, block, config)
    ]
    card = {
        "kind": "captioner",
        "licence": licence_of(encoder_path),
        "summary": f"Report writer, trained on {len(texts)} reports.",
        "fingerprints": {"corpus": corpus.fingerprint, "run": identity},
    }
    save_model(out, model, card, {"name": "report_generation", **model.config})
    write_text_atomic(out / "tokenizer.json", tokenizer.to_json())
    write_json(out / "written.json", {"identity": identity, "texts": written})
    return written


class _ValidationLoss:
    """Mean loss a token over the validation reports, without augmentation."""

    def __init__(self, corpus: Corpus, studies: Sequence[Study], config: ReportConfig, most: int = 256) -> None:
        self.corpus, self.studies, self.config = corpus, list(studies)[:most], config

    def __call__(self, objective: nn.Module, step: int) -> dict[str, float]:
        assert isinstance(objective, CaptioningObjective)
        model = objective.model
        losses = []
        for batch in study_batches(self.studies, self.config.batch_size):
            images, index = batch_of(self.corpus, batch, model.image)
            found = {k: v.to(index.device) for k, v in tokens_of(model.tokenizer, [whole(s) for s in batch]).items()}
            logits = model(images, index, found["token_ids"], found["token_mask"])
            losses.append((float(captioning_loss(logits, found["token_ids"], found["token_mask"])), len(batch)))
        return {"validation_loss": float(np.average([v for v, _ in losses], weights=[n for _, n in losses]))}


def _nearest(
    config: ReportConfig,
    image: ImageEncoder,
    dual: Any,
    corpus: Corpus,
    splits: dict[str, list[Study]],
    mark: str,
    out: Path,
    console: Console,
) -> list[str]:
    """The report of the training study whose images are nearest by cosine (without a dual encoder: of its features)."""
    studies = splits["train"] + splits["test"]
    found = cached_features(out / "cache", mark, image, dual, corpus, studies, console, batch_size=config.batch_size)
    values = found.embedding
    if dual is None:
        values = found.probe - found.of(splits["train"]).probe.mean(axis=0)
        values = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
    count = len(splits["train"])
    rows = nearest(values[count:], values[:count])[:, 0]
    return [whole(splits["train"][i]) for i in rows]


def _commonest(splits: dict[str, list[Study]]) -> list[str]:
    """The training report that says what most reports of the same anatomy (and language) say."""
    everyone = splits["train"]
    chosen: dict[tuple[str, str], str] = {}
    for key in {(s.anatomy, s.language) for s in splits["test"]}:
        same = [s for s in everyone if (s.anatomy, s.language) == key] or everyone
        wanted = Counter(s.report_hash for s in same).most_common(1)[0][0]
        chosen[key] = next(whole(s) for s in same if s.report_hash == wanted)
    return [chosen[s.anatomy, s.language] for s in splits["test"]]


def _scores(
    config: ReportConfig,
    studies: list[Study],
    texts: list[str],
    fields: dict[str, Any],
    *,
    subgroups: bool,
    console: Console,
) -> tuple[list[Result], list[dict[str, Any]]]:
    references = [whole(s) for s in studies]
    patients = [s.patient_id for s in studies]
    columns: dict[str, tuple[np.ndarray, ...]] = {
        "bleu_4": (bleu_counts(references, texts),),
        "rouge_l": (rouge_l(references, texts),),
    }
    try:
        pair = (label_matrix(studies, references)[0], label_matrix(studies, texts)[0])
        columns |= {"label_f1_macro": pair, "label_f1_micro": pair}
    except ConfigError as error:
        console.warn(str(error))
    results, rows = [], []
    attributes = {"sex": [s.sex for s in studies], "age": [age_band(s.age_months) for s in studies]}
    floor = Floor(config.group_floor, config.group_floor, config.group_floor)
    for name, values in columns.items():
        interval = bootstrap(METRICS[name], values, patients, seed=config.seed, resamples=config.resamples)
        results.append(result_of(METRICS[name], interval, **fields, data=config.data))
        if not subgroups or name not in ("rouge_l", "label_f1_micro"):
            continue
        for g in subgroup_table(
            [METRICS[name]], values, patients, attributes, floor=floor, seed=config.seed, resamples=config.resamples
        ):
            plain = {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(g).items()}
            rows.append({**fields, "data": config.data, **plain})
            if g.note != NOT_ENOUGH:
                data = f"{config.data}/{g.group}"
                values_of = {"value": g.value, "low": g.low, "high": g.high, "n": g.n}
                results.append(Result(metric=name, **values_of, **fields, data=data))
    return results, rows


def _write_texts(out: Path, studies: list[Study], answers: dict[str, tuple[str, list[str]]]) -> None:
    rows = [
        {
            "model": model,
            "study_id": s.study_id,
            "patient_id": s.patient_id,
            "split": s.split,
            "reference": whole(s),
            "text": text,
        }
        for model, (_, texts) in answers.items()
        for s, text in zip(studies, texts, strict=True)
    ]
    write_table(out / "texts.parquet", rows, TEXTS)


def _examples(
    config: ReportConfig, corpus: Corpus, studies: list[Study], answers: dict[str, tuple[str, list[str]]], own: str
) -> list[dict[str, Any]]:
    chosen = np.random.default_rng([config.seed, 17]).permutation(len(studies))[: config.examples]
    return [
        {
            "study_id": studies[i].study_id,
            "anatomy": studies[i].anatomy.replace("_", " "),
            "image": png_uri(corpus.pixels(studies[i].images[0])),
            "reference": whole(studies[i]),
            "generated": answers[own][1][i],
            "nearest": answers["nearest report"][1][i],
            "commonest": answers["commonest report"][1][i],
        }
        for i in chosen
    ]
