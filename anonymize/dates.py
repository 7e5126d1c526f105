"""Dates as people write them: parse, move, write back in the same form."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from anonymize.languages import Pack
from anonymize.text import fold

_PIVOT = 35  # two-digit years up to this one are 20xx


@dataclass(frozen=True)
class Written:
    """A parsed date; what the text does not give is None. ``render`` writes another date in the same form."""

    year: int | None
    month: int | None
    day: int | None
    render: Callable[[date], str]

    @property
    def whole(self) -> date | None:
        """The day, where it is given in full."""
        return date(self.year, self.month, self.day) if self.year and self.month and self.day else None


class DateForms:
    """Parses and renders the forms of one language. Build it once per pack with :func:`forms_of`."""

    def __init__(self, pack: Pack) -> None:
        words = pack["pack"]
        self.month_names: list[list[str]] = [[str(name) for name in names] for names in words["months"]]
        self._month = {fold(name): index for index, names in enumerate(self.month_names, 1) for name in names}
        names = "|".join(sorted(map(re.escape, self._month), key=len, reverse=True))
        ordinals = "|".join(re.escape(fold(word)) for word in words["first_of_month"])
        self.order: str = words["date_order"]
        self.month_regex = rf"(?:{names})\b\.?"
        self._textual = re.compile(
            rf"(?:(?P<day>\d{{1,2}})(?P<ordinal>{ordinals}|\.)?(?P<s1>[ .\-/]{{0,3}}(?:de |d')?))?"
            rf"(?P<month>{names})(?P<dot>\.?)(?P<s2>[ .,\-/]{{0,3}}(?:de |del |d')?)(?P<year>\d{{4}}|\d{{2}})?$"
        )
        self._month_first = re.compile(
            rf"(?P<month>{names})(?P<dot>\.?) (?P<day>\d{{1,2}})(?P<ordinal>st|nd|rd|th)?(?P<s2>,? )(?P<year>\d{{4}})$"
        )

    def parse(self, text: str) -> Written | None:
        """``text`` as a date, or None where it is none or impossible (31/02, month 14)."""
        try:
            folded = fold(text)
            return self._parse_spaced(folded) or self._parse_digits(folded) or self._parse_text(text, folded)
        except ValueError:
            return None

    def _parse_spaced(self, folded: str) -> Written | None:
        """``1 6 0 3 2 0 0 9``, with or without separators between the groups."""
        if not re.fullmatch(r"\d(?: ?[/.\-]? ?\d){5,7}", folded) or not re.match(r"\d \d", folded):
            return None
        if re.fullmatch(r"\d{1,2} \d{1,2} (?:\d{4}|\d{2})", folded):
            return None
        places = [index for index, char in enumerate(folded) if char.isdigit()]
        digits = "".join(folded[index] for index in places)
        if len(digits) not in (6, 8):
            return None
        inner = self._parse_digits(digits)

        def render(new: date) -> str:
            chars = list(folded)
            for index, digit in zip(places, inner.render(new) if inner else "", strict=True):
                chars[index] = digit
            return "".join(chars)

        return Written(inner.year, inner.month, inner.day, render) if inner else None

    def _parse_digits(self, folded: str) -> Written | None:
        if re.fullmatch(r"\d{8}", folded):
            if folded[:2] in ("19", "20") and _valid(int(folded[:4]), int(folded[4:6]), int(folded[6:])):
                return Written(int(folded[:4]), int(folded[4:6]), int(folded[6:]), lambda new: f"{new:%Y%m%d}")
            day, month, year = int(folded[:2]), int(folded[2:4]), int(folded[4:])
            return Written(year, month, day, lambda new: f"{new:%d%m%Y}") if _valid(year, month, day) else None
        if re.fullmatch(r"\d{6}", folded):
            day, month, year = int(folded[:2]), int(folded[2:4]), _century(int(folded[4:]))
            return Written(year, month, day, lambda new: f"{new:%d%m%y}") if _valid(year, month, day) else None
        match = re.fullmatch(r"(\d{4})(\s?[/.\-]\s?|\s)(\d{1,2})(\s?[/.\-]\s?|\s)(\d{1,2})", folded)
        if match:
            y, s1, m, s2, d = match.groups()
            if not _valid(int(y), int(m), int(d)):
                return None
            return Written(
                int(y), int(m), int(d), lambda new: f"{new.year}{s1}{_pad(new.month, m)}{s2}{_pad(new.day, d)}"
            )
        match = re.fullmatch(r"(\d{1,2})(\s?[/.\-]\s?|\s)(\d{1,2})(\s?[/.\-]\s?|\s)(\d{4}|\d{2})", folded)
        if match:
            first, s1, second, s2, y = match.groups()
            year = int(y) if len(y) == 4 else _century(int(y))
            return self._ordered(
                first, second, s1, year, lambda new: s2 + (f"{new.year}" if len(y) == 4 else f"{new:%y}")
            )
        match = re.fullmatch(r"(\d{1,2})(\s?[/.\-]\s?)(\d{4})", folded)
        if match and 1 <= int(match[1]) <= 12:
            m, s, y = match.groups()
            return Written(int(y), int(m), None, lambda new: f"{_pad(new.month, m)}{s}{new.year}")
        match = re.fullmatch(r"(\d{1,2})([/.\-])(\d{1,2})", folded)
        if match:
            return self._ordered(match[1], match[3], match[2], None, lambda new: "")
        if re.fullmatch(r"(?:19|20)\d\d", folded):
            return Written(int(folded), None, None, lambda new: f"{new.year}")
        return None

    def _ordered(
        self, first: str, second: str, separator: str, year: int | None, tail: Callable[[date], str]
    ) -> Written | None:
        month_first = self.order == "mdy" and int(first) <= 12
        day, month = (second, first) if month_first else (first, second)
        if not _valid(year or 2000, int(month), int(day)):
            return None

        def render(new: date) -> str:
            new_day, new_month = _pad(new.day, day), _pad(new.month, month)
            return (
                f"{new_month if month_first else new_day}{separator}{new_day if month_first else new_month}{tail(new)}"
            )

        return Written(year, int(month), int(day), render)

    def _parse_text(self, text: str, folded: str) -> Written | None:
        match = self._textual.match(folded) or self._month_first.match(folded)
        if not match:
            return None
        found = match.groupdict()
        month, day = self._month[found["month"]], int(found["day"]) if found.get("day") else None
        year = None
        if found["year"]:
            year = int(found["year"]) if len(found["year"]) == 4 else _century(int(found["year"]))
        if not _valid(year or 2000, month, day or 1):
            return None
        written = text[match.start("month") : match.end("month")]
        width = next(i for i, name in enumerate(self.month_names[month - 1]) if fold(name) == found["month"])

        def render(new: date) -> str:
            names = self.month_names[new.month - 1]
            name = _like(written, names[min(width, len(names) - 1)])
            pieces = {
                "month": name,
                "year": (f"{new.year}" if len(found["year"] or "") == 4 else f"{new:%y}") if year else "",
            }
            if found["dot"] and len(names) == 1:
                pieces["dot"] = ""  # "févr." becomes "mars"
            if day:
                pieces["day"] = _pad(new.day, found["day"])
                if found.get("ordinal") and new.day != 1 and found["ordinal"] != ".":
                    pieces["ordinal"] = ""
            out = [
                pieces.get(group, text[slice(*match.span(group))] if found.get(group) else "")
                for group in sorted((g for g in found if match.start(g) >= 0), key=match.start)
            ]
            return "".join(out)

        return Written(year, month, day, render)


def shift(written: Written, days: int, context_year: int | None) -> str | None:
    """``written`` moved by ``days`` in its own form; None where it overflows. Months move as their middle day.

    ``context_year`` stands in where the text gives no year.
    """
    year = written.year or context_year or 2001
    day = written.day or (15 if written.month else 1)
    try:
        return written.render(
            date(year, written.month or 7, min(day, 28) if day > 28 and not written.year else day) + timedelta(days)
        )
    except (OverflowError, ValueError):
        return None


_BUILT: dict[Path, DateForms] = {}


def forms_of(pack: Pack) -> DateForms:
    """The date forms of a pack."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = DateForms(pack)
    return _BUILT[pack.folder]


def parse_iso(pack: Pack, text: str) -> str:
    """A date column's value as ISO 8601; empty where it is no whole date. A time of day after it is dropped."""
    value = re.split(r"[T ]\d{1,2}[:h]", text.strip(), maxsplit=1)[0].strip()
    written = forms_of(pack).parse(value)
    return written.whole.isoformat() if written and written.whole else ""


def age_months(birth: str, exam: str) -> int | None:
    """Completed months between two ISO dates; None where one is missing or birth is after the examination."""
    if not birth or not exam:
        return None
    b, e = date.fromisoformat(birth), date.fromisoformat(exam)
    months = (e.year - b.year) * 12 + e.month - b.month - (e.day < b.day)
    return months if months >= 0 else None


def _valid(year: int, month: int, day: int) -> bool:
    if not 1850 <= year <= 2120:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _century(two: int) -> int:
    return 2000 + two if two <= _PIVOT else 1900 + two


def _pad(value: int, like: str) -> str:
    return f"{value:0{len(like)}d}" if like.startswith("0") or len(like) == 2 else str(value)


def _like(written: str, name: str) -> str:
    if written.isupper():
        return name.upper()
    return name.capitalize() if written[:1].isupper() else name
