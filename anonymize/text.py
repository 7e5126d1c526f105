"""A report's text as the detectors see it: folded to lower case without accents, at unchanged offsets."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

WORD = re.compile(r"[^\W\d_]+(?:['’\-‐‑][^\W\d_]+)*")
TOKEN = re.compile(r"[^\W\d_]+|\d+")


class _Fold(dict[int, str]):
    """Maps each code point to one base character in lower case, so that offsets stay."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "’‘ʼ`´":
            base = "'"
        elif char in "‐‑‒–—−":
            base = "-"
        elif char not in "\n\r" and char.isspace():
            base = " "
        else:
            base = unicodedata.normalize("NFD", char)[0].lower()
            base = base if len(base) == 1 else char
        self[code] = base
        return base


_FOLD = _Fold()


def fold(text: str) -> str:
    """Lower case without accents, curly signs straightened; the same length as ``text``."""
    return text.translate(_FOLD)


def collapse(text: str) -> str:
    """Folded letters and digits of ``text`` only: the form in which names are compared. Ligatures are spelled out."""
    return "".join(
        char for char in fold(text.replace("œ", "oe").replace("Œ", "OE").replace("æ", "ae")) if char.isalnum()
    )


def words_of(text: str) -> list[str]:
    """Folded runs of letters."""
    return [fold(match.group()) for match in re.finditer(r"[^\W\d_]+", text)]


@dataclass(frozen=True)
class Token:
    """A run of letters or of digits: ``text[start:end]``."""

    start: int
    end: int
    folded: str
    shape: str  # "upper" (two or more capitals), "title" (one capital first), "lower", "mixed", "digit"


class View:
    """One text and what several detectors ask about it. Computed once, when first needed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = fold(text)

    @cached_property
    def tokens(self) -> list[Token]:
        """Runs of letters and runs of digits, in order."""
        return [
            Token(m.start(), m.end(), self.folded[m.start() : m.end()], shape(m.group()))
            for m in TOKEN.finditer(self.text)
        ]

    @cached_property
    def case(self) -> str:
        """``lower`` or ``upper`` where the letters of the whole text are nearly all so, else ``mixed``."""
        upper = sum(map(str.isupper, self.text))
        lower = sum(map(str.islower, self.text))
        if upper <= 0.004 * lower:
            return "lower"
        return "upper" if lower <= 0.1 * upper else "mixed"

    @cached_property
    def lines(self) -> list[tuple[int, int]]:
        """Start and end of each line, without the line break."""
        return [(m.start(), m.end()) for m in re.finditer(r"[^\n]*", self.text) if m.end() > m.start()]

    @cached_property
    def lower_words(self) -> frozenset[str]:
        """Folded words that stand in lower case somewhere in this text: seldom names."""
        return frozenset(token.folded for token in self.tokens if token.shape == "lower")

    def line_of(self, position: int) -> tuple[int, int]:
        """Start and end of the line around ``position``."""
        end = self.text.find("\n", position)
        return self.text.rfind("\n", 0, position) + 1, len(self.text) if end < 0 else end


def shape(word: str) -> str:
    """How ``word`` is written: upper, title, lower, mixed or digit."""
    if word[0].isdigit():
        return "digit"
    if word.islower():
        return "lower"
    if word.isupper():
        return "upper" if len(word) > 1 else "title"
    return "title" if word[0].isupper() and word[1:].islower() else "mixed"


@lru_cache(maxsize=4)
def view_of(text: str) -> View:
    """The view of ``text``, shared by the detectors that look at the same report."""
    return View(text)


def alternatives(entries: list[str] | frozenset[str]) -> str:
    """A regular expression for any of ``entries`` in folded text: longest first, blanks and hyphens flexible."""
    if not entries:
        return "(?!)"  # matches nowhere
    forms = {fold(str(entry)) for entry in entries}
    parts = []
    for form in sorted(forms, key=lambda item: (-len(item), item)):
        part = re.escape(form).replace(r"\ ", r"[ \-]{1,3}").replace("'", "'[ ]?")
        parts.append(part)
    return "(?:" + "|".join(parts) + ")"
