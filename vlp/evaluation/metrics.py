"""Metrics: the value comes from scikit-learn or sacrebleu, the bootstrap from a weighted form of the same formula.

Every metric takes columns, arrays with one row per study. ``value(*columns)`` is the number itself;
``weighted(weights, *columns)`` is the number under B sets of study weights at once, weights [B, n] float64 (how often
each study was drawn), result [B], NaN where the metric is not defined for that draw. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One metric; ``kind`` says what its columns are.

    binary: target 0/1, score. ordinal: target and prediction, whole grades. regression: target and prediction in
    months. rank: rank of the first correct item from 1 (, pool size). labels: present [n, L], predicted [n, L].
    statistics: BLEU counts [n, 10]. scores: one score per study.
    """

    name: str
    kind: str
    higher_is_better: bool
    value: Callable[..., float]
    weighted: Callable[..., Floats]


def _auroc(weights: Floats, target: Floats, score: Floats) -> Floats:
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # first of each run of equal scores
    positive = np.add.reduceat(weights[:, order] * (target[order] == 1), starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * (target[order] == 0), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    return _ratio((positive * (below + 0.5 * negative)).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def _auprc(weights: Floats, target: Floats, score: Floats) -> Floats:
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=np.nan) != 0)  # last of each run of equal scores
    hits = np.cumsum(weights[:, order] * (target[order] == 1), axis=1)[:, ends]
    called = np.cumsum(weights[:, order], axis=1)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0)
    area = (gained * _ratio(hits, called, 0.0)).sum(axis=1)
    return _ratio(area, hits[:, -1])


def _quadratic_kappa(weights: Floats, target: Floats, prediction: Floats) -> Floats:
    """1 - E[(a-b)^2] / E over independent margins; the closed form of Cohen 1968 for quadratic weights."""
    total = weights.sum(axis=1)
    mean_t, mean_p = weights @ target / total, weights @ prediction / total
    observed = weights @ (target - prediction) ** 2 / total
    expected = weights @ target**2 / total + weights @ prediction**2 / total - 2 * mean_t * mean_p
    return 1 - _ratio(observed, expected)


def _mean_of(function: Callable[..., Floats]) -> Callable[..., Floats]:
    def weighted(weights: Floats, *columns: Floats) -> Floats:
        return _ratio(weights @ function(*columns), weights.sum(axis=1))

    return weighted


def _hit_at(k: int) -> Callable[..., Floats]:
    return lambda rank, *_: (rank <= k).astype(float)


