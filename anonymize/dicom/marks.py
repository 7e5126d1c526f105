"""Marks of side, view and technique that stay in the pixels: ``marks`` of every language pack (dicom.yaml).

The marks of all packs count whatever ``languages`` says: none of them tells who a patient is.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from anonymize.dicom.words import tokens
from anonymize.languages import available, load_pack


@lru_cache(maxsize=1)
def marks() -> frozenset[str]:
    """Folded marks, words separated by one blank."""
    return frozenset(mark for code in available() for mark in _marks_of(code))


def _marks_of(code: str) -> set[str]:
    found = (" ".join(tokens(str(mark))) for mark in load_pack(code)["dicom"].get("marks", ()))
    return {mark for mark in found if mark}


def is_mark(text: str) -> bool:
    """Whether ``text`` is made of marks and of nothing else: every word belongs to one, single letters at most twice."""
    words = tokens(text)
    if not words or sum(len(word) == 1 for word in words) > 2:
        return False
    return _covered(words) or "".join(words) in _joined()


def is_joined_mark(letters: str) -> bool:
    """:func:`is_mark` for folded letters without blanks, as anonymize/dicom/reader.py gives them.

    One mark, or two of the same pack whose letters run into no name: six letters and more in all (``aperect``); a single
    letter goes only with three letters (``latr``) or with eight and more (``portabler``).
    """
    return letters in _short() or letters in _pairs()


@lru_cache(maxsize=1)
def _short() -> frozenset[str]:
    """Every mark without its blanks."""
    return frozenset(mark.replace(" ", "") for mark in marks())


@lru_cache(maxsize=1)
def _pairs() -> frozenset[str]:
    """Two marks of one pack in a row, in lengths in which none is a name: PALI is too short, and so is WALL with S."""
    packs = [{mark.replace(" ", "") for mark in _marks_of(code)} for code in available()]
    rows = ((one, other) for pack in packs for one, other in product(pack, repeat=2))
    return frozenset(
        one + other
        for one, other in rows
        if (len(one + other) >= 6 if min(len(one), len(other)) > 1 else len(one + other) == 4 or len(one + other) >= 9)
    )


@lru_cache(maxsize=1)
def long_marks() -> tuple[str, ...]:
    """Joined marks of seven letters and more: so far from any name that a letter may be misread."""
    return tuple(sorted(mark for mark in _joined() if len(mark) >= 7))


@lru_cache(maxsize=1)
def _joined() -> frozenset[str]:
    """Marks of four letters and more without their blanks, because narrow blanks are not read."""
    return frozenset(joined for mark in marks() if len(joined := mark.replace(" ", "")) >= 4)


def _covered(words: list[str]) -> bool:
    """Whether ``words`` can be cut into marks."""
    if not words:
        return True
    longest = max(mark.count(" ") + 1 for mark in marks())
    counts = range(min(longest, len(words)), 0, -1)
    return any(" ".join(words[:count]) in marks() and _covered(words[count:]) for count in counts)
