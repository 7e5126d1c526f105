"""Whole dates in a text, however they are written: digits with any separator or none, month names, words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path

from anonymize.config import ConfigError
from anonymize.dates import forms_of
from anonymize.languages import Pack
from anonymize.text import View, fold

_SEPARATOR = r"[ \u00a0]?[./\-_,| ][ \u00a0]?"
_FORMS = tuple(
    re.compile(rf"(?<!\d){form}(?!\d)")
    for form in (
        rf"\d{{1,2}}{_SEPARATOR}\d{{1,2}}{_SEPARATOR}(?:19|20)\d\d",
        rf"(?:19|20)\d\d{_SEPARATOR}\d{{1,2}}{_SEPARATOR}\d{{1,2}}",
        r"\d{1,2}([./\-])\d{1,2}\1\d\d",
        r"\d{8}",
        r"(?:19|20)\d{6}(?=\d{4,6}(?!\d))",
    )
)
_SPACED = re.compile(r"(?<![\d])\d(?:[ .\-/]{1,3}\d){7}(?![ .\-/]{0,3}\d)")
_JOINED = re.compile(r"(?<!\d)((?:19|20)\d{6})\d{4,6}(?!\d)")
_LINK = 3  # longest word between the parts of a date ("del", "the")


class DateFinder:
    """Finds whole dates (day, month and year) in texts of one language. Build it with :func:`finder_of`."""

    def __init__(self, pack: Pack) -> None:
        self._forms = forms_of(pack)
        self._months = {fold(name): index for index, names in enumerate(self._forms.month_names, 1) for name in names}
        try:
            values = pack["numbers"]["values"]
        except ConfigError:  # the language has no number words yet: dates in words are not found
            values = {}
        self._values: dict[str, int] = {fold(str(word)): int(value) for word, value in values.items()}
        self._split = lru_cache(maxsize=10_000)(self._split_word)

    def find(self, view: View) -> list[tuple[int, int, date]]:
        """Start, end and day of each date; one place may be read in two ways."""
        found = [*self._digits(view.folded), *self._named(view)]
        return sorted(set(found))

    def _digits(self, folded: str) -> Iterator[tuple[int, int, date]]:
        for form in _FORMS:
            for match in form.finditer(folded):
                text = re.sub(_SEPARATOR, "/", match.group())
                yield from self._parsed(match.start(), match.end(), text)
        for match in _JOINED.finditer(folded):
            yield from self._parsed(*match.span(1), match.group(1))
        for match in _SPACED.finditer(folded):
            yield from self._parsed(*match.span(), re.sub(r"\D", "", match.group()))

    def _parsed(self, start: int, end: int, text: str) -> Iterator[tuple[int, int, date]]:
        written = self._forms.parse(text)
        if written and written.whole:
            yield start, end, written.whole

    def _named(self, view: View) -> Iterator[tuple[int, int, date]]:
        tokens = view.tokens
        for index, token in enumerate(tokens):
            month = self._months.get(token.folded)
            if month is None:
                continue
            before, first = self._number(view, index, -1)
            after, last = self._number(view, index, 1)
            readings = [(d, y, tokens[first].start, tokens[last].end) for d in before for y in after]
            for day in after:  # month first: "March 12, 1950"
                if day <= 31:
                    years, end = self._number(view, last, 1)
                    readings += [(day, year, token.start, tokens[end].end) for year in years]
            for day, written, start, end in readings:
                for year in (1900 + written, 2000 + written) if written < 100 else (written,):
                    try:
                        if 1 <= day <= 31 and 1850 <= year <= 2120:
                            yield start, end, date(year, month, day)
                    except ValueError:
                        continue

    def _number(self, view: View, index: int, step: int) -> tuple[list[int], int]:
        """The number beside a token, in digits or in words, in all readings; and the last token it takes."""
        tokens, place = view.tokens, index + step
        skipped = 0
        while 0 <= place < len(tokens) and skipped < 2 and self._links(tokens[place].folded):
            place += step
            skipped += 1
        values: list[int] = []
        last = index
        while 0 <= place < len(tokens) and len(values) < 14:
            word = tokens[place].folded
            if word.isdigit():
                if not values and len(word) <= 4:
                    return [int(word)], place
                break
            parts = self._split(word)
            if parts is None:
                break
            values = [*values, *parts] if step > 0 else [*parts, *values]
            last, place = place, place + step
        return _readings(values), last

    def _links(self, word: str) -> bool:
        return len(word) <= _LINK and not word.isdigit() and word not in self._values

    def _split_word(self, word: str) -> tuple[int, ...] | None:
        """A number word as values; compounds are taken apart (``neunzehnhundert``)."""
        if word in self._values:
            return (self._values[word],)
        for size in range(len(word) - 2, 1, -1):
            head, rest = word[:size], word[size:]
            if head in self._values and (parts := self._split(rest)) is not None:
                return (self._values[head], *parts)
        return None


def _readings(values: list[int]) -> list[int]:
    """What a row of number words can mean: 19 100 50 is 1950, and so is 19 50."""
    if not any(values):
        return []
    readings = {_sum(values)}
    for cut in range(1, len(values)):
        head, rest = _sum(values[:cut]), _sum(values[cut:])
        if 18 <= head <= 21 and rest < 100:
            readings.add(head * 100 + rest)
    return sorted(readings)


def _sum(values: list[int]) -> int:
    total = part = 0
    for value in values:
        if value == 1000:
            total, part = total + max(part, 1) * 1000, 0
        elif value == 100:
            part = max(part, 1) * 100
        elif value == 20 and part % 100 == 4:  # quatre-vingt
            part += 76
        else:
            part += value
    return total + part


_BUILT: dict[Path, DateFinder] = {}


def finder_of(pack: Pack) -> DateFinder:
    """The date finder of a pack."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = DateFinder(pack)
    return _BUILT[pack.folder]
