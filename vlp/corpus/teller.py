"""A small classifier trained on the corpus itself, for what header and report leave out. No weights are shipped.

Orientation histograms and a thumbnail, multinomial logistic regression, five models by patient: an image is always
judged by the one that has not seen its patient, so known images can be judged too, and their agreement with what is
known is an honest measure. Temperature scaling (Guo et al. 2017, arXiv:1706.04599) makes the probabilities calibrated.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FOLDS = 5
_SIDE, _CELL, _BINS, _THUMBNAIL = 64, 8, 8, 16
_LEAST_PATIENTS = 10  # of a class
_FEW = 8
_REACH = 0.95  # of the known images are nearer to their neighbours than this, and so must an unknown one be
_STRENGTH = 0.05  # inverse of the regularisation; of 0.01, 0.05 and 0.3 the one with the best coverage above 99 % right

Features = npt.NDArray[np.float32]


def features(pixels: npt.NDArray[np.uint8]) -> Features:
    """[769] of a working image: 8 orientations in 8 x 8 cells, a 16 x 16 thumbnail, the aspect."""
    small = np.asarray(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    across, down = (cv2.Sobel(small, cv2.CV_32F, dx, 1 - dx, ksize=1) for dx in (1, 0))
    size, angle = cv2.cartToPolar(across, down)
    direction = (angle * (_BINS / np.pi)).astype(np.int32) % _BINS
    cells = _SIDE // _CELL
    line = np.arange(_SIDE) // _CELL
    place = (line[:, None] * cells + line) * _BINS + direction
    counts = np.bincount(place.ravel(), size.ravel(), cells * cells * _BINS)
    histogram = counts.reshape(cells, cells, _BINS).astype(np.float32)
    energy = np.sqrt(cv2.blur((histogram**2).sum(axis=2), (3, 3), borderType=cv2.BORDER_REPLICATE))
    shades = cv2.resize(small, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    shades = (shades - shades.mean()) / (shades.std() + 1)
    aspect = [2 * np.log(pixels.shape[0] / pixels.shape[1])]
    return np.concatenate([2 * (histogram / (energy[..., None] + 8)).ravel(), shades, aspect]).astype(np.float32)


def fold_of(patient: str) -> int:
    """Which of the models has not seen this patient."""
    return int.from_bytes(hashlib.sha256(f"fold\0{patient}".encode()).digest()[:8], "big") % FOLDS


@dataclass(frozen=True)
class Known:
    """Images whose class is known: features [n, features], their squared lengths [n], the folds of their patients [n]."""

    features: Features
    squares: Features
    folds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, seen: Features, folds: npt.NDArray[np.int64]) -> Known:
        """The images of a fit."""
        return cls(seen, np.einsum("ij,ij->i", seen, seen), folds)

    def nearest(self, seen: Features, fold: int) -> float:
        """Distance of an image's features [features] to the nearest image of another fold.

        One matrix product finds the nearest few, but for rounding; the distances of those are computed as they are.
        """
        rough = self.squares - 2 * (self.features @ seen)
        rough[self.folds == fold] = np.inf
        few = np.argpartition(rough, min(_FEW, len(rough) - 1))[:_FEW]
        difference = self.features[few[np.isfinite(rough[few])]] - seen
        return float(np.sqrt(np.einsum("ij,ij->i", difference, difference).min()))


@dataclass(frozen=True)
class Teller:
    """Fitted models. ``tell`` is a function of one image's features and its patient's fold alone."""

    names: tuple[str, ...]
    weights: npt.NDArray[np.float64]  # [folds, classes, features]
    bias: npt.NDArray[np.float64]  # [folds, classes]
    temperature: float
    known: Known  # what it was fitted on
    reach: float  # distance to the nearest known image of another patient beyond which an image is unlike any

    def tell(self, seen: Features, fold: int) -> npt.NDArray[np.float64]:
        """[classes] log-probabilities of an image's features [features]."""
        return _log_softmax((self.weights[fold] @ seen + self.bias[fold]) / self.temperature)

    def like_known(self, seen: Features, fold: int) -> bool:
        """Whether the image resembles any known one; the classes known may not be all there are."""
        return self.known.nearest(seen, fold) <= self.reach


