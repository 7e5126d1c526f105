"""Choosing between what a report says and its contrary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from corpus_factory import make_corpus

from vlp.corpus.dataset import Corpus
from vlp.study import Study
from vlp.tasks.negation import Choice, choices, image_decides, preferred, without_image


def _studies(tmp_path: Path) -> list[Study]:
    return [study for study in Corpus.open(make_corpus(tmp_path, 32)).studies if study.report]


def test_findings_are_denied_and_their_absence_affirmed(tmp_path: Path) -> None:
    found = choices(_studies(tmp_path))
    told = {(c.kind, c.label): c for c in found if c.scope == "statement"}
    assert told["denied", "fracture"].true == "Fracture du radius."
    assert told["denied", "fracture"].false == "Pas de fracture du radius."
    assert told["affirmed", "effusion"].false == "Épanchement pleural."
    assert told["side", ""].true == "Épanchement pleural droit."
    assert told["side", ""].false == "Épanchement pleural gauche."


def test_in_a_whole_report_every_statement_of_the_finding_is_turned(tmp_path: Path) -> None:
    found = choices(_studies(tmp_path))
    report = next(c for c in found if c.kind == "denied" and c.label == "fracture" and c.scope == "report")
    assert report.true.count("Fracture du radius.") == 2  # results and conclusion
    assert report.false.count("Pas de fracture du radius.") == 2
    assert "Fracture du radius." not in report.false.replace("Pas de fracture du radius.", "")


def test_a_language_without_rules_gives_no_choice(tmp_path: Path) -> None:
    import dataclasses

    assert choices([dataclasses.replace(study, language="") for study in _studies(tmp_path)]) == []


def test_preferred_counts_ties_as_half() -> None:
    images = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    true = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    false = np.array([[0, 1], [1, 0], [0, 1]], np.float32)
    assert preferred(images, true, false).tolist() == [1, 0, 0.5]


def test_without_image_all_studies_of_an_anatomy_are_alike(tmp_path: Path) -> None:
    asked = choices(_studies(tmp_path))
    rng = np.random.default_rng(0)
    per_study = {c.study.study_id: rng.normal(size=4).astype(np.float32) for c in asked}
    seen = without_image(asked, np.stack([per_study[c.study.study_id] for c in asked]))
    chest = [i for i, c in enumerate(asked) if c.study.anatomy == "chest"]
    own = np.mean([per_study[i] for i in {asked[row].study.study_id for row in chest}], axis=0)
    np.testing.assert_allclose(seen[chest], np.tile(own / np.linalg.norm(own), (len(chest), 1)), atol=1e-5)


def test_the_image_decides_among_studies_of_the_anatomy_with_the_contrary_label(tmp_path: Path) -> None:
    chest = [s for s in _studies(tmp_path) if s.anatomy == "chest"]
    ill = [s for s in chest if s.labels["effusion"] == 1][:1]
    well = [s for s in chest if s.labels["effusion"] == 0][:2]
    asked = [Choice(s, "", "", "denied" if s in ill else "affirmed", "effusion", "statement") for s in (*ill, *well)]
    asked.append(Choice(well[0], "", "", "denied", "effusion", "statement"))  # the report says what the label denies
    images = np.array([[0.0, 1.0], [0.2, 0.9], [0.1, -0.9], [0.2, 0.9]], np.float32)
    images[0] = [1.0, 0.0]
    true = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    false = np.array([[0, 1], [1, 0], [1, 0], [0, 1]], np.float32)
    counted, shares = image_decides(asked, images, true, false)
    assert counted == [0, 1, 2]
    # the ill study prefers "effusion" by 1; of the well ones one by -0.7 and one, wrongly, by 1
    assert shares.tolist() == [0.75, 1.0, 0.5]
    texts_alone = image_decides(asked, np.ones_like(images), true, false)[1]
    assert texts_alone.tolist() == [0.5, 0.5, 0.5]
