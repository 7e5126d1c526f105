"""Edits of a text and the map of offsets that they leave, so that a finding in the cleaned text is found in the safe one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """``text[start:end]`` becomes ``new``."""

    start: int
    end: int
    new: str = ""


@dataclass(frozen=True)
class Piece:
    """``cleaned[start:end]`` came from ``source[source_start:source_end]``; ``same`` = unchanged, character by character."""

    start: int
    end: int
    source_start: int
    source_end: int
    same: bool


@dataclass(frozen=True)
class Edited:
    """A text, the source it came from, and which piece came from where. Pieces are in order and cover both texts."""

    text: str
    source: str
    pieces: tuple[Piece, ...]

    @classmethod
    def unchanged(cls, text: str) -> Edited:
        """``text`` before any edit."""
        return cls(text, text, (Piece(0, len(text), 0, len(text), True),))

    def edit(self, edits: Iterable[Edit]) -> Edited:
        """The text with ``edits`` (of offsets in this text) made; overlapping ones give way to the first.

        The map still leads to the first source.
        """
        steps = _pieces(self.text, edits)
        parts = [self.text[a:b] if new is None else new for a, b, new in steps]
        pieces: list[Piece] = []
        position = 0
        for (a, b, new), part in zip(steps, parts, strict=True):
            end = position + len(part)
            if new is None:
                pieces += self._shifted(a, b, position - a)
            else:
                start_at, end_at = self.to_source(a, b)
                pieces.append(Piece(position, end, start_at, end_at, False))
            position = end
        return Edited("".join(parts), self.source, tuple(_joined(pieces)))

    def to_source(self, start: int, end: int) -> tuple[int, int]:
        """The range of the source that ``text[start:end]`` came from; a replaced piece counts as a whole."""
        if start >= end:
            at = self._at(start)
            return at, at
        first, last = self._piece(start), self._piece(end - 1)
        begin = first.source_start + (start - first.start if first.same else 0)
        stop = last.source_start + (end - last.start) if last.same else last.source_end
        return begin, max(begin, stop)

    def original(self, start: int, end: int) -> str:
        """The source behind ``text[start:end]``: undoes an expansion."""
        begin, stop = self.to_source(start, end)
        return self.source[begin:stop]

    def _at(self, position: int) -> int:
        if not self.pieces:
            return 0
        if position >= len(self.text):
            return self.pieces[-1].source_end
        piece = self._piece(position)
        if piece.same:
            return piece.source_start + position - piece.start
        return piece.source_start if position == piece.start else piece.source_end

    def _piece(self, position: int) -> Piece:
        """The piece that holds the character at ``position``."""
        index = bisect_right(self.pieces, position, key=lambda piece: piece.start) - 1
        while self.pieces[index].end <= position:
            index += 1
        return self.pieces[index]

    def _shifted(self, start: int, end: int, shift: int) -> list[Piece]:
        out = []
        for piece in self.pieces:
            a, b = max(piece.start, start), min(piece.end, end)
            if a > b or (a == b and piece.start != piece.end) or (a == b and not start <= a < end):
                continue
            if piece.same:
                offset = piece.source_start - piece.start
                out.append(Piece(a + shift, b + shift, a + offset, b + offset, True))
            else:
                out.append(Piece(a + shift, b + shift, piece.source_start, piece.source_end, False))
        return out


def _pieces(text: str, edits: Iterable[Edit]) -> list[tuple[int, int, str | None]]:
    """Ranges that cover ``text`` in order; the third value is what replaces the range, None where it stays."""
    out: list[tuple[int, int, str | None]] = []
    position = 0
    for edit in sorted(edits, key=lambda item: (item.start, -item.end)):
        if edit.start < position or edit.end < edit.start or edit.end > len(text):
            continue
        if edit.start > position:
            out.append((position, edit.start, None))
        out.append((edit.start, edit.end, edit.new))
        position = edit.end
    if position < len(text) or not out:
        out.append((position, len(text), None))
    return out


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """``pieces`` with unchanged neighbours put together."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if last and last.same and piece.same and last.source_end == piece.source_start and last.end == piece.start:
            out[-1] = Piece(last.start, piece.end, last.source_start, piece.source_end, True)
        else:
            out.append(piece)
    return out
