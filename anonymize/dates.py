"""Dates as people write them: read at a place of a text, move, write back in the same form."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from anonymize.languages import Pack
from anonymize.number_words import NumberWords
from anonymize.text import fold

_PIVOT = 35  # two-digit years up to this one are 20xx
_SEP = r"(?: {0,2}[/.\-|_\\]{1,2} {0,2}| {1,2}|[,:])"
_FULL = re.compile(rf"(?P<a>0?\d{{1,2}})(?P<s>{_SEP})(?P<b>0?\d{{1,2}})(?P<t>{_SEP})(?P<y>\d{{4}}|'?\d\d)(?!\d)")
# l, i and o where an optical reader met 1 and 0.
_SLIP = re.compile(
    r"(?P<a>[\dlio]{1,2})(?P<s>[/.\-])(?P<b>[\dlio]{1,2})(?P<t>[/.\-])(?P<y>[\dlio]{4}|[\dlio]{2})(?!\w)"
)
# Written like a date but impossible: a slip of the keyboard.
_WRONG = re.compile(r"\d{1,3}([/.\-])\d{1,3}\1(?:19|20)\d\d(?!\d)")
_YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})(?P<s>{_SEP})(?P<b>\d{{1,2}})(?P<t>{_SEP})(?P<a>\d{{1,2}})(?!\d)")
_ROMAN = re.compile(
    r"(?P<a>\d{1,2})(?P<s> ?[/.\-] ?)(?P<b>x?i{1,3}|i?v|vi{1,3}|i?x)(?P<t> ?[/.\-] ?)(?P<y>\d{4}|\d\d)(?!\w)"
)
_ROMANS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_SPACED = re.compile(r"\d{1,2}(?:(?: | ?[/.\-] ?)\d){5,7}(?! ?\d)")
_COMPACT = re.compile(r"(?:\d{14}|\d{12}|\d{8}|\d{6})(?!\d)(?![.,]\d)")
# A machine's time of day joined to a date (ISO 8601): one word with it, but it stays as it is.
STAMP = re.compile(r"t\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:z|[+\-]\d\d:?\d\d)?(?![\w:])")
_MONTH_YEAR = re.compile(r"(?P<b>\d{1,2})(?P<s> ?[/.\-|] ?| )(?P<y>\d{4})(?!\d)")
_PAIR = re.compile(r"(?P<a>\d{1,2})(?P<s> ?[/.\-] ?)(?P<b>\d{1,2})(?P<t>\.?)(?!\d)")
_YEAR = re.compile(r"(?:1[89]|20)\d\d(?!\d)")
_SLIPS = str.maketrans("lio", "110")


@dataclass(frozen=True)
class Written:
    """A parsed date; what the text does not give is None. ``render`` writes another date in the same form."""

    year: int | None
    month: int | None
    day: int | None
    render: Callable[[date], str]
    form: str = "whole"  # whole, compact, spaced, pair, month_year, year, day, named, words, season

    @property
    def whole(self) -> date | None:
        """The day, where it is given in full."""
        return date(self.year, self.month, self.day) if self.year and self.month and self.day else None


class DateForms:
    """Reads and renders the forms of one language. Build it once per pack with :func:`forms_of`."""

    def __init__(self, pack: Pack) -> None:
        words = pack["pack"]
        self.order: str = words["date_order"]
        self.month_names: list[list[str]] = [[str(name) for name in names] for names in words["months"]]
        self.months = {fold(name): index for index, names in enumerate(self.month_names, 1) for name in names}
        self.full_months = {fold(names[0]): index for index, names in enumerate(self.month_names, 1)}
        self.weekdays = [str(day) for day in words["weekdays"]]
        self.numbers = NumberWords(words.get("numbers", {}))
        self.seasons = {fold(str(name)): int(month) for name, month in words.get("seasons", {}).items()}
        self._season_names = {int(month): str(name) for name, month in reversed(words.get("seasons", {}).items())}
        self.holidays = {fold(str(name)): int(month) for name, month in words.get("holidays", {}).items()}
        self._ordinals = "|".join(re.escape(fold(str(word))) for word in words["first_of_month"])
        self._first_only = str(words["first_of_month"][0]) if len(words["first_of_month"]) == 1 else ""
        self._many_ordinals = len(words["first_of_month"]) > 2  # English: each day has its ending
        names = "|".join(sorted(map(re.escape, self.months), key=len, reverse=True))
        self.month_regex = rf"(?:{names})\b\.?"
        self.link_words = frozenset(fold(str(word)) for word in words.get("date_links", []))
        link = "|".join(re.escape(word) + ("" if word.endswith("'") else " ") for word in sorted(self.link_words))
        link = self.links = rf"(?:{link})?" if link else ""
        self.ordinals = self._ordinals
        self._textual = re.compile(
            rf"(?:(?P<day>\d{{1,2}})(?P<ordinal>{self._ordinals})?(?P<s1>[ .,\-/]{{0,3}}{link}))?"
            rf"(?P<month>{names})(?P<dot>\.?)(?P<s2>[ .,\-/]{{0,3}}{link})(?P<year>\d{{4}}|'?\d{{2}})?$"
        )
        self._month_first = re.compile(
            rf"(?P<month>{names})(?P<dot>\.?)(?P<s0> ?)(?P<day>\d{{1,2}})(?P<ordinal>{self._ordinals})?"
            rf"(?P<s2>,? ?)(?P<year>\d{{4}})$"
        )
        self._year_before = re.compile(
            rf"(?P<year>\d{{4}})(?P<s0>[ .,\-/]{{1,2}})(?P<month>{names})(?P<dot>\.?)(?P<s2>[ \-/]?)(?P<day>\d{{1,2}})?$"
        )
        self._month_word = re.compile(rf"(?<![a-z])(?P<month>{names})(?![a-z])(?P<dot>\.?)")
        self._day_words = re.compile(rf"(?P<day>[a-z\- ]*?|\d{{1,2}})(?P<s1>[ \-]{{0,2}}{link})$")
        self._year_words = re.compile(rf"(?P<s2>,?[ \-]{{0,2}}{link})(?P<year>[a-z0-9\- ]*)$")
        self._word_day = re.compile(r"(?P<day>[a-z][a-z\- ]{1,20}?)(?P<s1> )(?P<m>\d\d)(?P<s2>[ /])(?P<year>\d{4})$")
        weekdays = "|".join(map(re.escape, sorted(map(fold, self.weekdays), key=len, reverse=True)))
        self._weekday = re.compile(rf"(?P<name>{weekdays})(?P<gap>,? (?:[a-z]{{1,3}} )?)(?=\S)")
        self._seasonal = re.compile(r"(?P<name>[a-z']+)(?P<gap>[ \-](?:[a-z']{1,6}[ ]?){0,2})(?P<year>\d{4})$")
        folded_days = [fold(day) for day in self.weekdays]
        self.weekday_index = {day: index for index, day in enumerate(folded_days)}

    # -- reading at a place -------------------------------------------------------------------------------------------

    def numeric(self, folded: str, start: int) -> tuple[Written, int] | None:
        """The longest valid form of digits that begins at ``start``, and where it ends.

        Forms ``pair``, ``month_year`` with a blank, ``year`` and six compact digits are also other things than dates;
        the caller asks for a cue.
        """
        match = _FULL.match(folded, start)
        if match:
            written = self._full(match)
            if written:
                return written, match.end()
        match = _YEAR_FIRST.match(folded, start)
        if match and (match["s"] != " " or len(match["b"]) == 2):
            written = self._year_first(match)
            if written:
                return written, match.end()
        match = _SPACED.match(folded, start)
        if match:
            written = self._spaced(match.group())
            if written:
                return written, match.end()
        match = _COMPACT.match(folded, start)
        if match:
            written = self._compact(match.group())
            if written:
                return written, match.end()
        match = _ROMAN.match(folded, start)
        if match and match["b"] in _ROMANS:
            written = self._roman(match)
            if written:
                return written, match.end()
        match = _MONTH_YEAR.match(folded, start)
        if match and 1 <= int(match["b"]) <= 12 and 1850 <= int(match["y"]) <= 2120:
            month, separator, year = match.group("b", "s", "y")
            return (
                Written(
                    int(year),
                    int(month),
                    None,
                    lambda new: f"{_pad(new.month, month, len(month) > 1)}{separator}{new.year}",
                    "month_year",
                ),
                match.end(),
            )
        match = _PAIR.match(folded, start)
        if match:
            written = self._pair(match)
            if written:
                return written, match.end()
        match = _YEAR.match(folded, start)
        if match:
            return Written(int(match.group()), None, None, lambda new: f"{new.year}", "year"), match.end()
        return None

    def slipped(self, folded: str, start: int) -> tuple[Written, int] | None:
        """A numeric date in which an optical reader took 1 for l or I, and 0 for O."""
        match = _SLIP.match(folded, start)
        if not match or sum(map(str.isdigit, match.group())) < 3:
            return None
        fixed = _FULL.fullmatch(match.group().translate(_SLIPS))
        written = self._full(fixed) if fixed else None
        return (written, match.end()) if written else None

    @staticmethod
    def mistyped(folded: str, start: int) -> int | None:
        """End of what has the form of a date and is none (14/14/2014, 301/05/1966)."""
        match = _WRONG.match(folded, start)
        return match.end() if match else None

    def parse(self, text: str) -> Written | None:
        """``text`` as a date, or None where it is none or impossible (31/02, month 14)."""
        folded = fold(text)
        try:
            if folded[:1].isdigit():
                found = self.numeric(folded, 0)
                if found and found[1] == len(folded):
                    return found[0]
                stamp = STAMP.fullmatch(folded, found[1]) if found else None
                if found and stamp:
                    return _with_tail(found[0], text[found[1] :])
            if len(folded) <= 2 and folded.isdigit() and 1 <= int(folded) <= 31:
                return Written(None, None, int(folded), lambda new: _pad(new.day, folded), "day")
            found = self.slipped(folded, 0)
            if found and found[1] == len(folded):
                return found[0]
            return self._named(text, folded) or self._words(text, folded) or self._after_weekday(text, folded)
        except ValueError:
            return None

    # -- forms of digits ----------------------------------------------------------------------------------------------

    def _full(self, match: re.Match[str]) -> Written | None:
        first, s, second, t, y = match.group("a", "s", "b", "t", "y")
        four = len(y) == 4
        if not four and (s.strip() != t.strip() or s.strip() in ("", ",", ":")):
            return None
        if not s.strip() and not t.strip() and len(first) != len(second) and len(first) + len(second) < 3:
            return None
        year = int(y) if four else _century(int(y.lstrip("'")))
        ordered = self._order(first, second, year)
        if not ordered:
            return None
        month, day, month_first = ordered
        zeros = _zeros(first, second)

        def render(new: date) -> str:
            d, m = _pad(new.day, first, zeros), _pad(new.month, second, zeros)
            written_year = f"{new.year}" if four else ("'" if y.startswith("'") else "") + f"{new:%y}"
            return f"{m if month_first else d}{s}{d if month_first else m}{t}{written_year}"

        return Written(year, month, day, render)

    def _order(self, first: str, second: str, year: int) -> tuple[int, int, bool] | None:
        """Month, day and whether the month stands first: in the pack's order, else in the other one."""
        usual = self.order == "mdy"
        for month_first in (usual, not usual):
            month, day = (int(first), int(second)) if month_first else (int(second), int(first))
            if _valid(year, month, day):
                return month, day, month_first
        return None

    def _year_first(self, match: re.Match[str]) -> Written | None:
        y, s, m, t, d = match.group("y", "s", "b", "t", "a")
        if not _valid(int(y), int(m), int(d)):
            return None
        zeros = _zeros(m, d)
        return Written(
            int(y), int(m), int(d), lambda new: f"{new.year}{s}{_pad(new.month, m, zeros)}{t}{_pad(new.day, d, zeros)}"
        )

    def _roman(self, match: re.Match[str]) -> Written | None:
        d, s, m, t, y = match.group("a", "s", "b", "t", "y")
        year, month = int(y) if len(y) == 4 else _century(int(y)), _ROMANS.index(m) + 1
        if not _valid(year, month, int(d)):
            return None

        def render(new: date) -> str:
            return f"{_pad(new.day, d)}{s}{_ROMANS[new.month - 1].upper()}{t}" + (
                f"{new.year}" if len(y) == 4 else f"{new:%y}"
            )

        return Written(year, month, int(d), render)

    def _compact(self, digits: str) -> Written | None:
        """yyyymmdd with a time of day (HL7 v2 TS) or without, ddmmyyyy, ddmmyy."""
        day_part, time = digits[:8], digits[8:]
        if len(digits) == 6:
            day, month, year = int(digits[:2]), int(digits[2:4]), _century(int(digits[4:]))
            if not _valid(year, month, day):
                return None
            return Written(year, month, day, lambda new: f"{new:%d%m%y}", "short")
        if time and not (int(time[:2]) < 24 and int(time[2:4]) < 60 and int(time[4:] or 0) < 60):
            return None
        year, month, day = int(day_part[:4]), int(day_part[4:6]), int(day_part[6:])
        if 1900 <= year <= 2099 and _valid(year, month, day):
            return Written(year, month, day, lambda new: f"{new:%Y%m%d}{time}", "compact")
        first, second, year = day_part[:2], day_part[2:4], int(day_part[4:])
        if time or not 1900 <= year <= 2099:
            return None
        ordered = self._order(first, second, year)
        if not ordered:
            return None
        month, day, month_first = ordered
        return Written(year, month, day, lambda new: f"{new:%m%d%Y}" if month_first else f"{new:%d%m%Y}", "compact")

    def _spaced(self, folded: str) -> Written | None:
        """``1 6 0 3 2 0 0 9``: each digit in its own box, with separators or without."""
        places = [index for index, char in enumerate(folded) if char.isdigit()]
        digits = "".join(folded[index] for index in places)
        if len(digits) not in (6, 7, 8) or len(set(digits)) < 2:
            return None
        inner = self._compact(digits.zfill(8) if len(digits) == 7 else digits)
        if not inner:
            return None

        def render(new: date) -> str:
            wanted, chars = inner.render(new), list(folded)
            if len(digits) == 7:
                wanted = wanted[1:] if wanted.startswith("0") else wanted
            if len(wanted) > len(places):
                return wanted[0] + " " + render_into(chars, wanted[1:])
            return render_into(chars, wanted)

        def render_into(chars: list[str], wanted: str) -> str:
            for index, digit in zip(places, wanted, strict=True):
                chars[index] = digit
            return "".join(chars)

        return Written(inner.year, inner.month, inner.day, render, "spaced")

    def _pair(self, match: re.Match[str]) -> Written | None:
        """Day and month, or month and two-digit year where the second number is no month."""
        first, s, second, t = match.group("a", "s", "b", "t")
        ordered = self._order(first, second, 2000)
        if ordered and (ordered[2] == (self.order == "mdy")):
            month, day, month_first = ordered
            zeros = _zeros(first, second)

            def render(new: date) -> str:
                d, m = _pad(new.day, first, zeros), _pad(new.month, second, zeros)
                return f"{m}{s}{d}{t}" if month_first else f"{d}{s}{m}{t}"

            return Written(None, month, day, render, "pair")
        if 1 <= int(first) <= 12 and len(second) == 2 and "-" not in s and not t:
            year, month = _century(int(second)), int(first)
            return Written(
                year,
                month,
                None,
                lambda new: f"{_pad(new.month, first, len(first) > 1)}{s}{new:%y}",
                "month_short_year",
            )
        return None

    # -- forms with words ---------------------------------------------------------------------------------------------

    def _named(self, text: str, folded: str) -> Written | None:
        match = self._textual.match(folded) or self._month_first.match(folded) or self._year_before.match(folded)
        if not match:
            return self._seasonal_year(text, folded)
        found = match.groupdict()
        month, day = self.months[found["month"]], int(found["day"]) if found.get("day") else None
        year = None
        if found["year"]:
            year = int(found["year"]) if len(found["year"]) == 4 else _century(int(found["year"].lstrip("'")))
        if not _valid(year or 2000, month, day or 1):
            return None
        written = text[match.start("month") : match.end("month")]
        width = self._width(month, found["month"])

        def render(new: date) -> str:
            names = self.month_names[new.month - 1]
            name = _like(written, names[min(width, len(names) - 1)])
            pieces = {
                "month": name,
                "year": (f"{new.year}" if len(found["year"] or "") == 4 else _short(found["year"], new))
                if year
                else "",
            }
            if found["dot"] and fold(name) == fold(names[0]):
                pieces["dot"] = ""  # "févr." becomes "mars"
            if day:
                pieces["day"] = _pad(new.day, found["day"])
                if found.get("ordinal"):
                    pieces["ordinal"] = self._ordinal(new.day, found["ordinal"])
                elif self._first_only and new.day == 1 and day != 1 and width == 0:
                    pieces["day"] += _like(written, self._first_only) if written.isupper() else self._first_only
            out = [
                pieces.get(group, text[slice(*match.span(group))] if found.get(group) else "")
                for group in sorted((g for g in found if match.start(g) >= 0), key=match.start)
            ]
            return "".join(out)

        return Written(year, month, day, render, "named")

    def _width(self, month: int, name: str) -> int:
        return next(i for i, word in enumerate(self.month_names[month - 1]) if fold(word) == name)

    def _ordinal(self, day: int, like: str) -> str:
        """The ending of a day: only the first one has it, or each its own, as in English."""
        if like == ".":
            return like
        if self._many_ordinals:
            return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th") if day not in (11, 12, 13) else "th"
        return like if day == 1 else ""

    def _words(self, text: str, folded: str) -> Written | None:
        """Day or year in words, in digits or absent; the month as a word, or in digits behind a day in words."""
        match = self._word_day.match(folded)
        if match:
            day, month, year = self.numbers.value(match["day"]), int(match["m"]), int(match["year"])
            if not day or not _valid(year, month, day):
                return None
            return Written(
                year,
                month,
                day,
                lambda new: f"{self._day(text, match, new)}{match['s1']}{new:%m}{match['s2']}{new.year}",
                "words",
            )
        for found in self._month_word.finditer(folded):
            before, after = self._day_words.match(folded, 0, found.start()), self._year_words.match(folded, found.end())
            if before and after:
                written = self._in_words(text, before, found, after)
                if written:
                    return written
        return None

    def _in_words(self, text: str, before: re.Match[str], found: re.Match[str], after: re.Match[str]) -> Written | None:
        day_text, year_text = before["day"].strip(" -"), after["year"].strip(" -")
        day = self.numbers.value(day_text) if day_text else None
        year = self.numbers.value(year_text) if year_text else None
        if (day_text and not day) or (year_text and not year) or not (day or year):
            return None
        if year and not 1850 <= year <= 2120:
            return None
        month = self.months[found["month"]]
        if not _valid(year or 2000, month, day or 1):
            return None
        written = text[found.start("month") : found.end("month")]
        width = self._width(month, found["month"])
        said_year = text[after.start("year") : after.end("year")]

        def render(new: date) -> str:
            names = self.month_names[new.month - 1]
            name = _like(written, names[min(width, len(names) - 1)])
            number = self._day(text, before, new) if day else ""
            said = ""
            if year:
                said = f"{new.year}" if year_text.isdigit() else self.numbers.year(new.year) or str(new.year)
                said = said.upper() if said_year.isupper() else said
            return f"{number}{before['s1'] if day else ''}{name}{found['dot']}{after['s2']}{said}"

        return Written(year, month, day, render, "words")

    def _day(self, text: str, match: re.Match[str], new: date) -> str:
        like = text[match.start("day") : match.end("day")]
        if like.isdigit():
            return _pad(new.day, like)
        return _like(like, self.numbers.day(new.day) or str(new.day))

    def _after_weekday(self, text: str, folded: str) -> Written | None:
        match = self._weekday.match(folded)
        if not match:
            return None
        inner = self.parse(text[match.end() :])
        if not inner or not inner.day:
            return None
        written = text[: match.end("name")]

        def render(new: date) -> str:
            return (
                _like(written, self.weekdays[new.weekday()]) + text[match.end("name") : match.end()] + inner.render(new)
            )

        return Written(inner.year, inner.month, inner.day, render, inner.form)

    def _seasonal_year(self, text: str, folded: str) -> Written | None:
        """A season or a feast with its year. A feast becomes a month: it has no neighbour in the calendar."""
        match = self._seasonal.match(folded)
        month = self.seasons.get(match["name"]) or self.holidays.get(match["name"]) if match else None
        if not match or not month or not 1850 <= int(match["year"]) <= 2120:
            return None

        gap = text[match.end("name") : match.end("gap")]

        def render(new: date) -> str:
            season = self._season_names.get((1, 4, 7, 10)[(new.month % 12) // 3])
            if match["name"] in self.seasons and season:
                return f"{_like(text[: match.end('name')], season)}{gap}{new.year}"
            name = self.month_names[new.month - 1][0]
            return f"{name.upper() if text.isupper() else name}{gap}{new.year}"

        return Written(int(match["year"]), month, None, render, "season")

    def month_written(self, month: int, like: str) -> str:
        """The full name of a month in the case of ``like``."""
        return _like(like, self.month_names[month - 1][0])


def shift(written: Written, days: int, context_year: int | None, context_month: int | None = None) -> str | None:
    """``written`` moved by ``days`` in its own form; None where it overflows. Months move as their middle day.

    ``context_year`` and ``context_month`` stand in where the text gives no year or month.
    """
    new = moved(written, days, context_year, context_month)
    try:
        return written.render(new) if new else None
    except (OverflowError, ValueError):
        return None


def moved(written: Written, days: int, context_year: int | None, context_month: int | None = None) -> date | None:
    """The day to which :func:`shift` moves ``written``."""
    year = written.year or context_year or 2001
    month = written.month or context_month or 7
    day = written.day or (15 if written.month else 1)
    for attempt in (day, min(day, 28)):
        try:
            return date(year, month, attempt) + timedelta(days)
        except (OverflowError, ValueError):
            continue
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


def whole_weeks(days: int) -> int:
    """The offset of whole weeks nearest to ``days``, never 0: dates keep their weekday."""
    weeks = max(1, round(abs(days) / 7))
    return 7 * weeks if days > 0 else -7 * weeks


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


def _with_tail(written: Written, tail: str) -> Written:
    inner = written.render
    return replace(written, render=lambda new: inner(new) + tail)


def _century(two: int) -> int:
    return 2000 + two if two <= _PIVOT else 1900 + two


def _short(like: str, new: date) -> str:
    return ("'" if like.startswith("'") else "") + f"{new:%y}"


def _zeros(first: str, second: str) -> bool:
    """Whether day and month are written with two digits: where both have two, it is the custom."""
    return first.startswith("0") or second.startswith("0") or (len(first) > 1 and len(second) > 1)


def _pad(value: int, like: str, zeros: bool = False) -> str:
    return (
        f"{value:0{max(2, len(like)) if like.startswith('0') else 2}d}" if zeros or like.startswith("0") else str(value)
    )


def _like(written: str, name: str) -> str:
    if written.isupper():
        return name.upper()
    return name.capitalize() if written[:1].isupper() else name
