"""What a task is: a label, its kind, and how much of it a model may see."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anonymize.console import UserError
from vlp.study import Study

Kind = Literal["binary", "ordinal", "regression"]
FLOOR_PER_CLASS = 2
FLOOR_REGRESSION = 10


@dataclass(frozen=True)
class Task:
    """One supervised task on studies.

    Attributes:
        name: as in ``metrics.json``.
        label: key of ``Study.labels``.
        kind: binary (0/1), ordinal (grades 0 to ``classes`` - 1) or regression (``unit``).
        selects: the metric by which the epoch or the strength of a penalty is chosen on the validation split.
        uses_sex: whether the patient's sex is an input by default.
    """

    name: str
    label: str
    kind: Kind
    selects: str
    classes: int = 2
    unit: str = ""
    uses_sex: bool = False

    def target(self, study: Study) -> float:
        """The label as the task takes it; grades are whole."""
        value = study.labels[self.label]
        return float(round(value)) if self.kind != "regression" else float(value)

    def targets(self, studies: Sequence[Study]) -> np.ndarray:
        """Targets [n] float64."""
        return np.asarray([self.target(study) for study in studies], float)

    def eligible(self, studies: Sequence[Study], split: str) -> list[Study]:
        """Studies of ``split`` with an image and a known label."""
        return [s for s in studies if s.split == split and self.label in s.labels and s.images]


def task_by_name(name: str) -> Task:
    """The task called ``name`` (hyphens and underscores alike); any binary label is a task.

    Raises:
        UserError: no such task; the message lists them.
    """
    from vlp.tasks import bone_age, classification, fracture, osteoarthritis

    known = {t.name: t for t in (bone_age.TASK, osteoarthritis.TASK, fracture.TASK, *classification.TASKS)}
    key = name.replace("-", "_")
    if key not in known:
        raise UserError(f"'{name}' is not a task; there are: {', '.join(n.replace('_', '-') for n in known)}")
    return known[key]


def label_subset(task: Task, studies: Sequence[Study], fraction: float, seed: int) -> list[Study]:
    """The labelled studies that a model may learn from at ``fraction`` of the labels.

    Patients are put in a random order of ``seed``; the subset is the first ``fraction`` of them, with all their
    studies, and those that a floor needs (2 studies a class; 10 studies for a regression). Subsets of one seed are
    nested: what 1 % holds, 10 % holds too.
    """
    if fraction >= 1:
        return list(studies)
    patients = sorted({s.patient_id for s in studies})
    order = [patients[i] for i in np.random.default_rng([seed, 7]).permutation(len(patients))]
    chosen = set(order[: math.ceil(fraction * len(order))])
    by_patient: dict[str, list[Study]] = {}
    for study in studies:
        by_patient.setdefault(study.patient_id, []).append(study)
    # the floor looks at the order alone, not at the fraction: this keeps the subsets nested
    seen: Counter[float] = Counter()
    for patient in order:
        classes = [0.0 if task.kind == "regression" else task.target(s) for s in by_patient[patient]]
        floor = FLOOR_REGRESSION if task.kind == "regression" else FLOOR_PER_CLASS
        if any(seen[c] < floor for c in classes):
            chosen.add(patient)
            seen.update(classes)
    return [s for s in studies if s.patient_id in chosen]


def sex_bit(studies: Sequence[Study]) -> np.ndarray:
    """[n] float32: 1 for F, -1 for M, 0 where not known."""
    return np.asarray([{"F": 1.0, "M": -1.0}.get(s.sex, 0.0) for s in studies], np.float32)
