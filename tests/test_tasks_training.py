from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from corpus_factory import make_corpus

from anonymize.config import ConfigError, load_config
from anonymize.console import Console, UserError
from anonymize.files import read_json, write_json
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.evaluation.results import read_metrics
from vlp.hub import load_image_encoder, save_model
from vlp.study import Study
from vlp.tasks.batches import TaskBatches
from vlp.tasks.captioner import tidy
from vlp.tasks.config import EvaluateConfig, FinetuneConfig, ReportConfig
from vlp.tasks.evaluate import run_evaluate
from vlp.tasks.finetune import _BestState, predict, run_finetune
from vlp.tasks.linear_probe import fit_probe
from vlp.tasks.model import TaskModel
from vlp.tasks.report_generation import run_report_generation
from vlp.tasks.task import task_by_name

QUIET = Console("quiet")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 240 studies and a dual encoder with random weights."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tasks")
    corpus = Corpus.open(make_corpus(folder / "corpus", studies=240))
    torch.manual_seed(0)
    texts = [s.report for s in corpus.studies if s.report]
    text = TextEncoder(TextConfig(width=32, layers=1), Tokenizer.train(texts, 400, 64))
    save_model(folder / "align", DualEncoder(ImageEncoder(ImageConfig(name="vit_atto", image_size=32)), text), {})
    return folder


def _finetune(work: Path, out: Path, *overrides: str, task: str = "effusion") -> dict:
    config = load_config(FinetuneConfig, None, ["data=phantom", "resamples=100", *overrides])
    return run_finetune(config, task, work / "corpus", work / "align", out, QUIET)


