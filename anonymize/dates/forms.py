"""All forms of a language: of digits, with the month in words, in words, with weekdays, seasons and feasts."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from anonymize.dates.digits import DigitForms
from anonymize.dates.written import Written, century, in_case_of, pad, short_year, valid, with_tail
from anonymize.languages import Pack
from anonymize.number_words import NumberWords
from anonymize.text import fold

# A machine's time of day joined to a date (ISO 8601): one word with it, but it stays as it is.
STAMP = re.compile(r"t\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:z|[+\-]\d\d:?\d\d)?(?![\w:])")


class DateForms(DigitForms):
    """Reads and renders the forms of one language. Build it once per pack with :func:`forms_of`."""

    def __init__(self, pack: Pack) -> None:
        words = pack["pack"]
        super().__init__(words["date_order"])
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
                    return with_tail(found[0], text[found[1] :])
            if len(folded) <= 2 and folded.isdigit() and 1 <= int(folded) <= 31:
                return Written(None, None, int(folded), lambda new: pad(new.day, folded), "day")
            found = self.slipped(folded, 0)
            if found and found[1] == len(folded):
                return found[0]
            return self._named(text, folded) or self._words(text, folded) or self._after_weekday(text, folded)
        except ValueError:
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
            year = int(found["year"]) if len(found["year"]) == 4 else century(int(found["year"].lstrip("'")))
        if not valid(year or 2000, month, day or 1):
            return None
        written = text[match.start("month") : match.end("month")]
        width = self._width(month, found["month"])

        def render(new: date) -> str:
            names = self.month_names[new.month - 1]
            name = in_case_of(written, names[min(width, len(names) - 1)])
            pieces = {
                "month": name,
                "year": (f"{new.year}" if len(found["year"] or "") == 4 else short_year(found["year"], new))
                if year
                else "",
            }
            if found["dot"] and fold(name) == fold(names[0]):
                pieces["dot"] = ""  # "févr." becomes "mars"
            if day:
                pieces["day"] = pad(new.day, found["day"])
                if found.get("ordinal"):
                    pieces["ordinal"] = self._ordinal(new.day, found["ordinal"])
                elif self._first_only and new.day == 1 and day != 1 and width == 0:
                    pieces["day"] += in_case_of(written, self._first_only) if written.isupper() else self._first_only
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
            if not day or not valid(year, month, day):
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
        if not valid(year or 2000, month, day or 1):
            return None
        written = text[found.start("month") : found.end("month")]
        width = self._width(month, found["month"])
        said_year = text[after.start("year") : after.end("year")]

        def render(new: date) -> str:
            names = self.month_names[new.month - 1]
            name = in_case_of(written, names[min(width, len(names) - 1)])
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
            return pad(new.day, like)
        return in_case_of(like, self.numbers.day(new.day) or str(new.day))

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
                in_case_of(written, self.weekdays[new.weekday()])
                + text[match.end("name") : match.end()]
                + inner.render(new)
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
                return f"{in_case_of(text[: match.end('name')], season)}{gap}{new.year}"
            name = self.month_names[new.month - 1][0]
            return f"{name.upper() if text.isupper() else name}{gap}{new.year}"

        return Written(int(match["year"]), month, None, render, "season")

    def month_written(self, month: int, like: str) -> str:
        """The full name of a month in the case of ``like``."""
        return in_case_of(like, self.month_names[month - 1][0])


_BUILT: dict[Path, DateForms] = {}


def forms_of(pack: Pack) -> DateForms:
    """The date forms of a pack."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = DateForms(pack)
    return _BUILT[pack.folder]
