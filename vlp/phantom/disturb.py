"""What hurry does to a text: typing errors, dictation errors, capitals. Identities stay aligned."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence

from vlp.phantom.marked import Marked, Phi, Piece, upper_keeping_length

_WORD = re.compile(r"[^\W\d_]{5,}")


class Disturber:
    """Disturbs text. ``misheard`` are the pack's [pattern, replacement, share] of dictation."""

    def __init__(self, misheard: Sequence[Sequence[object]]) -> None:
        self._misheard = [(re.compile(str(p)), str(r), float(str(share))) for p, r, share in misheard]

    def misheard(self, text: Marked, rng: random.Random) -> Marked:
        """What a dictation system makes of some words."""

        def change(plain: str) -> str:
            for pattern, replacement, share in self._misheard:
                plain = pattern.sub(
                    lambda m, r=replacement, s=share: m.expand(r) if rng.random() < s else m.group(), plain
                )
            return plain

        return text.edit(change)

    def typing_errors(self, text: Marked, rng: random.Random, share: float) -> Marked:
        """One wrong key in ``share`` of the longer words."""
        return text.edit(
            lambda plain: _WORD.sub(lambda m: _slip(m.group(), rng) if rng.random() < share else m.group(), plain)
        )

    def name_errors(self, text: Marked, rng: random.Random, share: float) -> Marked:
        """One wrong key in ``share`` of the names of five letters and more."""
        if not share:
            return text
        pieces: list[Piece] = []
        for piece in text.pieces:
            if (
                isinstance(piece, Phi)
                and piece.label in ("NOM", "PRENOM")
                and len(piece.text) >= 5
                and rng.random() < share
            ):
                slipped = _slip(piece.text, rng)
                pieces.append(Phi(slipped, piece.label, piece.value, slipped != piece.text))
            else:
                pieces.append(piece)
        return Marked(pieces)

    def capitals(self, text: Marked, rng: random.Random) -> Marked:
        """All in capitals, in half of the cases without accents."""
        accents = rng.random() < 0.5
        return text.edit_all(lambda part: upper_keeping_length(part if accents else without_accents(part)))


def without_accents(text: str) -> str:
    """``text`` without diacritics, letter for letter."""
    return "".join(unicodedata.normalize("NFD", letter)[0] for letter in unicodedata.normalize("NFC", text))


def _slip(word: str, rng: random.Random) -> str:
    """One letter of the inside left out, doubled, or swapped with its neighbour."""
    at = rng.randrange(1, len(word) - 2)
    how = rng.randrange(3)
    if how == 0:
        return word[:at] + word[at + 1 :]
    if how == 1:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