def test_every_protocol_learns_what_the_images_show(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "effusion"
    protocols = "protocol=[linear,attentive,finetune,scratch]"
    summary = _finetune(work, out, protocols, "steps=60", "lr=0.003", "evaluations=3")
    values = {r["protocol"]: r["value"] for r in summary["results"] if r["metric"] == "auroc"}
    assert set(values) == {"linear", "attentive", "finetune", "scratch"}
    assert min(values.values()) > 0.75
    results, _, versions = read_metrics(out / "metrics.json")
    assert {r.split for r in results} == {"test"}
    assert versions["torch"]
    assert read_json(out / "metrics.json")["fingerprints"]["corpus"] == Corpus.open(work / "corpus").fingerprint
    rows = pq.ParquetFile(out / "predictions.parquet").read().to_pylist()
    splits = {s.study_id: s.split for s in Corpus.open(work / "corpus").studies}
    assert {r["split"] for r in rows} == {"validation", "test"}
    assert all(splits[r["study_id"]] == r["split"] for r in rows)
    assert {c["a"] for c in read_json(out / "comparisons.json")} == {"linear", "attentive", "finetune"}
    load_image_encoder(out / "runs" / "finetune-labels1-seed0")  # a task model is an image encoder again


def test_finished_arms_are_not_trained_again_and_results_repeat(work: Path, tmp_path: Path) -> None:
    first = _finetune(work, tmp_path / "a", "protocol=[linear,finetune]", "steps=6", "labels=[0.1,1.0]")
    model = tmp_path / "a" / "runs" / "finetune-labels1-seed0" / "model.safetensors"
    made = model.stat().st_mtime_ns
    again = _finetune(work, tmp_path / "a", "protocol=[linear,finetune]", "steps=6", "labels=[0.1,1.0]")
    assert model.stat().st_mtime_ns == made
    other = _finetune(work, tmp_path / "b", "protocol=[linear,finetune]", "steps=6", "labels=[0.1,1.0]")
    assert first["results"] == again["results"] == other["results"]


def test_an_interrupted_run_ends_with_the_same_numbers(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = ["protocol=finetune", "steps=12", "checkpoint_every=4", "evaluations=3", "batch_size=8"]
    whole = _finetune(work, tmp_path / "whole", *values, task="osteoarthritis")
    measure = _BestState.__call__

    def killed(self: _BestState, objective: torch.nn.Module, step: int) -> dict[str, float]:
        measure(self, objective, step)
        if step == 8:
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(_BestState, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            _finetune(work, tmp_path / "cut", *values, task="osteoarthritis")
    assert not (tmp_path / "cut" / "metrics.json").exists()
    resumed = _finetune(work, tmp_path / "cut", *values, task="osteoarthritis")
    assert resumed["results"] == whole["results"]
    models = [tmp_path / name / "runs" / "finetune-labels1-seed0" / "model.safetensors" for name in ("whole", "cut")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_only_training_patients_reach_a_batch(work: Path) -> None:
    corpus = Corpus.open(work / "corpus")
    task = task_by_name("fracture")
    train = task.eligible(corpus.studies, "train")
    held_out = {s.patient_id for s in corpus.studies if s.split != "train"}
    batches = TaskBatches(corpus, train, Square(36), 8, seed=1)
    by_id = {s.study_id: s for s in corpus.studies}
    seen = [i for k in range(20) for i in batches[k]["ids"]]
    assert not {by_id[i].patient_id for i in seen} & held_out
    assert set(seen[: len(train)]) == {s.study_id for s in train}  # an epoch holds every study once
    batch = batches[7]
    again = TaskBatches(corpus, train, Square(36), 8, seed=1)[7]
    assert batch["ids"] == again["ids"]
    assert torch.equal(batch["images"], again["images"])
    assert (batch["study_index"].diff() >= 0).all()


@pytest.mark.parametrize("name", ["fracture", "osteoarthritis", "bone_age"])
def test_a_head_that_starts_from_the_probe_answers_as_the_probe(work: Path, name: str) -> None:
    corpus = Corpus.open(work / "corpus")
    task = task_by_name(name)
    sets = {split: task.eligible(corpus.studies, split) for split in ("train", "validation", "test")}
    encoder = load_image_encoder(work / "align")
    from vlp.tasks.features import study_features

    found = {k: study_features(encoder, None, corpus, v, QUIET).probe for k, v in sets.items()}
    probe = fit_probe(task, (found["train"], sets["train"]), (found["validation"], sets["validation"]))
    assert probe is not None
    model = TaskModel(encoder, task, sex=task.uses_sex).eval()
    if task.kind == "regression":
        model.scale.mean.fill_(90.0)
        model.scale.std.fill_(40.0)
    model.start_from(probe)
    wanted = probe.predict(found["test"], sets["test"])
    assert predict(model, corpus, sets["test"]) == pytest.approx(wanted, rel=2e-3, abs=2e-2)


def test_attentive_pooling_ignores_how_studies_are_batched(work: Path) -> None:
    corpus = Corpus.open(work / "corpus")
    task = task_by_name("effusion")
    studies = task.eligible(corpus.studies, "test")
    torch.manual_seed(1)
    model = TaskModel(load_image_encoder(work / "align"), task, attentive=True).eval()
    assert predict(model, corpus, studies, 1) == pytest.approx(predict(model, corpus, studies, 64), abs=1e-5)


def test_evaluate_writes_what_the_page_reads_and_goes_on(work: Path, tmp_path: Path) -> None:
    config = load_config(
        EvaluateConfig,
        None,
        ["data=phantom", "resamples=100", "labels=[0.1,1.0]", "minimum_test=4", "examples=3", "group_floor=3"],
    )
    out = tmp_path / "evaluate"
    first = run_evaluate(config, work / "corpus", [work / "align"], out, QUIET)
    results, _, _ = read_metrics(out / "metrics.json")
    found = {(r.task, r.protocol) for r in results}
    assert {
        ("retrieval", "zero-shot"),
        ("bone_age", "linear"),
        ("fracture", "knn"),
        ("osteoarthritis", "linear"),
    } <= found
    assert {"recall_at_1", "median_rank_percent", "median_rank_text_to_image"} <= {r.metric for r in results}
    assert any(r.data.startswith("phantom/sex=") for r in results)
    assert all(r.low <= r.value <= r.high for r in results if np.isfinite(r.low) and r.metric != "quadratic_kappa")
    examples = read_json(out / "retrieval_examples.json")
    assert len(examples) == 3
    assert examples[0]["image"].startswith("data:image/png;base64,")
    assert len(examples[0]["answers"]) == 5
    maps = sorted((out / "attention").glob("*.png"))
    assert len(maps) == config.attention_maps
    picture = cv2.imread(str(maps[0]))
    assert picture.shape[1] == 2 * picture.shape[0]
    assert all(row["note"] in ("", "not enough data") for row in read_json(out / "subgroups.json"))
    part = sorted((out / "parts").glob("*.json"))
    stamps = [p.stat().st_mtime_ns for p in part]
    again = run_evaluate(config, work / "corpus", [work / "align"], out, QUIET)
    assert [p.stat().st_mtime_ns for p in part] == stamps
    assert again["results"] == first["results"]


def test_evaluate_without_test_studies_is_a_clear_error(work: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    make_corpus(corpus, studies=8)
    with pytest.raises(UserError, match="no test study"):
        run_evaluate(EvaluateConfig(data="phantom"), corpus, [work / "align"], tmp_path / "out", QUIET)


def test_an_unusable_label_is_a_clear_error(work: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'scoliosis'"):
        _finetune(work, tmp_path / "x", task="scoliosis")
    with pytest.raises(ConfigError, match="seeds"):
        load_config(FinetuneConfig, None, ["seed=3"])
    with pytest.raises(ConfigError, match="did you mean 'protocol'"):
        load_config(FinetuneConfig, None, ["protocoll=linear"])


def test_reports_are_learned_and_beat_the_commonest(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    values = [
        "data=phantom",
        "resamples=100",
        "steps=150",
        "batch_size=12",
        "width=48",
        "heads=4",
        "layers=2",
        "lr=0.004",
        "encoder_lr_scale=0.5",
    ]
    config = load_config(ReportConfig, None, [*values, "examples=2", "max_tokens=48"])
    summary = run_report_generation(config, work / "corpus", work / "align", out, QUIET)
    found = {(r["model"], r["metric"]): r["value"] for r in summary["results"]}
    assert {m for m, _ in found} == {"align", "nearest report", "commonest report"}
    assert found["align", "rouge_l"] > 0.6
    assert found["align", "label_f1_micro"] > found["commonest report", "label_f1_micro"]
    assert summary["different_test_reports_written"] > 3
    examples = read_json(out / "examples.json")
    assert set(examples[0]) >= {"image", "anatomy", "reference", "generated", "nearest"}
    train = {s.study_id for s in Corpus.open(work / "corpus").studies if s.split == "train"}
    texts = pq.ParquetFile(out / "texts.parquet").read().to_pylist()
    assert not {row["study_id"] for row in texts} & train
    load_image_encoder(out)
    written = read_json(out / "written.json")
    write_json(out / "written.json", {**written, "texts": ["Rien."] * len(written["texts"])})
    changed = run_report_generation(config, work / "corpus", work / "align", out, QUIET)  # read, not trained again
    assert changed["different_test_reports_written"] == 1


def test_tidy_mends_what_the_tokenizer_splits() -> None:
    assert (
        tidy("fracture de 3 , 5 mm . pas d ' épanchement ( droit ) .")
        == "Fracture de 3,5 mm. Pas d'épanchement (droit)."
    )
    assert tidy("cul - de - sac libre , 1 5 ans") == "Cul-de-sac libre, 15 ans"


def test_prompts_reach_the_metrics(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero-shot with prompts that are the reports of each class, and an encoder that maps both classes apart."""
    from vlp.tasks import evaluate

    prompts = {"effusion": [["Pas d'épanchement pleural."], ["Épanchement pleural droit."]]}
    monkeypatch.setattr(evaluate, "prompts_of", lambda language, task, kind: prompts.get(task.label, []))

    def truth(dual: DualEncoder, classes: list[list[str]]) -> np.ndarray:
        return np.eye(dual.width, dtype=np.float32)[: len(classes)]

    monkeypatch.setattr(evaluate, "class_embeddings", truth)

    def embeddings(*args: object, **kwargs: object) -> object:
        found = original(*args, **kwargs)
        rows = np.stack([np.eye(found.embedding.shape[1])[_is_positive(s)] for s in found.studies])
        return dataclasses.replace(found, embedding=rows.astype(np.float32))

    original = evaluate.cached_features
    monkeypatch.setattr(evaluate, "cached_features", embeddings)
    config = load_config(
        EvaluateConfig,
        None,
        ["data=phantom", "resamples=100", "protocols=[zero-shot]", "minimum_test=4", "attention_maps=0"],
    )
    summary = run_evaluate(config, work / "corpus", [work / "align"], tmp_path / "out", QUIET)
    row = next(r for r in summary["results"] if (r["task"], r["metric"]) == ("effusion", "auroc"))
    assert row["value"] == 1
    assert row["labels"] == 0
    assert row["n"] == sum("effusion" in s.labels and s.split == "test" for s in Corpus.open(work / "corpus").studies)


def _is_positive(study: Study) -> int:
    return int(study.labels.get("effusion", 0))
