from __future__ import annotations

import numpy as np
import pytest

from vlp.evaluation.intervals import bootstrap, paired_difference
from vlp.evaluation.metrics import METRICS
from vlp.evaluation.page.numbers import result_groups


def _clustered(rng: np.random.Generator, patients: int, shift: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Errors that a patient's studies share: 3 studies each."""
    own = np.repeat(rng.normal(0, 1, patients), 3) + rng.normal(0, 0.3, 3 * patients)
    names = [f"P{i // 3}" for i in range(3 * patients)]
    return np.zeros(3 * patients), own + shift, names


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    metric, rng = METRICS["mad_months"], np.random.default_rng(0)
    truth = np.abs(rng.normal(0, np.sqrt(1.09), 400_000) + 2).mean()
    hits = 0
    for run in range(200):
        target, guess, names = _clustered(rng, 60, 2.0)
        found = bootstrap(metric, (target, guess), names, seed=run, resamples=300)
        hits += found.low <= truth <= found.high
    assert 0.90 <= hits / 200 <= 0.99


def test_drawing_studies_instead_of_patients_would_be_too_narrow() -> None:
    rng = np.random.default_rng(1)
    target, guess, names = _clustered(rng, 80, 2.0)
    by_patient = bootstrap(METRICS["mad_months"], (target, guess), names)
    by_study = bootstrap(METRICS["mad_months"], (target, guess), [str(i) for i in range(len(names))])
    assert by_patient.patients == 80
    assert by_patient.n == 240
    assert (by_patient.high - by_patient.low) > 1.3 * (by_study.high - by_study.low)


def test_same_seed_same_interval_and_value_inside() -> None:
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, 90).astype(float)
    score = target + rng.normal(0, 1.5, 90)
    names = [str(i // 2) for i in range(90)]
    first, again = (bootstrap(METRICS["auroc"], (target, score), names, seed=4) for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    assert first != bootstrap(METRICS["auroc"], (target, score), names, seed=5)


def test_a_metric_that_is_mostly_undefined_has_no_interval() -> None:
    one_positive = np.array([1.0] + [0.0] * 9)
    found = bootstrap(METRICS["auroc"], (np.zeros(10), np.arange(10.0)), list("abcdefghij"))
    assert np.isnan(found.value)
    assert np.isnan(found.low)
    assert bootstrap(METRICS["auroc"], (one_positive, np.arange(10.0)), list("abcdefghij")).n == 10
    assert bootstrap(METRICS["auroc"], (np.zeros(0), np.zeros(0)), []).n == 0


def test_paired_difference_sees_a_real_gain_and_no_gain() -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, 300).astype(float)
    names = [str(i // 2) for i in range(300)]
    good = [(target, target + rng.normal(0, 1, 300)) for _ in range(3)]
    poor = [(target, target + rng.normal(0, 3, 300)) for _ in range(3)]
    gain = paired_difference(METRICS["auroc"], good, poor, names)
    assert gain.low > 0
    assert gain.p < 0.01
    none = paired_difference(METRICS["auroc"], good, good, names)
    assert none.value == 0
    assert none.p == 1
    back = paired_difference(METRICS["auroc"], poor, good, names)
    assert back.value == pytest.approx(-gain.value)
    assert back.high < 0
    with pytest.raises(ValueError, match="same studies"):
        paired_difference(METRICS["auroc"], good, [(target[:10], target[:10])], names)


def test_p_of_equal_models_is_uniform_enough() -> None:
    rng = np.random.default_rng(5)
    small = 0
    for run in range(100):
        target = rng.integers(0, 2, 120).astype(float)
        a, b = (target + rng.normal(0, 1.5, 120) for _ in range(2))
        found = paired_difference(
            METRICS["auroc"], [(target, a)], [(target, b)], [str(i) for i in range(120)], seed=run, resamples=200
        )
        small += found.p < 0.05
    assert small <= 13  # 5 expected


@pytest.mark.parametrize(
    ("metric", "low", "high", "said"),
    [
        ("auroc", 0.4, 0.6, "not better than chance"),
        ("auroc", 0.1, 0.4, "worse than chance"),
        ("auroc", 0.6, 0.9, ""),
        ("median_rank_percent", 60.0, 80.0, "worse than chance"),
        ("median_rank_percent", 5.0, 20.0, ""),
        ("bleu_4", 0.0, 0.1, ""),
    ],
)
def test_the_page_says_what_chance_does_as_well(metric: str, low: float, high: float, said: str) -> None:
    row = {
        "task": "fracture",
        "metric": metric,
        "protocol": "zero-shot",
        "model": "m",
        "labels": 0.0,
        "n": 9,
        "seed": 0,
    }
    row |= {"data": "phantom", "split": "test", "value": (low + high) / 2, "low": low, "high": high}
    ((shown,),) = [group["rows"] for group in result_groups([row])]
    assert shown["remark"].startswith(said)
    assert bool(shown["remark"]) == bool(said)
