"""Dates with a month by name: "le 3 mars 2021", "October 15th", "vingt-sept juin", a month alone behind a cue."""

from __future__ import annotations

import re

from anonymize.dates import forms_of
from anonymize.detectors.cues import Cues
from anonymize.languages import Pack
from anonymize.text import View

_YEAR_BEFORE_MONTH = re.compile(r"(?<![\w.,/\-])(?:19|20)\d\d[ .,\-/]{1,2}\Z")
_DAY_LAST = re.compile(r"\.?[ \-/]?\d{1,2}(?![\w]|[.,/]\d)")
CLOCK = re.compile(r" ?(?:h|:)\d\d")


class MonthDates:
    """Reads the date around a month's name."""

    def __init__(self, pack: Pack, unit: re.Pattern[str], join: re.Pattern[str]) -> None:
        """``unit`` matches the unit behind a count; ``join`` what may stand between two dates of a range."""
        self.pack, self._unit, self._join_only = pack, unit, join
        forms = self._forms = forms_of(pack)
        cues = pack["detectors"]["dates"]
        self._months = Cues({"date": cues["month_cues"]})
        links = forms.links
        ordinals = rf"(?:{forms.ordinals}|[.°ºª])"
        self._before_month = re.compile(rf"(?<![\w.,/])(\d{{1,2}}){ordinals}?,?[ .\-/]{{0,3}}{links}\Z")
        self._after_month = re.compile(
            rf"\.?(?:[ .,\-/]{{0,3}}{links})(?P<year>(?:18|19|20)\d\d|'?\d\d)(?![\d])(?![.,]\d)"
        )
        self._day_after_month = re.compile(rf"\.? ?\d{{1,2}}{ordinals}?,? ?(?:19|20)\d\d(?!\d)")
        # "October 15th", "Jul. 30": where a language writes the month before its day, it may do so without a year
        self._bare_day = (
            re.compile(rf"\.? ?(?P<day>\d{{1,2}}){ordinals}?(?![\w%]|[.,/:\-]\d)") if cues.get("month_first") else None
        )
        self._before_number = re.compile(rf"[ \-]{{1,2}}{links}")

    def read(self, view: View, index: int) -> tuple[int, int, str] | None:
        """Start, end and rule of the date whose month is word ``index`` of the view; None where it is no date."""
        folded, token = view.folded, view.token(index)
        start, end = token.start, token.end
        before = folded[max(0, start - 14) : start]
        day = self._before_month.search(before)
        if day and not 1 <= int(day[1]) <= 31:
            day = None
        year_before = None if day else _YEAR_BEFORE_MONTH.search(before)
        words_before = None if day or year_before else self._words_before(view, index)
        has_day = bool(day or words_before)
        full = token.folded in self._forms.full_months
        if day:
            start -= len(before) - day.start()
        elif words_before is not None:
            start = words_before
        month_first = None if has_day else self._day_after_month.match(folded, end)
        after = self._after_month.match(folded, end)
        if after and len(after["year"]) < 4:
            bare_two = after["year"][0] != "'"
            if bare_two and (
                self._unit.match(folded, after.end()) or not (has_day or full) or CLOCK.match(folded, after.end())
            ):
                after = None
            elif bare_two and not has_day and not self._months.before(folded, token.start, 2, 0):
                in_brackets = folded[start - 1 : start] == "(" and folded[after.end() : after.end() + 1] == ")"
                after = after if in_brackets else None
        if month_first:
            return start, month_first.end(), "dates.named"
        if self._bare_day and not has_day:
            end_of_day = self._day_after(view, index)
            if end_of_day:
                return start, end_of_day, "dates.named"
        if after and not (has_day is False and not full and len(after["year"]) < 4):
            return start, after.end(), "dates.named"
        words_after = self._words_after(view, index)
        if words_after:
            return start, words_after, "dates.spelled"
        if has_day:
            if not full and words_before is not None:
                return None  # "vingt-sept" is a number
            if folded[end : end + 1] == "." and not full:
                end += 1
            return start, end, "dates.named" if day else "dates.spelled"
        if year_before:
            last = _DAY_LAST.match(folded, end)
            start = token.start - len(year_before.group())
            if last and self._forms.parse(folded[start : last.end()]):
                end = last.end()
            return start, end, "dates.named"
        return (start, end, "dates.named") if full and self._month_alone(view, index) else None

    def _month_alone(self, view: View, index: int) -> bool:
        """A month without day and year counts after a cue, in a range that ends in a month with a year."""
        token = view.token(index)
        if index + 1 < len(view.words) and self._forms.numbers.value(view.words[index + 1]):
            return False
        if view.text[token.start].islower() and self.pack["pack"]["months"][0][0][0].isupper() and view.case == "mixed":
            return False  # "may", "march": the language writes its months with a capital
        for other in map(view.token, range(index + 1, min(index + 4, len(view.words)))):
            if other.folded in self._forms.months:
                between = view.folded[token.end : other.start]
                if self._join_only.match(between) and self._after_month.match(view.folded, other.end):
                    return True
                break
        return bool(self._months.before(view.folded, token.start, 2, 1))

    def _words_before(self, view: View, index: int) -> int | None:
        """Start of the number words directly before the month that say a day."""
        start, text = None, ""
        limit = view.starts[index]
        for back in range(index - 1, max(-1, index - 6), -1):
            token = view.token(back)
            if not self._before_number.fullmatch(view.folded[token.end : limit]):
                break
            if not text and token.folded in self._forms.link_words and limit == view.starts[index]:
                limit = token.start  # "veintiuno de junio"
                continue
            if not self._forms.numbers.is_word(token.folded):
                break
            limit, text = token.start, token.folded + text
            value = self._forms.numbers.value(text)
            if value is not None and 1 <= value <= 31:
                start = token.start
        return start

    def _day_after(self, view: View, index: int) -> int | None:
        """End of a day, in digits or words, behind the month; of the year in words behind it."""
        folded, end = view.folded, view.ends[index]
        match = self._bare_day.match(folded, end) if self._bare_day else None
        if match and not view.text[view.starts[index]].islower():
            unit = self._unit.match(folded, match.end())
            return match.end() if 1 <= int(match["day"]) <= 31 and not unit else None
        text, last = "", index
        for number in range(index + 1, min(index + 3, len(view.words))):
            if not re.fullmatch(r"[ \-](?:the )?", folded[view.ends[number - 1] : view.starts[number]]):
                break
            value = self._forms.numbers.value(text + view.words[number]) if view.words[number].isalpha() else None
            day = self._forms.numbers.value(text) if text else 0
            if not value or value > 31 or (day and not (day >= 20 and value - day < 10)):
                break  # "second nineteen fifty": a year follows
            text, last = text + view.words[number], number
        if last == index or not self._forms.numbers.is_word(view.words[last]):
            return None
        return self._words_after(view, last) or view.ends[last]

    def _words_after(self, view: View, index: int) -> int | None:
        """End of the number words directly after the month that say a year."""
        text, end = "", None
        limit = view.ends[index]
        for token in map(view.token, range(index + 1, min(index + 11, len(view.words)))):
            if not re.fullmatch(r"[ .,\-]{1,2}", view.folded[limit : token.start]):
                break
            if token.folded in self._forms.link_words and not text:
                limit = token.end
                continue
            plain = token.folded.rstrip("s")
            if not (
                self._forms.numbers.is_word(token.folded)
                or self._forms.numbers.is_word(plain)
                or (text and token.folded.isdigit() and len(token.folded) <= 2)
            ):
                break
            limit, text = token.end, text + token.folded
            value = self._forms.numbers.value(text)
            if value is not None and 1850 <= value <= 2120:
                end = token.end
        return end
