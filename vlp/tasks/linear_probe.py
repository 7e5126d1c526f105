"""Linear and nearest-neighbour probes of frozen features: how much of a task an encoder already knows.

Logistic regression for findings, ridge regression for bone age, and for grades the ordinal model with one direction
and ordered thresholds (CORAL, Cao 2020), all on standardised features; the strength of the penalty is the one that
does best on the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler, normalize

from vlp.evaluation.metrics import METRICS, columns_of
from vlp.study import Study
from vlp.tasks.task import Task, sex_bit

PENALTIES = tuple(10.0**e for e in range(-5, 2))  # C of the logistic regression; its inverse is the ridge's alpha
_THRESHOLD = 10.0  # input of a threshold's column, so large that the penalty hardly touches thresholds
Features = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Set = tuple[Features, Sequence[Study]]
"""Features [n, D] and their studies."""


@dataclass(frozen=True)
class FittedProbe:
    """``(x - mean) / std @ weight + bias``; grades have one bias a threshold ([G - 1]), others one ([1])."""

    task: Task
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    penalty: float
    sex: bool
    n_train: int

    def predict(self, features: Features, studies: Sequence[Study]) -> npt.NDArray[np.float64]:
        """[n]: probability of the finding, expected grade, or months."""
        if not len(features):
            return np.zeros(0)
        inputs = probe_inputs(features, studies, self.sex)
        raw = ((inputs - self.mean) / self.std @ self.weight)[:, None] + self.bias
        if self.task.kind == "regression":
            return raw[:, 0]
        return expit(raw).sum(axis=1)


def fit_probe(task: Task, train: Set, validation: Set, *, sex: bool | None = None) -> FittedProbe | None:
    """Fit on ``train`` and choose the penalty on ``validation``; None where the labels hold one value only.

    ``sex`` adds the patient's sex as a feature (default: as the task says). Where the metric is not defined on the
    validation split, the middle penalty (0.01) is used.
    """
    with_sex = task.uses_sex if sex is None else sex
    target = task.targets(train[1])
    if len(target) < 2 or len(np.unique(target)) < 2:
        return None
    inputs = probe_inputs(*train, with_sex)
    scaler = StandardScaler().fit(inputs)
    scaled = cast(Floats, scaler.transform(inputs))
    mean, std = cast(Floats, scaler.mean_), cast(Floats, scaler.scale_)
    metric = METRICS[task.selects]
    wanted = task.targets(validation[1])
    best: tuple[float, FittedProbe] | None = None
    for penalty in PENALTIES:
        weight, bias = _solve(task, scaled, target, penalty)
        probe = FittedProbe(task, mean, std, weight, bias, penalty, with_sex, len(target))
        score = metric.value(*columns_of(task.name, wanted, probe.predict(*validation))) if len(wanted) else np.nan
        score = -abs(np.log10(penalty) + 2) if np.isnan(score) else score * (1 if metric.higher_is_better else -1)
        if best is None or score > best[0]:
            best = (score, probe)
    return best[1] if best else None


def knn_predict(
    task: Task, train: Set, queries: Features, k: int = 20, temperature: float = 0.07
) -> npt.NDArray[np.float64]:
    """Weighted mean label of the ``k`` training studies nearest by cosine (weights as in DINO, Caron 2021), [n]."""
    if not len(queries):
        return np.zeros(0)
    mean = train[0].mean(axis=0)  # features of one encoder share a large common direction that hides the rest
    bank, asked = cast(Features, normalize(train[0] - mean)), cast(Features, normalize(queries - mean))
    k = min(k, len(bank))
    similarity = asked @ bank.T
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarity, nearest, axis=1) / temperature)
    return (weights * task.targets(train[1])[nearest]).sum(axis=1) / weights.sum(axis=1)


def probe_inputs(features: Features, studies: Sequence[Study], sex: bool) -> npt.NDArray[np.float64]:
    """Features [n, D] with the sex, if asked, as a last column."""
    values = np.asarray(features, np.float64)
    return np.column_stack([values, sex_bit(studies)]) if sex else values


def _solve(
    task: Task, inputs: npt.NDArray[np.float64], target: npt.NDArray[np.float64], penalty: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if task.kind == "regression":
        ridge = Ridge(alpha=1 / penalty).fit(inputs, target)
        return np.ravel(ridge.coef_), np.atleast_1d(ridge.intercept_)
    if task.kind == "binary":
        model = LogisticRegression(C=penalty, max_iter=1000).fit(inputs, target)
        return model.coef_[0], model.intercept_
    # one row for each study and threshold, asking "is the grade above k?": the direction is shared
    thresholds = task.classes - 1
    count = len(target)
    which = np.tile(np.eye(thresholds) * _THRESHOLD, (count, 1))
    stacked = np.column_stack([np.repeat(inputs, thresholds, axis=0), which])
    above = (target[:, None] > np.arange(thresholds)).ravel()
    model = LogisticRegression(C=penalty, max_iter=1000, fit_intercept=False).fit(stacked, above)
    bias = model.coef_[0, -thresholds:] * _THRESHOLD
    return model.coef_[0, :-thresholds], np.minimum.accumulate(bias)
