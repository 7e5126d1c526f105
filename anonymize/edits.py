"""Edits of a text: applied, one after another, and as the rows that the vault keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anonymize.report import Replacement


@dataclass(frozen=True)
class Edit:
    """``text[start:end]`` of an original gives way to ``new``."""

    start: int
    end: int
    kind: str
    new: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """``text`` after ``edits``, which are in order and do not overlap."""
    pieces, position = [], 0
    for edit in edits:
        pieces += [text[position : edit.start], edit.new]
        position = edit.end
    return "".join([*pieces, text[position:]])


def over(text: str, first: Sequence[Edit], second: Sequence[Edit]) -> list[Edit]:
    """Edits of ``text`` that do what ``first`` does, and then ``second`` to the result (offsets in the result).

    Edits that meet become one; what the second look leaves of a first replacement stays in it.
    """
    between = apply(text, first)
    bounds, moved = [], 0  # place of each first edit in ``between``
    for edit in first:
        bounds.append((edit.start + moved, edit.start + moved + len(edit.new)))
        moved += len(edit.new) - (edit.end - edit.start)

    def back(place: int, before: int) -> int:
        """The place in ``text`` of one in ``between`` that has ``before`` first edits on its left."""
        return place + (first[before - 1].end - bounds[before - 1][1] if before else 0)

    out: list[Edit] = []
    index = 0
    waiting = list(reversed(second))
    while waiting:
        members = [waiting.pop()]
        low, high = members[0].start, members[0].end
        while index < len(first) and bounds[index][1] <= low:
            out.append(first[index])
            index += 1
        met = index
        while True:  # edits chain: a first one reaches into the next second one, and so on
            if index < len(first) and bounds[index][0] < high:
                low, high = min(low, bounds[index][0]), max(high, bounds[index][1])
                index += 1
            elif waiting and waiting[-1].start < high:
                members.append(waiting.pop())
                high = max(high, members[-1].end)
            else:
                break
        within = [Edit(edit.start - low, edit.end - low, edit.kind, edit.new) for edit in members]
        out.append(Edit(back(low, met), back(high, index), members[0].kind, apply(between[low:high], within)))
    return [*out, *first[index:]]


def replacements(report_id: str, field: str, text: str, edits: Iterable[Edit]) -> list[Replacement]:
    """What ``edits`` changed in a ``field`` of a report, by its place in the safe text."""
    rows, moved = [], 0
    for edit in edits:
        original = text[edit.start : edit.end]
        if edit.new != original:
            row = Replacement(
                report_id, field, edit.kind, edit.start + moved, len(edit.new), original, edit.start, edit.new
            )
            rows.append(row)
        moved += len(edit.new) - (edit.end - edit.start)
    return rows
