"""Predictions as rows that later comparisons reuse, and the results that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anonymize.files import read_rows, write_table
from vlp.evaluation.fairness import NOT_ENOUGH, Floor, Group, age_band, subgroup_table
from vlp.evaluation.intervals import bootstrap, result_of
from vlp.evaluation.metrics import columns_of, metrics_of
from vlp.evaluation.results import Result
from vlp.study import Study

SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("task", "protocol", "model")],
        ("labels", pa.float64()),
        ("seed", pa.int64()),
        *[(name, pa.string()) for name in ("study_id", "patient_id", "split", "sex")],
        ("age_months", pa.int32()),
        ("target", pa.float64()),
        ("prediction", pa.float64()),
    ]
)
"""``predictions.parquet``. Retrieval: target 1, prediction the rank of the first correct report."""


@dataclass(frozen=True)
class Predictions:
    """What one model answered for n studies of one split."""

    task: str
    protocol: str
    model: str
    labels: float  # fraction of the training labels
    seed: int
    split: str
    studies: tuple[Study, ...]
    target: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.float64]

    @property
    def patients(self) -> list[str]:
        """Patient of each study."""
        return [s.patient_id for s in self.studies]

    def rows(self) -> list[dict[str, Any]]:
        """One row a study, as in ``SCHEMA``."""
        same = {k: getattr(self, k) for k in ("task", "protocol", "model", "labels", "seed", "split")}
        return [
            {
                **same,
                "study_id": s.study_id,
                "patient_id": s.patient_id,
                "sex": s.sex,
                "age_months": s.age_months,
                "target": float(t),
                "prediction": float(p),
            }
            for s, t, p in zip(self.studies, self.target, self.prediction, strict=True)
        ]

    def fields(self, data: str) -> dict[str, Any]:
        """The fields of :class:`Result` that do not depend on the metric."""
        same = {k: getattr(self, k) for k in ("task", "protocol", "model", "labels", "seed", "split")}
        return {**same, "data": data}

    def columns(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Target and prediction as the task's metrics take them."""
        return columns_of(self.task, self.target, self.prediction)

    def results(self, data: str, resamples: int) -> list[Result]:
        """Every metric of the task with its interval."""
        columns = self.columns()
        return [
            result_of(m, bootstrap(m, columns, self.patients, seed=self.seed, resamples=resamples), **self.fields(data))
            for m in metrics_of(self.task)
        ]

    def subgroups(self, resamples: int, floor: int) -> list[Group]:
        """The task's first metric per sex and age band (AUPRC is not compared: it moves with prevalence)."""
        attributes = {"sex": [s.sex for s in self.studies], "age": [age_band(s.age_months) for s in self.studies]}
        return subgroup_table(
            metrics_of(self.task)[:1],
            self.columns(),
            self.patients,
            attributes,
            floor=Floor(floor, floor, floor),
            seed=self.seed,
            resamples=resamples,
        )

    def subgroup_results(self, groups: Sequence[Group], data: str) -> list[Result]:
        """Rows of ``metrics.json`` for groups with enough data, ``data`` followed by "/sex=F"."""
        fields = self.fields(data)
        return [
            Result(
                **{**fields, "data": f"{data}/{g.group}"}, metric=g.metric, value=g.value, low=g.low, high=g.high, n=g.n
            )
            for g in groups
            if g.note != NOT_ENOUGH
        ]

    def subgroup_rows(self, groups: Sequence[Group], data: str) -> list[dict[str, Any]]:
        """Rows of ``subgroups.json``."""
        fields = self.fields(data)
        return [{**fields, **_plain(asdict(g))} for g in groups]


def write_predictions(path: Path, predictions: Sequence[Predictions]) -> None:
    """All ``predictions`` as one Parquet file."""
    write_table(path, [row for p in predictions for row in p.rows()], SCHEMA)


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """The rows of :func:`write_predictions`."""
    return read_rows(path)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
