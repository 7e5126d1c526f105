"""No finding can be read from what is not the finding: image size, brightness, histogram, header fields, report length.

Measured as the issue of shortcuts asks: a cross-validated logistic regression on those alone stays at AUROC <= 0.60.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vlp.phantom.config import PhantomConfig, Shares
from vlp.phantom.devices import DEVICES
from vlp.phantom.identities import Directory
from vlp.phantom.population import make_patient
from vlp.phantom.render import render
from vlp.phantom.reports import ReportWriter
from vlp.phantom.truth import labels_of

LIMBS = {"forearm": 1.0, "wrist": 1.0, "lower_leg": 1.0, "ankle": 1.0}


def _rows(level: str, parts: dict[str, float], studies: int) -> tuple[np.ndarray, list[dict[str, float]], np.ndarray]:
    """Features of the first film of each study, its labels, and its patient."""
    none = dict.fromkeys(Shares().model_dump(), 0.0)
    config = PhantomConfig(patients=10 * studies, seed=11, level=level, shares=Shares(**(none | parts)))
    directory, writer, devices = Directory(config), ReportWriter(config), list(DEVICES)
    features, labels, patients = [], [], []
    index = 0
    while len(features) < studies:
        patient = make_patient(config, index)
        identity = directory.patient(patient)
        for number, visit in enumerate(patient.visits):
            exam = visit.exam
            film = render(exam, exam.views[0], 160)
            text = writer.write(patient, number, identity, directory.visit(patient, number)).text
            shown = film.pixels / (2.0**film.bits - 1)
            histogram = np.histogram(shown, 32, (0, 1))[0] / shown.size
            kind = [exam.anatomy == part for part in LIMBS]
            device = [exam.device == name for name in devices]
            header = [exam.age_months, exam.sex == "F", film.spacing_mm, len(exam.views), patient.site, len(text)]
            features.append([*shown.shape, shown.mean(), shown.std(), *histogram, *header, *device, *kind])
            labels.append(labels_of(exam))
            patients.append(index)
        index += 1
    return np.asarray(features, float), labels, np.asarray(patients)


def _auroc(features: np.ndarray, target: np.ndarray, patients: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = GroupKFold(5)
    guess = cross_val_predict(model, features, target, groups=patients, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(target, guess))


@pytest.mark.slow
@pytest.mark.parametrize("level", ["easy", "hard"])
@pytest.mark.parametrize(
    ("parts", "findings"),
    [
        ({"chest": 1.0}, ("effusion", "consolidation", "cardiomegaly", "pneumothorax")),
        (LIMBS, ("fracture",)),
    ],
    ids=["chest", "limbs"],
)
def test_no_shortcut(level: str, parts: dict[str, float], findings: tuple[str, ...]) -> None:
    features, labels, patients = _rows(level, parts, 700)
    for finding in findings:
        known = np.array([finding in row for row in labels])
        target = np.array([row[finding] for row in labels if finding in row])
        found = _auroc(features[known], target, patients[known])
        assert found <= 0.60, f"{finding}: AUROC {found:.3f}"
