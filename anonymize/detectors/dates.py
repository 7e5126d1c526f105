"""Dates in every written form: numeric, ISO, HL7, letter-spaced, with month names, in words, month or year alone.

Digits and month names are the anchors: what stands around them is looked at from there, so that the cost is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anonymize.dates import STAMP, Written, forms_of
from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.detectors.month_dates import CLOCK, MonthDates
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, fold

_DIGITS = re.compile(r"\d+")
_SLIP_BEFORE = re.compile(r"(?<!\w)[\dlio]{1,2}(?:[/.\-][\dlio]{0,2}){0,2}\Z")
_BULLET = re.compile(r"(?:^|\n)[ \t]*(?:[\-–•*·>o]{1,2}[ \t]*)?$| [\-–•] ?\Z")
_GLUED = re.compile(r"\d[/.\-|,:]\Z")
_LOOSELY_GLUED = re.compile(r"(?<!\d)\d{1,2} ?[/\-|:] ?$|\d ?[/\-|:] ?\Z")
_DIGIT_NEAR = re.compile(r"\d[ .]?\Z")
_RANGE_HEAD = re.compile(r"(?P<first>\d{1,2})[\-–](?P<last>\d{1,2}[/.]\d{1,2}[/.](?:\d{4}|\d\d))(?![/.]?\d)")
_GOES_ON = re.compile(r"[/.]?\d|/")
_NEXT_YEAR = re.compile(r"/ ?(?:1[89]|20)\d\d(?!\d)|/\d\d(?!\d)")
_LIST = re.compile(r"\d ?, ?\Z")
_DAY_MONTH_BEFORE = re.compile(r"\d[/.\-]\d{1,2}(?:[/.\-]\d{2,4})?,? (?P<join>[a-z]{1,8}(?: [a-z]{1,3})?) \Z")
_WEEKDAY = re.compile(r"([a-z]{4,10}),? (?:[a-z]{1,3} )?\Z")
_SUM = re.compile(r"\d[ .,\-/x]?$|[<>=~+±]\s?$|\b(?:ca|etwa|circa|rund|ad)\.? ?$", re.IGNORECASE)
_LEFT = re.compile(r" ?(?:[x*/+€$%]|\d)")
_POINTED = re.compile(r"[:,;)/]| [a-z]")
_DAY = re.compile(r"\d{1,2}(?!\d)")
_SPINE = re.compile(r"\d+[./\-]\d+")


class Dates(Detector):
    """A date behind a birth cue is a ``birth_date``."""

    kinds = ("date", "birth_date")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        forms = self._forms = forms_of(pack)
        cues = pack["detectors"]["dates"]
        self._years = Cues({"date": cues["year_cues"]})
        self._months = Cues({"date": cues["month_cues"]})
        self._days = Cues({"date": [*cues["day_cues"], *cues["birth_cues"]]})
        self._births = Cues({"birth": cues["birth_cues"]}, cues.get("fillers", ["le", "en", "the", "on", "am", "el"]))
        self._never = Cues({"no": cues.get("not_after", [])}, ["a", "de", "est"])
        self._bare_month_year = bool(cues.get("month_slash_year", False))
        self._pointed = bool(cues.get("day_month_points", False))
        self._dashed = bool(cues.get("day_month_dashes", False))
        self._bare_years = bool(cues.get("bare_years", False))
        units = alternatives(pack["detectors"]["identifiers"]["units"])
        self._unit = re.compile(rf" ?(?:{units}(?!\w)|%|‰)")
        current = [fold(str(word)) for word in cues.get("current_month", [])]
        self._current = re.compile(rf"\d{{1,2}} {alternatives(current)}(?!\w)") if current else None
        joins = [normal_join(str(word)) for word in cues.get("range_words", [])]
        self._joins = frozenset(joins)
        joined = "|".join(sorted(map(re.escape, joins), key=len, reverse=True))
        words = rf"|[ ]?\b(?:{joined})\b[ ]?" if joined else ""
        self._join_before = re.compile(
            rf"(?P<part>(?<![\w/.,])\d{{1,2}}(?:[./]\d{{1,2}}\.?|er|\.)?)(?P<join>[ ]?[\-–&+,][ ]?{words})\Z"
        )
        articles = alternatives(cues.get("day_articles", []))
        links = forms.links
        self._season = re.compile(rf"(?:(\w+) )?(?<!\w)([a-z]{{3,12}}) {links}\Z")
        self._join_only = re.compile(rf"^[ \t]?(?:[\-–/,&+]|[ ]?(?:{joined or '(?!)'})(?: {articles}\b)?)?[ \t]?\Z")
        self._named = MonthDates(pack, self._unit, self._join_only)
        self._list_day = Cues(
            {"date": cues.get("day_articles", ["le", "les", "du", "am", "vom", "el", "del", "los", "the", "on"])}
        )
        self._weekdays = forms.weekday_index
        # "a été 2018 fois": the word is no season behind an auxiliary
        self._participle = frozenset(str(word) for word in cues.get("season_not_after", []))
        self._join_year = re.compile(rf"(?: ?[,\-–/&] ?|[ ]{joined_or_none(joined)}[ ])(?:en )?(?:1[89]|20)\d\d(?!\d)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of dates, without the time of day."""
        found = sorted(self._found(view), key=lambda item: item[0])
        last = -9
        for start, end, rule in found:
            if start < last:
                continue
            start = self._with_weekday(view, start)
            yield self._span(view, start, end, rule)
            yield from self._ahead(view, start)
            last = end

    def _found(self, view: View) -> Iterator[tuple[int, int, str]]:
        taken: list[tuple[int, int, str]] = []
        months = self._forms.months
        for index in sorted(index for word in view.vocabulary & months.keys() for index in view.where[word]):
            hit = self._named.read(view, index)
            if hit:
                taken.append(hit)
        covered = bytearray(len(view.text))
        for start, end, _ in taken:
            covered[start:end] = b"\1" * (end - start)
        yield from taken
        last = -9  # end of the date before
        ends = {end for _, end, _ in taken}
        for match in _DIGITS.finditer(view.folded):
            start = match.start()
            if start < last or covered[start]:
                continue
            last_named = next((e for e in range(start, max(0, start - 12), -1) if e in ends), -9)
            hit = self._numeric(view, match, max(last, last_named))
            if hit and not any(covered[hit[0] : hit[1]]):
                yield hit
                last = hit[1]

    # -- digits -------------------------------------------------------------------------------------------------------

    def _numeric(self, view: View, match: re.Match[str], last: int) -> tuple[int, int, str] | None:
        folded, start = view.folded, match.start()
        before = folded[max(0, start - 8) : start]
        previous = before[-1:]
        if (previous and previous in "lio") or (
            previous and previous in "/.-" and len(before) > 1 and before[-2] in "lio"
        ):
            slip = _SLIP_BEFORE.search(before)
            hit = self._forms.slipped(folded, start - len(slip.group())) if slip else None
            if slip and hit:
                return start - len(slip.group()), hit[1], "dates.numeric"
        if previous.isalpha() or previous == "_":
            return None
        chained = 0 <= start - last <= 8 and bool(self._join_only.match(folded[last:start]))
        if not chained and _GLUED.search(before):
            return None  # the middle of something longer
        current = self._current.match(folded, start) if self._current else None
        if current and 1 <= int(match.group()) <= 31 and self._list_day.before(folded, start, 2, 0):
            return start, match.end(), "dates.day"
        head = _RANGE_HEAD.match(folded, start)
        if head:
            start = head.start("last")  # the day before it is found from there
        found = self._forms.numeric(folded, start) or (self._forms.slipped(folded, start))
        wrong = self._forms.mistyped(folded, start)
        if wrong and (not found or found[1] < wrong) and (before.endswith(": ") or self._cued(folded, start)):
            return start, wrong, "dates.mistyped"
        if not found:
            return None
        written, end = found
        rest = folded[end : end + 8]
        if not self._is_date(view, written, start, end, rest, chained):
            return None
        if written.form == "month_year" and folded[start + 2] == " ":
            start = self._word_before(view, start) or start
        if written.whole:
            stamp = STAMP.match(folded, end)
            end = stamp.end() if stamp else end
        return start, end, f"dates.{written.form if written.form in ('year', 'pair', 'month_year') else 'numeric'}"

    def _is_date(self, view: View, written: Written, start: int, end: int, rest: str, chained: bool) -> bool:
        folded, form = view.folded, written.form
        text = folded[start:end]
        if form == "whole":
            if re.match(r"[/.]\d", rest) and not (len(text) >= 8 and rest[0] == "."):
                return False
            if len(text) < 8 and self._never.before(folded, start, 3, 0):
                return False  # "Apgar 7-9-10"
            blanks = not re.search(r"[^\d ]", text)
            if blanks and (re.match(r"[ .]\d", rest) or _DIGIT_NEAR.search(folded[max(0, start - 2) : start])):
                return not re.match(r" \d\d(?!\d)", rest) and bool(self._cued(folded, start))
            return not (blanks and self._unit.match(folded, end))
        if form in ("compact", "season"):
            return True
        if form == "spaced":
            return not re.match(r" \d", rest) and not re.search(r"\d \Z", folded[max(0, start - 2) : start])
        if form == "short":
            return bool(self._days.before(folded, start, 3))
        if self._unit.match(folded, end) and form != "month_year":
            return False
        if form == "month_year":
            if re.match(r" ?/\d", rest) or written.year is None or not 1900 <= written.year <= 2070:
                return False
            if " " in text.strip() and "/" not in text and "." not in text and "-" not in text:
                return len(text) == 7 and bool(self._months.before(folded, start, 2) or self._word_before(view, start))
            return not (text.startswith("1/") and written.year in (2048, 1920))
        goes_on = _GOES_ON.match(rest) and not chained
        if goes_on and not (form == "year" and _NEXT_YEAR.match(rest)):
            return False
        if form == "year":
            return self._is_year(view, start, end, rest, chained)
        return self._is_pair(view, written, start, text, rest, chained)

    def _is_year(self, view: View, start: int, end: int, rest: str, chained: bool) -> bool:
        folded, text = view.folded, view.text
        if not 1900 <= int(folded[start:end]) <= 2070 or re.match(r"[.,]\d|[/x]\d|\w", rest):
            return False
        if chained or self._years.before(folded, start, 3, 0):
            return True
        if self._join_year.match(folded, end) or self._with_weekday(view, start) != start:
            return True
        before = text[max(0, start - 12) : start]
        if self._bare_years and start and text[start - 1] in " \n\t(":
            # no unit behind it, no sum, no second part of a number
            return not _SUM.search(before) and not self._never.before(folded, start, 3, 0) and not _LEFT.match(rest)
        if before.endswith(("(", "[")) and re.match(r"[)\],;]| ?[\-–]", rest):
            return True
        return bool(_BULLET.search(before)) and (start > 0 or bool(rest.strip())) and not re.match(r"\s*\d", rest)

    def _is_pair(self, view: View, written: Written, start: int, text: str, rest: str, chained: bool) -> bool:
        folded = view.folded
        glued = None if chained else _LOOSELY_GLUED.search(folded, max(0, start - 5), start)
        if glued and not self._list_day.before(folded, glued.start(), 2, 0):
            return False
        if self._never.before(folded, start, 3, 0) or CLOCK.match(rest):
            return False
        if written.form == "month_short_year":
            if chained or self._months.before(folded, start, 2, 0):
                return "." not in text or text[0] == "0"
            tens = int(text[-2:])
            return self._bare_month_year and "/" in text and 13 <= tens <= 60 and tens not in (15, 20, 30)
        match = _SPINE.match(text.replace(" ", ""))
        if not match:
            return False
        first, second = re.findall(r"\d+", text)
        padded = len(first) == len(second) == 2 and "0" in (first[0], second[0])
        if chained and ("/" in text or ("." in text and padded)):
            return True
        if text.endswith(".") and " " not in text.strip():
            cue = self._days.before(folded, start, 2, 0)
            if (cue and cue[1] not in self._joins) or (len(first) == 2 and self._ends(rest)):
                return True
            # "(4.5.)", "11.1.:": behind the second point of a decimal stands the end of the sentence
            inside = bool(view.folded[view.line_of(start)[0] : start].strip(" -*•"))
            return self._pointed and inside and int(second) <= 12 and bool(_POINTED.match(rest))
        if "/" in text and padded:
            return True
        if self._days.before(folded, start, 2, 0):
            if "/" in text:  # no fraction (1/3) and no score of ten (8/10)
                return not (int(first) < int(second) <= 5 or (len(first) == 1 and second == "10"))
            if "-" in text and self._dashed:  # "op 5-2"; a range rises ("van 3-4")
                cue = self._days.before(folded, start, 2, 0)
                rises = int(first) < int(second) and (cue is None or cue[1] in self._joins)
                return int(second) <= 12 and not rises and not _LEFT.match(rest)
            return padded or (len(first) == 2 and len(second) == 2 and "-" not in text)
        return False

    def _ends(self, rest: str) -> bool:
        return bool(re.match(r" ?[\-–] ?\d", rest))

    def _cued(self, folded: str, start: int) -> bool:
        return bool(self._days.before(folded, start, 3))

    def _word_before(self, view: View, start: int) -> int | None:
        """Start of a day in words before a month and a year in digits."""
        word = re.search(r"(?<!\w)([a-z\-]{2,14}) \Z", view.folded[max(0, start - 16) : start])
        return start - len(word.group()) if word and self._forms.numbers.is_word(word[1].replace("-", "")) else None

    # -- around a date ------------------------------------------------------------------------------------------------

    def _with_weekday(self, view: View, start: int) -> int:
        before = view.folded[max(0, start - 2) : start]
        if before[-1:] not in (" ", "'") or not (before[0].isalpha() or before[0] == ","):
            return start  # most often
        match = _WEEKDAY.search(view.folded[max(0, start - 18) : start])
        if match and match[1] in self._weekdays:
            return start - len(match.group())
        season = self._season.search(view.folded, max(0, start - 34), start)
        named = season and (season[2] in self._forms.seasons or season[2] in self._forms.holidays)
        if not season or not named:
            return start
        before = view.text[season.start(1) : season.end(1)].lower() if season[1] else ""  # "à" is no "a"
        return start if before in self._participle else season.start(2)

    def _ahead(self, view: View, start: int) -> Iterator[Span]:
        """Days before a date that belong to it: ``3 au 7 mai 2020``, ``3-5/04/2021``, ``2.11. - 24.11.2022``."""
        for _ in range(4):
            before = view.folded[max(0, start - 20) : start]
            match = self._join_before.search(before)
            if not match or not 1 <= int(re.findall(r"\d+", match["part"])[0]) <= 31:
                return
            begin = start - len(before) + match.start("part")
            simple = match["part"].isdigit()
            joined_by_word = simple and match["join"] not in ("-", "–")
            listed = _LIST.search(view.folded, max(0, begin - 4), begin) or self._listed(view, begin)
            # "NUIT 26 AU 27 DECEMBRE": two days in turn are no count before a date
            last = _DAY.match(view.folded, start) if joined_by_word else None
            in_turn = last is not None and int(last.group()) == int(match["part"]) + 1
            if joined_by_word and not listed and not in_turn and not self._list_day.before(view.folded, begin, 2, 0):
                return
            if simple and re.search(r"[a-z]-?\Z", view.folded[max(0, begin - 2) : begin]):
                return
            end = begin + len(match["part"].rstrip("er"))
            yield self._span(view, begin, end, "dates.range")
            start = begin

    def _listed(self, view: View, begin: int) -> bool:
        """Whether another date and a joining word stand before: ``29/03, 7/04 et 4 et 5 mai``."""
        match = _DAY_MONTH_BEFORE.search(view.folded, max(0, begin - 24), begin)
        return bool(match and match["join"].strip() in self._joins)

    def _span(self, view: View, start: int, end: int, rule: str) -> Span:
        birth = self._births.before(view.folded, start, 5, 1)
        return Span(start, end, "birth_date" if birth else "date", 0.9, rule)


def joined_or_none(joined: str) -> str:
    """The alternatives as one group; one that matches nowhere where there are none."""
    return f"(?:{joined})" if joined else "(?!)"


def normal_join(word: str) -> str:
    """A connecting word as it stands in folded text."""
    return fold(word).strip()
