"""Text that knows where identities stand in it, and stays aligned while it is edited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Phi:
    """An identifying text: how it is written here, its label, and the true value it stands for."""

    text: str
    label: str  # NOM, PRENOM, DATE, DATE_NAISSANCE, ADRESSE, ZIP, VILLE, HOPITAL, TEL, MAIL, SECU, IPP, NDA, RPPS, ID
    value: str
    altered: bool = False  # a typing error was made in it on purpose


Piece = str | Phi


@dataclass(frozen=True)
class Span:
    """The place of a :class:`Phi`: code points, end exclusive."""

    start: int
    end: int
    phi: Phi


class Marked:
    """A sequence of plain and identifying pieces. Edits touch the plain pieces only, so spans stay exact."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces: list[Piece] = []
        for piece in pieces:
            if not (piece.text if isinstance(piece, Phi) else piece):
                continue
            if isinstance(piece, str) and self.pieces and isinstance(self.pieces[-1], str):
                self.pieces[-1] += piece
            else:
                self.pieces.append(piece)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(piece.text if isinstance(piece, Phi) else piece for piece in self.pieces)

    @property
    def spans(self) -> list[Span]:
        """Where the identities are."""
        found, at = [], 0
        for piece in self.pieces:
            length = len(piece.text) if isinstance(piece, Phi) else len(piece)
            if isinstance(piece, Phi):
                found.append(Span(at, at + length, piece))
            at += length
        return found

    def edit(self, change: Callable[[str], str]) -> Marked:
        """Apply ``change`` to each plain piece."""
        return Marked(piece if isinstance(piece, Phi) else change(piece) for piece in self.pieces)

    def edit_all(self, change: Callable[[str], str]) -> Marked:
        """Apply ``change`` to the plain pieces and to the identities (case, accents)."""
        return Marked(
            Phi(change(piece.text), piece.label, piece.value, piece.altered)
            if isinstance(piece, Phi)
            else change(piece)
            for piece in self.pieces
        )

    def sub(self, pattern: re.Pattern[str], replacement: str) -> Marked:
        """Replace ``pattern`` where the whole match lies outside identities; look-arounds see the identities' text.

        So ``de (?=[aeiou])`` finds the "de " that stands before a name that begins with a vowel.
        """
        text = self.text
        if not pattern.search(text):
            return self
        spans = self.spans
        pieces: list[Piece] = []
        at = 0
        for match in pattern.finditer(text):
            if any(match.start() < span.end and span.start < match.end() for span in spans):
                continue
            pieces += _cut(text, spans, at, match.start())
            pieces.append(match.expand(replacement))
            at = match.end()
        return Marked([*pieces, *_cut(text, spans, at, len(text))])

    def sentence_case(self) -> Marked:
        """The first letter in upper case, where it does not belong to an identity."""
        if self.pieces and isinstance(self.pieces[0], str):
            first = self.pieces[0]
            head = re.match(r"[\s\-•]*", first)
            cut = head.end() if head else 0
            return Marked([first[:cut] + first[cut : cut + 1].upper() + first[cut + 1 :], *self.pieces[1:]])
        return self

    def __add__(self, other: Marked | str) -> Marked:
        return Marked([*self.pieces, *(other.pieces if isinstance(other, Marked) else [other])])

    def __radd__(self, other: str) -> Marked:
        return Marked([other, *self.pieces])


def _cut(text: str, spans: list[Span], start: int, end: int) -> list[Piece]:
    """The pieces between two places, none of which lies inside an identity."""
    pieces: list[Piece] = []
    at = start
    for span in spans:
        if span.start >= start and span.end <= end:
            pieces += [text[at : span.start], span.phi]
            at = span.end
    return [*pieces, text[at:end]]


def upper_keeping_length(text: str) -> str:
    """Upper case, letter for letter (``ß`` stays)."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in text)
