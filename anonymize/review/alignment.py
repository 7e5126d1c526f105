"""Which part of an original became which part of its safe text. All offsets are code points."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from anonymize.report import Span

SECOND_LOOK = "second_look"
CHANGED = "changed"
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """``original[start:end]`` stands as ``safe[safe_start:safe_end]``. Without a span the two are the same text."""

    start: int
    end: int
    safe_start: int
    safe_end: int
    span: Span | None


@dataclass(frozen=True)
class _Change:
    """``before[start:end]`` became ``after[new_start:new_end]``."""

    start: int
    end: int
    new_start: int
    new_end: int
    span: Span | None = None


@dataclass
class _Group:
    """Changes of both kinds that meet, and the range of the text between that they cover."""

    low: int
    high: int
    before: list[_Change] = field(default_factory=list)
    after: list[_Change] = field(default_factory=list)


class Alignment:
    """Pieces of both texts in order; together they are the whole of each."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._starts = [piece.start for piece in self.pieces]
        self._safe_starts = [piece.safe_start for piece in self.pieces]

    @property
    def spans(self) -> list[Span]:
        """What was replaced, with its extent in the original."""
        return [piece.span for piece in self.pieces if piece.span]

    def to_safe(self, start: int, end: int) -> tuple[int, int]:
        """The range of the safe text that holds what became of ``original[start:end]``; replacements are whole."""
        first, last = self._at(self._starts, start), self._at(self._starts, end, closing=True)
        low = first.safe_start if first.span else first.safe_start + start - first.start
        high = last.safe_end if last.span else last.safe_start + end - last.start
        return low, max(low, high)

    def to_original(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original that became ``safe[start:end]``; replacements are whole."""
        first, last = self._at(self._safe_starts, start), self._at(self._safe_starts, end, closing=True)
        low = first.start if first.span else first.start + start - first.safe_start
        high = last.end if last.span else last.start + end - last.safe_start
        return low, max(low, high)

    def _at(self, starts: list[int], position: int, closing: bool = False) -> Piece:
        """The piece around ``position``; with ``closing`` the one that ends there rather than the one that begins."""
        index = bisect_right(starts, position - 1 if closing else position) - 1
        return self.pieces[max(0, index)]


def align(original: str, spans: Sequence[Span], replacements: Sequence[str], safe: str, kind: str = "id") -> Alignment:
    """Pair ``original`` with ``safe``.

    Args:
        original: the text before.
        spans: what was found, in order and without overlaps.
        replacements: what each span became.
        safe: the text after: the original with its spans replaced, changed once more by a second look or (another
            version, edited by hand) in other ways, which a comparison finds.
        kind: of the spans that only the comparison finds.
    """
    between, first, moved = [], [], 0
    position = 0
    for span, new in zip(spans, replacements, strict=True):
        between += [original[position : span.start], new]
        first.append(_Change(span.start, span.end, span.start + moved, span.start + moved + len(new), span))
        moved += len(new) - (span.end - span.start)
        position = span.end
    middle = "".join([*between, original[position:]])
    changes: Sequence[_Change] = first
    if middle != safe:
        composed = _composed(first, _compared(middle, safe), kind)
        # what was left as it was is not replaced, whatever was found
        changes = [c for c in composed if original[c.start : c.end] != safe[c.new_start : c.new_end]]
    pieces, place, safe_place = [], 0, 0
    for change in changes:
        if change.start > place:
            pieces.append(Piece(place, change.start, safe_place, change.new_start, None))
        pieces.append(Piece(change.start, change.end, change.new_start, change.new_end, change.span))
        place, safe_place = change.end, change.new_end
    if place < len(original) or not pieces:
        pieces.append(Piece(place, len(original), safe_place, len(safe), None))
    return Alignment(pieces)


def _compared(before: str, after: str) -> list[_Change]:
    """Where two texts differ, by words; what they share at both ends is not compared."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    offset = sum(map(len, old[:head]))
    old, new = old[head : len(old) - tail], new[head : len(new) - tail]
    old_at, new_at = _edges(old, offset), _edges(new, offset)
    matcher = SequenceMatcher(None, old, new)
    return [
        _Change(old_at[a], old_at[b], new_at[c], new_at[d])
        for operation, a, b, c, d in matcher.get_opcodes()
        if operation != "equal"
    ]


def _composed(first: Sequence[_Change], second: Sequence[_Change], kind: str) -> list[_Change]:
    """``first`` and then ``second`` as one list of changes; changes that meet become one."""
    marks = [(change.new_start, change.new_end, 0, change) for change in first]
    marks += [(change.start, change.end, 1, change) for change in second]
    marks.sort(key=lambda mark: mark[:3])
    groups: list[_Group] = []
    for low, high, which, change in marks:
        last = groups[-1] if groups else None
        if last is None or not (low < last.high or (low == last.high and (low == high or last.low == last.high))):
            last = _Group(low, high)
            groups.append(last)
        last.high = max(last.high, high)
        (last.after if which else last.before).append(change)
    out: list[_Change] = []
    back = forth = 0  # how far the original and the safe text are ahead of the text between them
    for group in groups:
        start, new_start = group.low + back, group.low + forth
        if group.before:
            back = group.before[-1].end - group.before[-1].new_end
        if group.after:
            forth = group.after[-1].new_end - group.after[-1].end
        end, new_end = group.high + back, group.high + forth
        span = group.before[0].span if group.before else None
        if span is None or group.after:
            span = Span(start, end, span.kind if span else kind, 1.0, CHANGED)
        out.append(_Change(start, end, new_start, new_end, span))
    return out


def _edges(tokens: Sequence[str], offset: int) -> list[int]:
    edges = [offset]
    for token in tokens:
        edges.append(edges[-1] + len(token))
    return edges
