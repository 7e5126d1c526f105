"""Rare combinations: how many patients share their cell of age band, sex, examination and month (k-anonymity)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from anonymize.attack.originals import Case
from anonymize.report import SafeReport
from anonymize.text import fold

_BAND = 10  # years

_VALUES: dict[str, Callable[[SafeReport], str]] = {
    "age_band": lambda report: "" if report.age_months is None else str(report.age_months // 12 // _BAND * _BAND),
    "sex": lambda report: report.sex or "",
    "exam": lambda report: fold(report.exam or "").strip(),
    "month": lambda report: (report.date or "")[:7],
}
COMBINATIONS = (("age_band", "sex"), ("age_band", "sex", "exam"), ("age_band", "sex", "exam", "month"))


def rarity(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """For each combination: columns, cells, smallest cell, patients who stand alone (k = 1) and below five in one.

    ``month`` is the shifted one that the export holds; who knows the real month cannot use it without the offset.
    """
    cells: list[dict[tuple[str, ...], set[str]]] = [defaultdict(set) for _ in COMBINATIONS]
    patients: set[str] = set()
    for case in cases:
        patients.add(case.patient)
        for report in case.safe:
            for names, found in zip(COMBINATIONS, cells, strict=True):
                found[tuple(_VALUES[name](report) for name in names)].add(case.patient)
    return [
        {
            "columns": list(names),
            "cells": len(found),
            "smallest": min(map(len, found.values()), default=0),
            "patients": len(patients),
            "alone": len({p for members in found.values() if len(members) == 1 for p in members}),
            "below_5": len({p for members in found.values() if len(members) < 5 for p in members}),
        }
        for names, found in zip(COMBINATIONS, cells, strict=True)
    ]