def _median(weights: Floats, values: Floats) -> Floats:
    """Median of the drawn multiset (mean of the two middle values where their number is even)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    cumulative = np.cumsum(weights[:, order], axis=1)
    total = cumulative[:, -1:]
    lower = (cumulative >= total / 2).argmax(axis=1)
    upper = (cumulative > total / 2).argmax(axis=1)
    return np.where(total[:, 0] > 0, (ordered[lower] + ordered[upper]) / 2, np.nan)


def _percent(rank: Floats, pool: Floats) -> Floats:
    return 100 * rank / pool


def _label_f1(weights: Floats, present: Floats, predicted: Floats, *, macro: bool) -> Floats:
    both = weights @ (present * predicted)
    halves = weights @ (present + predicted)
    if macro:
        # a label that the references of this draw do not hold has no F1 and does not count
        held = weights @ present > 0
        f1 = np.where(held, 2 * _ratio(both, halves, 0.0), 0.0)
        return _ratio(f1.sum(axis=1), held.sum(axis=1))
    return 2 * _ratio(both.sum(axis=1), halves.sum(axis=1))


def _f1_value(present: Floats, predicted: Floats, *, macro: bool) -> float:
    held = present.any(axis=0)
    if not held.any():
        return float("nan")
    # untyped: its zero_division is taken for a str, as its default is one
    f1_score = cast(Callable[..., float], sk.f1_score)
    if not macro:
        return float(f1_score(present.astype(int), predicted.astype(int), average="micro", zero_division=0))
    return float(
        f1_score(present[:, held].astype(int), predicted[:, held].astype(int), average="macro", zero_division=0)
    )


def _binary(function: Callable[..., Any]) -> Callable[..., float]:
    def value(target: Floats, score: Floats) -> float:
        return float(function(target.astype(int), score)) if 0 < target.sum() < len(target) else float("nan")

    return value


def _kappa_value(target: Floats, prediction: Floats) -> float:
    labels = np.union1d(target, prediction).astype(int)
    if len(labels) < 2:
        return float("nan")
    grades = list(range(labels.min(), labels.max() + 1))
    return float(sk.cohen_kappa_score(target.astype(int), prediction.astype(int), weights="quadratic", labels=grades))


def _ratio(above: Any, below: Any, empty: float = np.nan) -> Floats:
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.full(above.shape, empty), where=below > 0)


def _bleu_weighted(weights: Floats, counts: Floats) -> Floats:
    from vlp.evaluation.text import bleu_of_counts

    return bleu_of_counts(weights @ counts)


def _bleu_value(counts: Floats) -> float:
    from vlp.evaluation.text import corpus_bleu

    return corpus_bleu(counts)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


_ALL = (
    Metric("auroc", "binary", True, _binary(sk.roc_auc_score), _auroc),
    Metric("auprc", "binary", True, _binary(sk.average_precision_score), _auprc),
    Metric("quadratic_kappa", "ordinal", True, _kappa_value, _quadratic_kappa),
    Metric(
        "accuracy",
        "ordinal",
        True,
        lambda t, p: float(sk.accuracy_score(t.astype(int), p.astype(int))) if len(t) else float("nan"),
        _mean_of(lambda t, p: (t == p).astype(float)),
    ),
    Metric(
        "mad_months",
        "regression",
        False,
        lambda t, p: float(sk.mean_absolute_error(t, p)) if len(t) else float("nan"),
        _mean_of(lambda t, p: np.abs(t - p)),
    ),
    *(
        Metric(f"recall_at_{k}", "rank", True, lambda r, *_, k=k: _mean((r <= k).astype(float)), _mean_of(_hit_at(k)))
        for k in (1, 5, 10)
    ),
    Metric(
        "median_rank",
        "rank",
        False,
        lambda r, *_: float(np.median(r)) if len(r) else float("nan"),
        lambda w, r, *_: _median(w, r),
    ),
    Metric(
        "median_rank_percent",
        "rank",
        False,
        lambda r, pool: float(np.median(_percent(r, pool))) if len(r) else float("nan"),
        lambda w, r, pool: _median(w, _percent(r, pool)),
    ),
    Metric(
        "label_f1_macro",
        "labels",
        True,
        lambda t, p: _f1_value(t, p, macro=True),
        lambda w, t, p: _label_f1(w, t, p, macro=True),
    ),
    Metric(
        "label_f1_micro",
        "labels",
        True,
        lambda t, p: _f1_value(t, p, macro=False),
        lambda w, t, p: _label_f1(w, t, p, macro=False),
    ),
    Metric("bleu_4", "statistics", True, _bleu_value, _bleu_weighted),
    Metric("rouge_l", "scores", True, _mean, _mean_of(lambda s: s)),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""All metrics by name. All but months and ranks are fractions (BLEU too: sacrebleu's / 100)."""

OF_TASK = {
    "bone_age": ("mad_months",),
    "osteoarthritis": ("quadratic_kappa", "accuracy"),
    "retrieval": ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "median_rank_percent"),
}
"""Metrics of a task's predictions; any other task is a finding."""
OF_FINDING = ("auroc", "auprc")


def metrics_of(task: str) -> list[Metric]:
    """The metrics that a task's ``predictions.parquet`` is measured with."""
    return [METRICS[name] for name in OF_TASK.get(task, OF_FINDING)]


def columns_of(task: str, target: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, ...]:
    """Target and prediction [n] as the metrics of ``task`` take them; grades are rounded and held to 0-4."""
    columns = np.asarray(target, float), np.asarray(prediction, float)
    if task == "osteoarthritis":
        return tuple(np.clip(np.rint(column), 0, 4) for column in columns)
    return columns
