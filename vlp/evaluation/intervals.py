"""95 % intervals and comparisons by the cluster bootstrap: whole patients are drawn, never single studies.

Percentile interval of 1,000 resamples (Efron & Tibshirani 1993, chapters 8 and 13). With few patients the percentile
interval is somewhat too narrow, and a metric at its limit (AUROC 1.0) has an interval without width: read n first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlp.evaluation.metrics import Floats, Metric
from vlp.evaluation.results import Result

RESAMPLES = 1000
_CELLS = 4_000_000  # weights held in memory at a time


@dataclass(frozen=True)
class Interval:
    """A value with its interval; ``n`` studies of ``patients`` patients."""

    value: float
    low: float
    high: float
    n: int
    patients: int


@dataclass(frozen=True)
class Difference:
    """Metric of a minus metric of b on the same patients; ``p`` is two-sided."""

    value: float
    low: float
    high: float
    p: float
    n: int
    patients: int


def bootstrap(
    metric: Metric,
    columns: Sequence[npt.NDArray[Any]],
    patients: Sequence[str] | npt.NDArray[np.str_],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """The metric of ``columns`` (first axis: studies) with its interval; ``patients`` [n] names each study's patient.

    Draws for which the metric is not defined (no positive study) are left out; with no study, or fewer than half of
    the draws defined, the bounds are NaN.
    """
    codes, count = _codes(patients)
    arrays = [np.asarray(column, float) for column in columns]
    if not len(codes):
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    draws = np.concatenate([metric.weighted(w, *arrays) for w in resampled(codes, count, resamples, seed)])
    low, high = _bounds(draws, level)
    return Interval(metric.value(*arrays), low, high, len(codes), count)


def paired_difference(
    metric: Metric,
    runs_a: Sequence[Sequence[npt.NDArray[Any]]],
    runs_b: Sequence[Sequence[npt.NDArray[Any]]],
    patients: Sequence[str] | npt.NDArray[np.str_],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """Mean metric over the runs (seeds) of a minus that of b, every run measured on the same drawn patients.

    All runs must hold the same studies in the same order. ``p`` = 2 min(P(d <= 0), P(d >= 0)), each with one added
    to count and total, so it is never below 2 / (resamples + 1).
    """
    codes, count = _codes(patients)
    sides = [[[np.asarray(c, float) for c in run] for run in runs] for runs in (runs_a, runs_b)]
    if any(len(column) != len(codes) for side in sides for run in side for column in run):
        raise ValueError("all runs must hold the same studies in the same order")
    parts = []
    for weights in resampled(codes, count, resamples, seed):
        means = [np.mean([metric.weighted(weights, *run) for run in side], axis=0) for side in sides]
        parts.append(means[0] - means[1])
    draws = np.concatenate(parts)
    values = [np.mean([metric.value(*run) for run in side]) for side in sides]
    low, high = _bounds(draws, level)
    valid = draws[np.isfinite(draws)]
    tail = min((valid <= 0).sum(), (valid >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (len(valid) + 1))
    return Difference(float(values[0] - values[1]), low, high, float(p), len(codes), count)


def resampled(codes: npt.NDArray[np.intp], count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Study weights [b, n] of patients drawn with replacement, in blocks that add up to ``resamples`` rows."""
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, _CELLS // max(len(codes), 1)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=rows)
        yield drawn[:, codes].astype(float)


def result_of(metric: Metric, interval: Interval, **fields: Any) -> Result:
    """The interval as one row of ``metrics.json``; ``fields`` are the other fields of :class:`Result`."""
    return Result(
        metric=metric.name, value=interval.value, low=interval.low, high=interval.high, n=interval.n, **fields
    )


def _codes(patients: Sequence[str] | npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.intp], int]:
    names, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return codes, len(names)


def _bounds(draws: Floats, level: float) -> tuple[float, float]:
    valid = draws[np.isfinite(draws)]
    if len(valid) < max(1, len(draws) // 2):
        return float("nan"), float("nan")
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
