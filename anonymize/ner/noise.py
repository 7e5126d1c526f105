"""What scanners, typists and exports do to a document: case, lost accents, misread letters, broken lines, lost blanks.

Every change keeps the labels on their letters.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right

from anonymize.ner.grammar import Labelled
from anonymize.ner.lexicon import Lexicon
from anonymize.text import fold

# Letters that optical character recognition takes for each other.
_MISREAD = {
    "l": "1",
    "1": "l",
    "0": "O",
    "O": "0",
    "I": "l",
    "5": "S",
    "S": "5",
    "B": "8",
    "8": "B",
    "rn": "m",
    "é": "e",
    "c": "e",
    "e": "c",
    "u": "n",
    "n": "u",
    "i": "l",
}
_VOWELS, _CONSONANTS = "aeiou", "bcdfglmnprstvz"


class Vocabulary:
    """Words of the language that no list of names holds, and words that no list holds at all."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._words = sorted(word for word in lexicon.words() if len(word) > 3 and not any(lexicon.codes(word)[1:]))

    def draw(self, draw: random.Random) -> str:
        """One word in lower case; every third is made up of two."""
        word = draw.choice(self._words)
        if draw.random() < 0.33:
            other = draw.choice(self._words)
            word = word[: draw.randint(2, len(word) - 1)] + other[draw.randint(1, len(other) - 3) :]
        return word


def disturb(document: Labelled, draw: random.Random, vocabulary: Vocabulary) -> Labelled:
    """``document`` as one of many systems would hand it over; most stay as they are.

    In every second one some unlabelled words give way to others, because a grammar knows few words and a hospital many.
    """
    if draw.random() < 0.5:
        document = _other_words(document, draw, vocabulary)
    if draw.random() < 0.15:
        document = _rename(document, draw)
    chance = draw.random()
    if chance < 0.07:
        document = _map(document, str.upper)
    elif chance < 0.13:
        document = _map(document, str.lower)
    elif chance < 0.18:
        document = _recase_names(document, str.lower, draw)
    elif chance < 0.24:
        document = _recase_names(document, str.upper, draw)
    elif chance < 0.28:
        document = _recase_names(document, str.capitalize, draw)
    if draw.random() < 0.12:
        document = _map(document, _without_accent)
    if draw.random() < 0.05:
        document = _misread(document, draw)
    if draw.random() < 0.12:
        document = _wrap(document, draw)
    if draw.random() < 0.06:
        document = _blanks(document, draw)
    return document


def _other_words(document: Labelled, draw: random.Random, vocabulary: Vocabulary) -> Labelled:
    rate = draw.choice((0.1, 0.25, 0.5))
    labelled = bytearray(len(document.text))
    for start, end, _ in document.spans:
        labelled[start:end] = b"\1" * (end - start)
    pieces, position = [], 0
    moves: list[tuple[int, int]] = []  # place in the old text, change of length up to there
    moved = 0
    for match in re.finditer(r"[^\W\d_]{4,}", document.text):
        start, end = match.span()
        old = match.group()
        if labelled[start] or draw.random() >= rate or old[1:].isupper():
            continue
        new = vocabulary.draw(draw)
        if draw.random() < 0.04:
            new = "".join(draw.choices("ABCDEFGHIKLMNOPRSTVX", k=draw.randint(2, 5)))
        elif old[0].isupper():
            new = new.capitalize()
        pieces += [document.text[position:start], new]
        position = end
        moved += len(new) - len(old)
        moves.append((end, moved))
    if not moves:
        return document
    places = [place for place, _ in moves]

    def shifted(offset: int) -> int:
        index = bisect_right(places, offset) - 1
        return offset + (moves[index][1] if index >= 0 else 0)

    text = "".join([*pieces, document.text[position:]])
    return Labelled(text, tuple((shifted(start), shifted(end), kind) for start, end, kind in document.spans))


def _map(document: Labelled, change: object) -> Labelled:
    """Letter by letter; a letter whose new form has another length stays."""
    text = "".join(new if len(new := change(char)) == 1 else char for char in document.text)  # type: ignore[operator]
    return Labelled(text, document.spans)


def _without_accent(char: str) -> str:
    return char if not char.isalpha() else fold(char).upper() if char.isupper() else fold(char)


def _recase_names(document: Labelled, change: object, draw: random.Random) -> Labelled:
    text = list(document.text)
    for start, end, kind in document.spans:
        if kind in ("name", "town", "institution", "address") and draw.random() < 0.8:
            piece = document.text[start:end]
            new = re.sub(r"[^\W\d_]+", lambda match: change(match.group()), piece)  # type: ignore[operator]
            if len(new) == len(piece):
                text[start:end] = new
    return Labelled("".join(text), document.spans)


def _rename(document: Labelled, draw: random.Random) -> Labelled:
    """Names no list holds: in some names a few letters give way to others of their sort."""
    text = list(document.text)
    for start, end, kind in document.spans:
        if kind in ("name", "town") and draw.random() < 0.6:
            for place in range(start + 1, end):
                letter = fold(text[place])
                if letter.isalpha() and draw.random() < 0.25:
                    new = draw.choice(_VOWELS if letter in _VOWELS else _CONSONANTS)
                    text[place] = new.upper() if text[place].isupper() else new
    return Labelled("".join(text), document.spans)


def _misread(document: Labelled, draw: random.Random) -> Labelled:
    rate = draw.uniform(0.005, 0.03)
    edits = {}
    for place, char in enumerate(document.text):
        if char in _MISREAD and draw.random() < rate:
            edits[place] = _MISREAD[char]
        elif char == " " and draw.random() < rate / 3:
            edits[place] = ""
    return _edit(document, edits)


def _wrap(document: Labelled, draw: random.Random) -> Labelled:
    """Hard line breaks near a fixed column, also inside names; sometimes with an indent."""
    width, indent = draw.randint(28, 90), " " * draw.choice((0, 0, 0, 2, 6))
    edits, column = {}, 0
    for place, char in enumerate(document.text):
        column = 0 if char == "\n" else column + 1
        if char == " " and column >= width:
            edits[place] = "\n" + indent
            column = 0
    return _edit(document, edits)


def _blanks(document: Labelled, draw: random.Random) -> Labelled:
    edits = {}
    for match in re.finditer(r"(?<=:) | ", document.text):
        if match.start() and document.text[match.start() - 1] == ":" and draw.random() < 0.4:
            edits[match.start()] = ""
        elif draw.random() < 0.03:
            edits[match.start()] = draw.choice(("  ", "   ", "\t"))
    return _edit(document, edits)


def _edit(document: Labelled, edits: dict[int, str]) -> Labelled:
    """Replace single letters by texts of any length."""
    pieces, shifts, moved = [], [0] * (len(document.text) + 1), 0
    for place, char in enumerate(document.text):
        shifts[place] = moved
        new = edits.get(place, char)
        pieces.append(new)
        moved += len(new) - 1
    shifts[len(document.text)] = moved
    spans = tuple(
        (start + shifts[start], end + shifts[end], kind)
        for start, end, kind in document.spans
        if end + shifts[end] > start + shifts[start]
    )
    return Labelled("".join(pieces), spans)
