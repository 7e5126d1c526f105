"""Linkage by time: intervals between a patient's dates survive any offset that keeps intervals. A residual risk, no leak.

Three adversaries, each knowing more: sex and age in years at the first examination; also the days between the
examinations; also the days from the first examination to every other date in the texts (the birth date among them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from anonymize.attack.chance import correlation, normal_tail
from anonymize.attack.originals import Case
from anonymize.attack.written_dates import DateFinder
from anonymize.dates import age_months
from anonymize.report import Report
from anonymize.surrogates import CAP_MONTHS
from anonymize.text import View

LEVELS = ("sex_age", "examinations", "all_dates")


def linkage(cases: Iterable[Case], originals: dict[str, list[Report]], dates: DateFinder) -> dict[str, Any]:
    """Share of the safe patients whose signature fits one original patient only, by level, and how many are right.

    ``originals``: all patients of the export by identifier.
    """
    cases = [case for case in cases if case.linked]
    theirs = {patient: _original_signatures(reports, dates) for patient, reports in originals.items()}
    counts = [Counter(signature[level] for signature in theirs.values()) for level in range(len(LEVELS))]
    owner = [{signature[level]: patient for patient, signature in theirs.items()} for level in range(len(LEVELS))]
    unique, right = [0] * len(LEVELS), [0] * len(LEVELS)
    for case in cases:
        true = next(iter(case.linked.values())).identity.patient_id
        for level, signature in enumerate(_safe_signatures(case, dates)):
            if counts[level][signature] == 1:
                unique[level] += 1
                right[level] += owner[level][signature] == true
    total = max(1, len(cases))
    shares = {
        name: {"unique": unique[i], "share": round(unique[i] / total, 4), "right": right[i]}
        for i, name in enumerate(LEVELS)
    }
    return {"patients": len(cases), "among": len(theirs), **shares, "offsets": _offsets(cases)}


def _original_signatures(reports: Sequence[Report], dates: DateFinder) -> list[Hashable]:
    exams = sorted(date.fromisoformat(report.exam_date) for report in reports if report.exam_date)
    first = min(reports, key=lambda report: report.exam_date or "9999")
    age = age_months(first.identity.birth_date, first.exam_date)
    texts = [report.text for report in reports]
    return _signatures(first.identity.sex, None if age is None else min(age, CAP_MONTHS), exams, texts, dates)


def _safe_signatures(case: Case, dates: DateFinder) -> list[Hashable]:
    exams = sorted(date.fromisoformat(report.date) for report in case.safe if report.date)
    first = min(case.safe, key=lambda report: report.date or "9999")
    return _signatures(first.sex, first.age_months, exams, [report.text for report in case.safe], dates)


def _signatures(
    sex: str, age: int | None, exams: list[date], texts: Iterable[str], dates: DateFinder
) -> list[Hashable]:
    years = None if age is None else age // 12
    if not exams:
        return [(sex, years), (sex, years, ()), (sex, years, (), ())]
    intervals = tuple((day - exams[0]).days for day in exams)
    named = {(day - exams[0]).days for text in texts for _, _, day in dates.find(View(text))}
    return [(sex, years), (sex, years, intervals), (sex, years, intervals, tuple(sorted(named)))]


def _offsets(cases: Sequence[Case]) -> dict[str, Any]:
    """Whether one patient's offset says something about the next one's (in the order of the real identifiers)."""
    found: dict[str, set[int]] = {}
    for case in cases:
        for number, report in case.linked.items():
            if case.safe[number].date and report.exam_date:
                days = (date.fromisoformat(case.safe[number].date) - date.fromisoformat(report.exam_date)).days
                found.setdefault(report.identity.patient_id, set()).add(days)
    single = [float(next(iter(days))) for _, days in sorted(found.items()) if len(days) == 1]
    r = correlation(single[:-1], single[1:])
    equal = sum(a == b for a, b in pairwise(single))
    z = abs(r) * max(0, len(single) - 1) ** 0.5
    return {
        "patients": len(found),
        "more_than_one_offset": sum(len(days) > 1 for days in found.values()),
        "different": len(set(single)),
        "neighbours_equal": equal,
        "neighbours_correlation": round(r, 3),
        "p": round(2 * normal_tail(z), 4),
    }
