"""Text as the network reads it: tokens, and for each kind of token a fixed row of feature numbers.

A token is a run of letters, a run of digits, one other sign, a run of line breaks or a wide gap. All features of a token
depend on its letters alone, so that their embeddings are added up once per distinct word and kept.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from anonymize.ner.lexicon import Lexicon
from anonymize.text import fold, view_of

_TOKEN = re.compile(r"([^\W\d_]+|\d+|\n+|[ \t\u00a0]{2,}|[^\w\s]|_)")
WORDS, AFFIXES, SHAPES, COMBINATIONS = 1 << 15, 1 << 14, 512, 9 * 5 * 5 * 5
_AFFIX0 = 1 + WORDS
_SHAPE0 = _AFFIX0 + AFFIXES
_LENGTH0 = _SHAPE0 + SHAPES
_LEXICON0 = _LENGTH0 + 16
_COMBINATION0 = _LEXICON0 + 9 + 5 + 5 + 5
ROWS = _COMBINATION0 + COMBINATIONS
"""Rows of the embedding table. Row 0 stands for nothing."""
COLUMNS = 11
"""Feature numbers of a token: word, three affixes, shape, length, four lexicon classes, their combination."""
WORD_COLUMNS, LEXICON_COLUMNS = slice(0, 1), slice(6, 11)
CONTEXTS = 6
"""Case of the document (lower, mixed, upper) times whether a blank stands before the token."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one text: their surfaces and where they stand (code points)."""

    surfaces: list[str]
    starts: list[int]
    ends: list[int]
    contexts: np.ndarray  # [tokens] int64, 0 to CONTEXTS - 1


def tokenize(text: str, case: str = "") -> Tokens:
    """Tokens of ``text`` in order. ``case`` is :attr:`anonymize.text.View.case` where it is known already."""
    parts = _TOKEN.split(text)  # what stands before a token, the token, and so on to the end
    edges = list(accumulate(map(len, parts)))
    starts = edges[:-1:2]
    apart = [text[start - 1].isspace() for start in starts]
    apart[:1] = [bool(starts[0]) and apart[0]] if starts else []  # the first token has none before it
    base = 2 * ("lower", "mixed", "upper").index(case or view_of(text).case)
    return Tokens(parts[1::2], starts, edges[1::2], base + np.array(apart, dtype=np.int64))


class Features:
    """Feature numbers of token surfaces."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def row(self, surface: str) -> list[int]:
        """``COLUMNS`` rows of the embedding table; 0 where the token lacks the feature."""
        if not surface[0].isalpha():
            sign = f"d{len(surface)}" if surface[0].isdigit() else surface[:1] + ("+" if len(surface) > 1 else "")
            year = surface[0].isdigit() and len(surface) == 4 and surface[:2] in ("19", "20")
            return [
                0,
                0,
                0,
                0,
                _SHAPE0 + _hash(sign + "y" * year) % SHAPES,
                _LENGTH0 + min(len(surface), 15),
                0,
                0,
                0,
                0,
                0,
            ]
        folded = fold(surface)
        frequency, given, surname, town = self._lexicon.codes(folded)
        return [
            1 + _hash("w" + folded) % WORDS,
            _AFFIX0 + _hash("p" + folded[:3]) % AFFIXES,
            _AFFIX0 + _hash("s" + folded[-3:]) % AFFIXES,
            _AFFIX0 + _hash("t" + folded[-2:]) % AFFIXES,
            _SHAPE0 + _hash(_shape(surface)) % SHAPES,
            _LENGTH0 + min(len(surface), 15),
            _LEXICON0 + frequency,
            _LEXICON0 + 9 + given,
            _LEXICON0 + 14 + surname,
            _LEXICON0 + 19 + town,
            _COMBINATION0 + ((frequency * 5 + given) * 5 + surname) * 5 + town,
        ]


def like_digits(surface: str) -> str:
    """One run of digits for all that have the features of ``surface``."""
    if len(surface) == 4 and surface[:2] in ("19", "20"):
        return "1900"
    return "1" * len(surface)


def _shape(word: str) -> str:
    if word.islower():
        return "x"
    if word.isupper():
        return "X" if len(word) == 1 else "XX"
    return "Xx" if word[0].isupper() and word[1:].islower() else "xX"


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())
