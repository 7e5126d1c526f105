"""The ablation benchmark: its tables from runs worked out by hand, its templates, and one tiny run of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_factory import make_corpus

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from ablation_data import write_templated  # noqa: E402
from ablation_measure import Bench, measure  # noqa: E402
from ablation_table import Claim, macro_auroc, summarise, tables  # noqa: E402

from anonymize.files import write_table  # noqa: E402
from vlp.corpus.dataset import Corpus  # noqa: E402
from vlp.encoders.image import ImageConfig, ImageEncoder  # noqa: E402
from vlp.study import MANIFEST_SCHEMA  # noqa: E402
from vlp.training.texts import whole  # noqa: E402


def test_macro_auroc_is_the_mean_over_groups_also_when_weighted() -> None:
    group = np.array([0, 0, 0, 1, 1, 1, 1.0])
    target = np.array([0, 1, 1, 0, 0, 1, 1.0])
    score = np.array([0.5, 0.9, 0.1, 0.2, 0.3, 0.4, 0.25])
    metric = macro_auroc()
    assert metric.value(group, target, score) == pytest.approx((0.5 + 0.75) / 2)
    weights = np.array([np.ones(7), [1, 2, 0, 1, 1, 1, 1]])
    assert metric.weighted(weights, group, target, score).tolist() == pytest.approx([0.625, (1 + 0.75) / 2])


def _run(scores: list[float]) -> dict[str, Any]:
    rows = {"patients": ["a", "b", "c", "d"], "groups": ["x", "x", "y", "y"], "target": None, "runs": [scores]}
    return {"cpu_seconds": 1.0, "rows": {"pointing": rows}}


def test_a_claim_is_the_paired_difference_over_the_seeds_that_both_have() -> None:
    runs = {
        "one": {0: _run([1, 1, 1, 0]), 1: _run([1, 1, 0, 0]), 2: _run([0, 0, 0, 0])},
        "other": {0: _run([0, 1, 0, 0]), 1: _run([0, 0, 0, 0])},
    }
    summary = summarise(runs, [Claim("d", "one", "other", "pointing"), Claim("d", "one", "absent", "pointing")])
    (claim,) = summary["claims"]
    assert claim["seeds"] == [0, 1]
    assert claim["by_seed"] == [0.5, 0.5]
    assert claim["value"] == 0.5
    assert claim["n"] == 4
    values = summary["variants"]["one"]["measures"]["pointing"]
    assert values["by_seed"] == [0.75, 0.5, 0]
    assert values["groups"]["x"]["mean"] == pytest.approx(2 / 3)
    assert "| one - other | pointing game | +0.500 |" in tables(summary, {"one": "", "other": ""})


def test_templates_are_true_of_the_studies_that_get_them(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", 240)
    studies = [  # two wordings of each finding, without numbers
        replace(
            study,
            results="",
            report=study.conclusion,
            conclusion=study.conclusion + " Cliché de qualité." * (i % 3 > 0),
        )
        for i, study in enumerate(Corpus.open(corpus).studies)
    ]
    write_table(corpus / "manifest.parquet", [study.row() for study in studies], MANIFEST_SCHEMA)
    about = write_templated(corpus, tmp_path / "templated", 0.2, 2, 0, ("hand",))
    before, after = Corpus.open(corpus), Corpus.open(tmp_path / "templated")
    assert before.fingerprint != after.fingerprint
    kept = [study for study in before.studies if study.anatomy != "hand"]
    changed = [(a, b) for a, b in zip(kept, after.studies, strict=True) if whole(a) != whole(b)]
    assert changed
    assert {a.anatomy for a, _ in changed} == {"chest", "forearm"}
    assert all(not any(a.labels.values()) and whole(b).startswith("Pas d") for a, b in changed)
    assert about["share"] == pytest.approx(0.2, abs=0.01)
    assert "hand" not in {study.anatomy for study in after.studies}
    assert all(a.images == b.images and a.labels == b.labels for a, b in changed)
    assert about["templates"] == 2


def test_measures_of_random_weights(tmp_path: Path) -> None:
    corpus = Corpus.open(make_corpus(tmp_path, 240))
    bench = Bench.of(corpus, {}, "fr")
    rows = measure(bench, ImageEncoder(ImageConfig(image_size=32)), None, probes=True)
    assert set(rows) == {"linear_1%", "linear_10%"}
    assert set(rows["linear_1%"].groups) == {"fracture", "effusion"}  # what this corpus has
    assert {study.patient_id for study in bench.studies} >= set(rows["linear_1%"].patients)
    assert len(rows["linear_10%"].runs[0]) == len(rows["linear_10%"].patients)
