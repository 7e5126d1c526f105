"""Reports whose study has no images, matched with image sets by patient, date, body part, side and time."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from vlp.corpus.anatomy import anatomy_of, laterality_of, named

Row = Mapping[str, Any]

# header and report call neighbours by each other's name: a HAND protocol for a wrist, a leg that shows the ankle
_NEIGHBOURS = (
    {"hand", "wrist", "forearm"},
    {"knee", "lower_leg", "ankle"},
    {"extremity", "hand", "wrist", "forearm"},
    {"extremity", "knee", "lower_leg", "ankle"},
)


def neighbours(first: str, second: str) -> bool:
    """Whether one of two anatomies is at times called by the other's name; also where they are the same."""
    return first == second or any({first, second} <= group for group in _NEIGHBOURS)


class Match(NamedTuple):
    """What became of one report: a study, or the reason why it has none."""

    study: str = ""
    how: str = ""  # day, day_anatomy, day_time or later_day
    reason: str = ""  # ambiguous_pair, anatomy_mismatch or report_without_images


class _Item(NamedTuple):
    """A report or an image set, as far as it tells what it belongs to."""

    key: Any  # index of the report, name of the study
    patient: str
    day: str  # ISO 8601; "" where not known
    time: str  # hh:mm:ss; "" where not known
    anatomies: frozenset[str]  # that it shows or speaks of; empty where not known
    side: str  # R, L, B or ""


def by_day(reports: Sequence[Row], studies: Mapping[str, Sequence[Row]], days: int, language: str) -> list[Match]:
    """A :class:`Match` for each of ``reports``, from the free ``studies`` of the same patient.

    On one day: the only report and the only image set (``day_anatomy`` where both name the same body part, ``day`` where
    one does not say); among several, those that name a body part or side that no other of the day has; else, where all
    have a time, those whose times interleave (each report is written after its images and before the next ones).

    With ``days``, a report that found nothing on its own day goes to the only image set of the days before it, where
    both name the same body part and no other report could be meant (``later_day``). Off by default: a patient who is
    X-rayed daily, with one report and one film missing, would get a wrong pair that nothing in the data shows.
    """
    texts = [_report(index, row) for index, row in enumerate(reports)]
    films = [_study(name, rows, language) for name, rows in sorted(studies.items())]
    waiting: dict[tuple[str, str], list[_Item]] = defaultdict(list)
    for item in sorted(texts, key=lambda t: (t.time, reports[t.key]["report_id"])):
        waiting[item.patient, item.day].append(item)
    free: dict[tuple[str, str], list[_Item]] = defaultdict(list)
    for item in films:
        if item.patient and item.day:
            free[item.patient, item.day].append(item)
    out: dict[int, Match] = {}
    for key, items in waiting.items():
        out.update(_one_day(items, free.get(key, [])))
    if days:
        used = {match.study for match in out.values()}
        left = [t for t in texts if out[t.key].reason == "report_without_images" and t.patient and t.day]
        out.update(_later(left, [f for f in films if f.key not in used and f.patient and f.day], texts, days))
    return [out[index] for index in range(len(reports))]


def _one_day(reports: Sequence[_Item], films: Sequence[_Item]) -> dict[int, Match]:
    if not films:
        return {r.key: Match(reason="report_without_images") for r in reports}
    if len(reports) == len(films) == 1:
        report, film = reports[0], films[0]
        if not _possible(report, film):
            return {report.key: Match(reason="anatomy_mismatch")}
        return {report.key: Match(film.key, "day_anatomy" if _agree(report, film) else "day")}
    out = {r.key: Match(reason="ambiguous_pair") for r in reports}
    sure = _mutual(reports, films)
    for report, film in sure:
        others = [f for f in films if f is not film and _possible(report, f)]
        others += [r for r in reports if r is not report and _possible(r, film)]
        if all(any(o is end for two in sure for end in two) for o in others):
            out[report.key] = Match(film.key, "day_anatomy")
    if all(match.reason for match in out.values()):
        out.update({report.key: Match(film.key, "day_time") for report, film in _interleaved(reports, films)})
    return out


