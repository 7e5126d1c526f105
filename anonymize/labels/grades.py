"""Kellgren-Lawrence grades as reports write them: the largest, and by knee where a side is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anonymize.labels.row import Mention, Qualifiers, Value
from anonymize.labels.scope import compile_patterns
from anonymize.sections import SectionSpan
from anonymize.text import fold

_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
_CLAUSE = re.compile(r"[,;\n]|\.(?=\s|$)")


@dataclass(frozen=True)
class _Read:
    grade: int
    start: int
    end: int
    section: str
    side: str


class Grades:
    """Reads grades by the patterns of ``values`` in ``labels.yaml``; each has a group ``value``.

    Args:
        values: patterns by label; only ``kl_grade`` is read. ``context`` beside it: words one of which must stand in
            the same section, so that "grade 2" of another scale is not taken.
        sides: patterns of ``left``, ``right`` and ``both``.
    """

    def __init__(self, values: Mapping[str, Sequence[str]], sides: Mapping[str, re.Pattern[str]]) -> None:
        self._pattern = compile_patterns(values.get("kl_grade"))
        self._context = compile_patterns(values.get("context")) if values.get("context") else None
        self._sides = sides

    def read(self, text: str, spans: Sequence[SectionSpan]) -> dict[str, Mention]:
        """``kl_grade``, ``kl_right``, ``kl_left`` of the counted sections; the conclusion outranks the results."""
        folded = fold(text)
        found = [read for span in spans for read in self._in_section(folded, span)]
        result: dict[str, Mention] = {}
        for label, sides in (
            ("kl_grade", ("", "left", "right", "both")),
            ("kl_right", ("right", "both")),
            ("kl_left", ("left", "both")),
        ):
            for section in ("conclusion", "results"):
                own = [read for read in found if read.section == section and read.side in sides]
                if own:
                    best = max(own, key=lambda read: read.grade)
                    qualifiers = Qualifiers(laterality=best.side)
                    result[label] = Mention(label, Value.PRESENT, best.start, best.end, section, qualifiers, best.grade)
                    break
        self._whole_knee(result, found)
        return result

    @staticmethod
    def _whole_knee(result: dict[str, Mention], found: Sequence[_Read]) -> None:
        """The larger of both knees is the grade of the study, also where each stands in another section."""
        sides = [result[name] for name in ("kl_right", "kl_left") if name in result]
        if sides and "kl_grade" in result:
            best = max([*sides, result["kl_grade"]], key=lambda mention: mention.grade or 0)
            if (best.grade or 0) > (result["kl_grade"].grade or 0):
                result["kl_grade"] = Mention(
                    "kl_grade", Value.PRESENT, best.start, best.end, best.section, best.qualifiers, best.grade
                )

    def _in_section(self, folded: str, span: SectionSpan) -> list[_Read]:
        matches = list(self._pattern.finditer(folded, span.start, span.end))
        if not matches or (self._context and not self._context.search(folded, span.start, span.end)):
            return []
        bounds = [span.start, *(m.end() for m in _CLAUSE.finditer(folded, span.start, span.end)), span.end]
        reads = []
        for index, match in enumerate(matches):
            begin = max(bound for bound in bounds if bound <= match.start())
            stop = min(bound for bound in bounds if bound >= match.end())
            if index + 1 < len(matches):
                stop = min(stop, matches[index + 1].start())
            floor = matches[index - 1].end() if index else span.start
            side = (
                self._first(folded, match.end(), stop)
                or self._last(folded, max(begin, floor), match.start())
                or self._last(folded, floor, match.start())
            )
            value = match["value"]
            grade = _ROMAN[value] if value in _ROMAN else int(value)
            reads.append(_Read(grade, match.start(), match.end(), span.name, side))
        return reads

    def _first(self, folded: str, start: int, end: int) -> str:
        at = {name: m.start() for name, words in self._sides.items() if (m := words.search(folded, start, end))}
        if "both" in at or ({"left", "right"} <= at.keys()):
            return "both"
        return min(at, key=lambda name: at[name]) if at else ""

    def _last(self, folded: str, start: int, end: int) -> str:
        at = {name: list(words.finditer(folded, start, end)) for name, words in self._sides.items()}
        at = {name: matches for name, matches in at.items() if matches}
        return max(at, key=lambda name: at[name][-1].start()) if at else ""
