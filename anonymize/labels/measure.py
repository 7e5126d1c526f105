"""How well labels are mined: precision, recall and F1 per label against labels that a person has checked.

Gold is JSON Lines: ``text``, ``labels`` (label → present, absent or uncertain; a label that is missing is not
mentioned), optional ``grades`` (label → 0-4), ``half`` (name of a part) and ``qualifiers`` ("label:qualifier"). A label
is right where its value is the same. Intervals are 95 % bootstrap percentiles over reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anonymize.config import ConfigError
from anonymize.labels.miner import Miner
from anonymize.labels.row import Mention, Value

_VALUES = (Value.PRESENT, Value.ABSENT, Value.UNCERTAIN)


@dataclass(frozen=True)
class GoldLabels:
    """One report and what a person reads in it."""

    text: str
    labels: Mapping[str, Value]
    grades: Mapping[str, int]
    qualifiers: tuple[tuple[str, str], ...]
    half: str


def read_gold_labels(path: Path) -> list[GoldLabels]:
    """The gold of a JSON Lines file.

    Raises:
        ConfigError: a line is not an object with ``text`` and ``labels``, or a value is unknown.
    """
    gold = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                labels = {name: Value(value) for name, value in row["labels"].items()}
                pairs = tuple(tuple(item.split(":", 1)) for item in row.get("qualifiers", []))
                gold.append(GoldLabels(row["text"], labels, row.get("grades", {}), pairs, row.get("half", "")))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ConfigError(
                    f"{path}, line {number}: needs 'text' and 'labels' with present, absent or uncertain"
                ) from None
    return gold


def measure_labels(rules: Miner, gold: Sequence[GoldLabels], *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Scores by label, over all of them (``all``) and by value; ``grades`` and ``qualifiers`` as shares that are right.

    Labels that gold never names are not scored where they are found too: list a label once to have it scored.
    """
    names = sorted({name for item in gold for name in item.labels})
    read = [rules.read(item.text) for item in gold]
    counts = np.zeros((len(gold), len(names), len(_VALUES), 3), dtype=int)  # true positive, false positive, missed
    for row, (item, mentions) in enumerate(zip(gold, read, strict=True)):
        for column, name in enumerate(names):
            found = mentions[name].value if name in mentions else Value.NOT_MENTIONED
            wanted = item.labels.get(name, Value.NOT_MENTIONED)
            for index, value in enumerate(_VALUES):
                counts[row, column, index] = (
                    found is value and wanted is value,
                    found is value and wanted is not value,
                    found is not value and wanted is value,
                )
    samples = np.random.default_rng(seed).integers(0, len(gold), (draws, len(gold))) if gold else np.zeros((0, 0), int)
    return {
        "reports": len(gold),
        "all": _scores(counts.sum(axis=(1, 2)), samples),
        "by_value": {str(value): _scores(counts[:, :, i].sum(axis=1), samples) for i, value in enumerate(_VALUES)},
        "by_label": {name: _scores(counts[:, i].sum(axis=1), samples) for i, name in enumerate(names)},
        "present_by_label": {name: _scores(counts[:, i, 0], samples) for i, name in enumerate(names)},
        "grades": _share(
            [_grade(m, name) == grade for g, m in zip(gold, read, strict=True) for name, grade in g.grades.items()]
        ),
        "qualifiers": _share([_has(m, *pair) for g, m in zip(gold, read, strict=True) for pair in g.qualifiers]),
    }


def _scores(counts: npt.NDArray[Any], samples: npt.NDArray[Any]) -> dict[str, Any]:
    """Precision, recall and F1 of ``counts`` [n, 3] with their bootstrap intervals; None where undefined."""
    total = counts.sum(axis=0)
    out: dict[str, Any] = {"n": int(total[0] + total[2])}
    sums = counts[samples].sum(axis=1) if len(samples) else np.zeros((0, 3), int)
    for name, value, draws in zip(("precision", "recall", "f1"), _ratios(total[None])[0], _ratios(sums).T, strict=True):
        known = draws[~np.isnan(draws)]
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (value, value)
        out[name] = None if np.isnan(value) else round(float(value), 4)
        out[f"{name}_low"] = None if np.isnan(low) else round(float(low), 4)
        out[f"{name}_high"] = None if np.isnan(high) else round(float(high), 4)
    return out


def _ratios(sums: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Precision, recall, F1 [m, 3] of true positives, false positives and missed [m, 3]."""
    right, wrong, missed = (sums[:, i].astype(float) for i in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [right / (right + wrong), right / (right + missed), 2 * right / (2 * right + wrong + missed)], axis=1
        )


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    return {"n": len(hits), "right": sum(hits)}


def _grade(mentions: Mapping[str, Mention], name: str) -> int | None:
    return mentions[name].grade if name in mentions else None


def _has(mentions: Mapping[str, Mention], label: str, qualifier: str) -> bool:
    if label not in mentions:
        return False
    qualifiers = mentions[label].qualifiers
    if qualifier in ("left", "right", "both"):
        return qualifiers.laterality == qualifier
    return bool(qualifiers.change) if qualifier == "comparison" else bool(getattr(qualifiers, qualifier))