def _mutual(reports: Sequence[_Item], films: Sequence[_Item]) -> list[tuple[_Item, _Item]]:
    """Pairs that agree where neither agrees with anything else."""
    fits = [(r, f) for r in reports for f in films if _agree(r, f)]
    return [(r, f) for r, f in fits if sum(a is r for a, _ in fits) == 1 and sum(b is f for _, b in fits) == 1]


def _interleaved(reports: Sequence[_Item], films: Sequence[_Item]) -> list[tuple[_Item, _Item]]:
    """All reports and films in the order of their times, where film and report take turns; else nothing."""
    if len(reports) != len(films) or not all(item.time for item in (*reports, *films)):
        return []
    pairs = list(zip(sorted(reports, key=lambda r: r.time), sorted(films, key=lambda f: f.time), strict=True))
    times = [time for report, film in pairs for time in (film.time, report.time)]
    turns = all(a < b for a, b in pairwise(times))
    return pairs if turns and all(_possible(r, f) for r, f in pairs) else []


def _later(reports: Sequence[_Item], films: Sequence[_Item], texts: Sequence[_Item], days: int) -> dict[int, Match]:
    def near(report: _Item, film: _Item) -> bool:
        return report.patient == film.patient and bool(report.day) and 0 <= _days(film.day, report.day) <= days

    out: dict[int, Match] = {}
    for report in reports:
        found = [f for f in films if near(report, f)]
        if len(found) == 1 and _agree(report, found[0]):
            # any other unpaired text near that film could be its report, also one refused as ambiguous
            rivals = [t for t in texts if t is not report and near(t, found[0]) and _possible(t, found[0])]
            out[report.key] = Match(reason="ambiguous_pair") if rivals else Match(found[0].key, "later_day")
        elif len(found) > 1:
            out[report.key] = Match(reason="ambiguous_pair")
    return out


def _possible(a: _Item, b: _Item) -> bool:
    """Nothing that both state speaks against it."""
    if {a.side, b.side} == {"R", "L"}:
        return False
    if not a.anatomies or not b.anatomies or a.anatomies & b.anatomies:
        return True
    return any(neighbours(first, second) for first in a.anatomies for second in b.anatomies)


def _agree(a: _Item, b: _Item) -> bool:
    return bool(a.anatomies & b.anatomies) and {a.side, b.side} != {"R", "L"}


def _report(index: int, row: Row) -> _Item:
    language = row.get("language") or ""
    title, technique = ((row.get(name) or "", language) for name in ("exam", "technique"))
    day, time = _moment(row["date"])
    anatomies = named("anatomy", [title]) or named("anatomy", [technique])
    return _Item(index, row["patient"], day, time, anatomies, laterality_of("", [title, technique]))


def _study(name: str, rows: Sequence[Row], language: str) -> _Item:
    moments = sorted({_moment(r["date"]) for r in rows if r["date"]})
    one_day = len({day for day, _ in moments}) == 1
    anatomies: set[str] = set()
    sides: set[str] = set()
    for row in rows:
        words = [(row.get("description") or "", language)]
        anatomies.add(anatomy_of(row.get("body_part") or "", words))
        sides.add(laterality_of(row.get("laterality") or "", words))
    sides.discard("")
    day, time = moments[0] if one_day else ("", "")
    side = "B" if len(sides) > 1 else next(iter(sides), "")
    return _Item(name, rows[0]["patient"], day, time, frozenset(anatomies - {"unknown"}), side)


def _moment(written: str | None) -> tuple[str, str]:
    """Day and time of an ISO 8601 date; "" each where missing or not a date."""
    try:
        moment = dt.datetime.fromisoformat(written or "")
    except ValueError:
        return "", ""
    return moment.date().isoformat(), moment.time().isoformat() if len(written or "") > 10 else ""


def _days(first: str, second: str) -> int:
    return (dt.date.fromisoformat(second) - dt.date.fromisoformat(first)).days
