from __future__ import annotations

import numpy as np
import pytest

from vlp.evaluation.fairness import NOT_ENOUGH, Floor, age_band, gap_test, holm, subgroup_table
from vlp.evaluation.metrics import METRICS


def test_age_bands() -> None:
    years = {
        0: "0-4",
        4: "0-4",
        5: "5-9",
        14: "10-14",
        18: "15-18",
        19: "19-29",
        29: "19-29",
        30: "30-39",
        79: "70-79",
        97: "80+",
    }
    assert {y: age_band(12 * y + 11) for y in years} == years
    assert age_band(None) == ""


def test_holm_known_answer() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def _data(gap: bool, seed: int) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(seed)
    n = 600
    sex = ["FM"[i // 2 % 2] for i in range(n)]
    target = rng.integers(0, 2, n).astype(float)
    noise = np.where(np.array(sex) == "F", 4.0 if gap else 1.0, 1.0)
    return target, target + rng.normal(0, 1, n) * noise, [f"P{i // 2}" for i in range(n)], sex


def test_a_planted_gap_is_found_and_its_direction_is_right() -> None:
    target, score, patients, sex = _data(gap=True, seed=0)
    rows = subgroup_table([METRICS["auroc"]], (target, score), patients, {"sex": sex}, resamples=400)
    women = next(r for r in rows if r.group == "sex=F")
    assert women.gap < -0.1
    assert women.p_holm < 0.05
    assert women.low < women.value < women.high
    assert women.patients == 150


def test_without_a_gap_the_test_rarely_finds_one() -> None:
    found = 0
    for seed in range(40):
        target, score, patients, sex = _data(gap=False, seed=seed + 10)
        _, p = gap_test(METRICS["auroc"], (target, score), patients, np.array(sex) == "F", seed=seed, permutations=100)
        found += p < 0.05
    assert found <= 6  # 2 expected


def test_small_groups_get_no_number() -> None:
    target, score, patients, _ = _data(gap=True, seed=1)
    age = ["0-4"] * 20 + ["5-9"] * 570 + [""] * 10
    rows = subgroup_table([METRICS["auroc"]], (target, score), patients, {"age": age}, resamples=100)
    assert [r.group for r in rows] == ["age=0-4", "age=5-9"]
    assert rows[0].note == NOT_ENOUGH
    assert np.isnan(rows[0].value)
    assert np.isfinite(rows[1].value)
    assert np.isnan(rows[1].gap)  # nobody to compare with
    kept = subgroup_table(
        [METRICS["mad_months"]], (target, score), patients, {"age": age}, floor=Floor(studies=20), resamples=100
    )
    assert all(np.isfinite(r.value) for r in kept)
