from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.console import UserError
from vlp.study import Study
from vlp.tasks.linear_probe import fit_probe, knn_predict
from vlp.tasks.retrieval import nearest, retrieval_ranks
from vlp.tasks.task import label_subset, sex_bit, task_by_name
from vlp.tasks.zero_shot import zero_shot

EMPTY = Study(*[""] * 3, "hand", "", None, "", "", (), *[""] * 9)


def _studies(n: int, label: str, values: np.ndarray, per_patient: int = 2) -> list[Study]:
    return [
        dataclasses.replace(
            EMPTY,
            study_id=f"S{i}",
            patient_id=f"P{i // per_patient}",
            sex="FM"[i // per_patient % 2],
            labels={label: float(values[i])},
        )
        for i in range(n)
    ]


@given(st.integers(0, 50), st.integers(20, 120), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_label_subsets_are_nested_by_patient_and_hold_both_classes(seed: int, n: int, per_patient: int) -> None:
    task = task_by_name("fracture")
    values = np.random.default_rng(seed).integers(0, 2, n)
    values[:2], values[-2:] = 0, 1
    studies = _studies(n, "fracture", values, per_patient)
    before: set[str] = set()
    for fraction in (0.01, 0.1, 0.5, 1.0):
        chosen = label_subset(task, studies, fraction, seed)
        ids = {s.study_id for s in chosen}
        assert before <= ids
        before = ids
        inside = {s.patient_id for s in chosen}
        assert all(s.study_id in ids for s in studies if s.patient_id in inside)  # whole patients
        for value in (0.0, 1.0):
            assert sum(s.labels["fracture"] == value for s in chosen) >= 2
    assert len(before) == n


def test_label_subset_depends_on_the_seed_and_not_on_the_order() -> None:
    task = task_by_name("bone-age")
    studies = _studies(200, "bone_age_months", np.arange(200.0))
    first = {s.study_id for s in label_subset(task, studies, 0.1, 0)}
    assert first == {s.study_id for s in label_subset(task, studies[::-1], 0.1, 0)}
    assert first != {s.study_id for s in label_subset(task, studies, 0.1, 1)}
    assert 20 <= len(first) <= 30


def test_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="bone-age, osteoarthritis, fracture"):
        task_by_name("weather")


@pytest.mark.parametrize(
    ("name", "label"), [("fracture", "fracture"), ("osteoarthritis", "kl_grade"), ("bone_age", "bone_age_months")]
)
def test_probes_recover_a_linear_truth(name: str, label: str) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (400, 12)) * 3 + 5
    score = (features - 5) @ rng.normal(0, 1, 12)
    values = {
        "fracture": (score > 0).astype(float),
        "kl_grade": np.digitize(score, np.quantile(score, [0.2, 0.4, 0.6, 0.8])).astype(float),
        "bone_age_months": 100 + score,
    }[label]
    studies = _studies(400, label, values)
    task = task_by_name(name)
    parts = [slice(0, 240), slice(240, 300), slice(300, 400)]
    sets = [(features[p], studies[p]) for p in parts]
    probe = fit_probe(task, sets[0], sets[1])
    assert probe is not None
    answer = probe.predict(*sets[2])
    assert np.corrcoef(answer, score[parts[2]])[0, 1] > 0.85
    if name == "osteoarthritis":
        assert (np.diff(probe.bias) <= 0).all()
        assert answer.min() >= 0
        assert answer.max() <= 4
        assert (np.rint(answer) == values[parts[2]]).mean() > 0.7
    near = knn_predict(task, sets[0], features[parts[2]], k=10)
    assert np.corrcoef(near, values[parts[2]])[0, 1] > 0.5


def test_sex_helps_where_only_sex_tells() -> None:
    rng = np.random.default_rng(1)
    studies = _studies(200, "bone_age_months", np.zeros(200))
    studies = [
        dataclasses.replace(s, labels={"bone_age_months": 100 + 30 * float(b)})
        for s, b in zip(studies, sex_bit(studies), strict=True)
    ]
    features = rng.normal(0, 1, (200, 3))
    task = task_by_name("bone_age")
    errors = {}
    for sex in (True, False):
        probe = fit_probe(task, (features[:120], studies[:120]), (features[120:160], studies[120:160]), sex=sex)
        assert probe is not None
        errors[sex] = np.abs(probe.predict(features[160:], studies[160:]) - task.targets(studies[160:])).mean()
    assert errors[True] < 2
    assert errors[False] > 20


def test_one_class_gives_no_probe() -> None:
    studies = _studies(10, "fracture", np.zeros(10))
    assert fit_probe(task_by_name("fracture"), (np.ones((10, 2)), studies), (np.ones((10, 2)), studies)) is None


def test_perfect_embeddings_rank_first_and_constant_ones_in_the_middle() -> None:
    eye = np.eye(20)
    names = [str(i) for i in range(20)]
    assert retrieval_ranks(eye, eye, names).tolist() == [1] * 20
    same = np.ones((20, 4)) / 2
    assert np.median(retrieval_ranks(same, same, names)) == pytest.approx(10.5)
    shifted = np.roll(eye, 1, axis=0)
    assert (retrieval_ranks(eye, shifted, names) > 1).all()


def test_equal_reports_are_one_answer() -> None:
    eye = np.eye(4)
    swapped = eye[[1, 0, 3, 2]]
    assert retrieval_ranks(eye, swapped, ["a", "a", "b", "b"]).tolist() == [1] * 4
    assert nearest(eye, swapped, 2)[0].tolist()[0] == 1


def test_zero_shot_is_the_softmax_over_classes() -> None:
    classes = np.array([[1.0, 0], [0, 1.0]])
    answer = zero_shot(np.array([[1.0, 0], [0, 1.0], [0.6, 0.6]]), classes, 10.0)
    assert answer == pytest.approx([1 / (1 + np.exp(10)), 1 / (1 + np.exp(-10)), 0.5])
    grades = np.eye(5)
    assert zero_shot(np.eye(5), grades, 1.0).tolist() == [0, 1, 2, 3, 4]
