"""Linear and nearest-neighbour probes of frozen features: how much of a task an encoder already knows.

Logistic regression for findings, multinomial logistic regression with the expected grade for ordinal tasks, ridge
regression for bone age, all on standardised features; the penalty is the one that does best on the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from vlp.evaluation.metrics import METRICS, columns_of
from vlp.study import Study
from vlp.tasks.task import Task, sex_bit

PENALTIES = tuple(10.0**e for e in range(-5, 2))  # C of the logistic regression; its inverse is the ridge's alpha
Features = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Probe:
    """Predictions of a probe: grades, months or the probability of the finding."""

    validation: npt.NDArray[np.float64]
    test: npt.NDArray[np.float64]
    penalty: float
    n_train: int


def linear_probe(
    task: Task,
    train: tuple[Features, Sequence[Study]],
    validation: tuple[Features, Sequence[Study]],
    test: tuple[Features, Sequence[Study]],
    *,
    sex: bool | None = None,
) -> Probe | None:
    """Fit on ``train`` (features [n, D], studies), choose the penalty on ``validation``, predict ``test``.

    None where the training labels hold one class only. ``sex`` adds the patient's sex as a feature (default: as the
    task says). Without validation studies the middle penalty is used.
    """
    with_sex = task.uses_sex if sex is None else sex
    sets = [_inputs(features, studies, with_sex) for features, studies in (train, validation, test)]
    target = task.targets(train[1])
    if len(target) < 2 or len(np.unique(target)) < 2:
        return None
    metric = METRICS[task.selects]
    wanted = task.targets(validation[1])
    best: tuple[float, float, object] | None = None
    for penalty in PENALTIES:
        model = _model(task, penalty, target).fit(sets[0], target)
        score = float("nan")
        if len(wanted):
            score = metric.value(*columns_of(task.name, wanted, _predict(task, model, sets[1])))
        # a metric that is not defined on the validation split leaves the choice to the middle penalty
        score = -abs(np.log10(penalty) + 2) if np.isnan(score) else score * (1 if metric.higher_is_better else -1)
        if best is None or score > best[0]:
            best = (score, penalty, model)
    assert best is not None
    return Probe(_predict(task, best[2], sets[1]), _predict(task, best[2], sets[2]), best[1], len(target))


def knn_probe(
    task: Task, train: tuple[Features, Sequence[Study]], queries: Features, k: int = 20, temperature: float = 0.07
) -> npt.NDArray[np.float64]:
    """Weighted mean label of the ``k`` training studies nearest by cosine (weights as in DINO, Caron 2021), [n]."""
    if not len(queries):
        return np.zeros(0)
    mean = train[0].mean(axis=0)  # features of one encoder share a large common direction that hides the rest
    bank, asked = normalize(train[0] - mean), normalize(queries - mean)
    k = min(k, len(bank))
    similarity = asked @ bank.T
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarity, nearest, axis=1) / temperature)
    return (weights * task.targets(train[1])[nearest]).sum(axis=1) / weights.sum(axis=1)


def _model(task: Task, penalty: float, target: npt.NDArray[np.float64]) -> object:
    if task.kind == "regression":
        return make_pipeline(StandardScaler(), Ridge(alpha=1 / penalty))
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000, class_weight=None))


def _predict(task: Task, model: object, features: Features) -> npt.NDArray[np.float64]:
    if not len(features):
        return np.zeros(0)
    if task.kind == "regression":
        return np.asarray(model.predict(features), float)  # type: ignore[attr-defined]
    probability = model.predict_proba(features)  # type: ignore[attr-defined]
    return np.asarray(probability @ model.classes_, float)  # type: ignore[attr-defined]


def _inputs(features: Features, studies: Sequence[Study], sex: bool) -> Features:
    features = np.asarray(features, np.float64)
    return np.column_stack([features, sex_bit(studies)]) if sex else features
