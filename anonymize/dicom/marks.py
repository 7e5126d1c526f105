"""Marks of side, view and technique that stay in the pixels: ``marks`` of every language pack (dicom.yaml).

The marks of all packs count whatever ``languages`` says: none of them tells who a patient is.
"""

from __future__ import annotations

from functools import lru_cache

from anonymize.dicom.words import tokens
from anonymize.languages import available, load_pack


@lru_cache(maxsize=1)
def marks() -> frozenset[str]:
    """Folded marks, words separated by one blank."""
    found = (" ".join(tokens(str(mark))) for code in available() for mark in load_pack(code)["dicom"].get("marks", ()))
    return frozenset(mark for mark in found if mark)


def is_mark(text: str) -> bool:
    """Whether ``text`` is made of marks and of nothing else: every word belongs to one, single letters at most twice."""
    words = tokens(text)
    if not words or sum(len(word) == 1 for word in words) > 2:
        return False
    return _covered(words) or "".join(words) in _joined()


def is_joined_mark(letters: str) -> bool:
    """:func:`is_mark` for folded letters without blanks, as anonymize/dicom/reader.py gives them.

    One mark, or a mark of six letters and more with another of two and more before or behind it (``apportable``).
    """
    short = {mark.replace(" ", "") for mark in marks()}
    if letters in short:
        return True
    return any(
        (letters[:at] in short and letters[at:] in short) and max(at, len(letters) - at) >= 6
        for at in range(2, len(letters) - 1)
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