@dataclass(frozen=True)
class Trial:
    """How the models did on the known images of patients that they had not seen."""

    known: int
    right: int  # the likeliest class is the known one
    sure: int  # confident enough to be believed
    sure_and_right: int
    confusions: tuple[tuple[str, str, int], ...]  # known, told, how often; commonest first

    @property
    def least_precision(self) -> float:
        """Lower end of the 95 % Wilson interval of the share that is right where the models are sure."""
        n, z = self.sure, 1.96
        if not n:
            return 0.0
        p = self.sure_and_right / n
        return (p + z * z / (2 * n) - z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5) / (1 + z * z / n)


def usable_classes(labels: Sequence[str], patients: Sequence[str], least: int) -> list[str]:
    """Classes with at least ``least`` images of at least ten patients."""
    images = Counter(labels)
    owners = Counter(label for label, _ in set(zip(labels, patients, strict=True)))
    return sorted(name for name, count in images.items() if count >= least and owners[name] >= _LEAST_PATIENTS)


def teach(seen: Features, labels: Sequence[str], patients: Sequence[str], confidence: float) -> tuple[Teller, Trial]:
    """Fit on features [n, features] and their labels; try on each fold's own patients.

    The result does not depend on the number of threads.

    Raises:
        ValueError: fewer than two classes, or one that is missing from the training part of a fold.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    names = tuple(sorted(set(labels)))
    truth = np.array([names.index(label) for label in labels])
    folds = np.array([fold_of(patient) for patient in patients])
    weights = np.zeros((FOLDS, len(names), seen.shape[1]))
    bias = np.zeros((FOLDS, len(names)))
    with threadpool_limits(1):
        for fold in range(FOLDS):
            train = folds != fold
            if len(set(truth[train].tolist())) < max(2, len(names)):
                raise ValueError("every class needs patients in every fold, and there must be two")
            model = LogisticRegression(C=_STRENGTH, max_iter=300).fit(seen[train].astype(np.float64), truth[train])
            if len(names) == 2:  # one row of weights stands for the second class
                weights[fold, 1], bias[fold, 1] = model.coef_[0], model.intercept_[0]
            else:
                weights[fold], bias[fold] = model.coef_, model.intercept_
        raw = np.stack([weights[f] @ x + bias[f] for x, f in zip(seen, folds, strict=True)])
        known = Known.of(seen, folds)
        gaps = [known.nearest(x, int(f)) for x, f in zip(seen, folds, strict=True)]
    temperature = _temperature(raw, truth)
    teller = Teller(names, weights, bias, temperature, known, float(np.quantile(gaps, _REACH)))
    return teller, _trial(
        np.exp(_log_softmax(raw / temperature)), truth, names, np.array(gaps) <= teller.reach, confidence
    )


def _trial(
    chance: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    names: Sequence[str],
    near: npt.NDArray[np.bool_],
    confidence: float,
) -> Trial:
    told = chance.argmax(axis=1)
    right, sure = told == truth, (chance.max(axis=1) >= confidence) & near
    wrong = Counter((names[int(a)], names[int(b)]) for a, b in zip(truth, told, strict=True) if a != b)
    pairs = tuple((a, b, n) for (a, b), n in sorted(wrong.items(), key=lambda item: (-item[1], item[0])))
    return Trial(len(truth), int(right.sum()), int(sure.sum()), int((right & sure).sum()), pairs)


def _temperature(raw: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return -float(_log_softmax(raw / np.exp(log_t))[np.arange(len(truth)), truth].mean())

    found: Any = minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded")
    return float(np.exp(found.x))


def _log_softmax(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = raw - raw.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
