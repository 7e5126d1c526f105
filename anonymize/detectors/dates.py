"""Dates in every written form: numeric, ISO, HL7, letter-spaced, with month names, in words, month or year alone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.dates import forms_of
from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, fold

_D = r"(?:0?[1-9]|[12]\d|3[01])"
_M = r"(?:0?[1-9]|1[0-2])"
_Y = r"(?:(?:18|19|20)\d\d)"
_NOT_BEFORE = r"(?<![\d])(?<!\d[.,/\-])"
_NOT_AFTER = r"(?![\d])(?![/\-.,]\d)"


class Dates(Detector):
    """A date directly after a birth cue is a ``birth_date``."""

    kinds = ("date", "birth_date")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        self._forms = forms_of(pack)
        words, cues = pack["pack"], pack["detectors"]["dates"]
        self._numbers = frozenset(fold(str(word)) for word in words["number_words"])
        units = alternatives(pack["detectors"]["identifiers"]["units"])
        month = self._forms.month_regex
        ordinals = alternatives(words["first_of_month"])
        number = alternatives(words["number_words"])
        numbers = rf"{number}(?:[ \-]{{1,2}}{number}){{0,8}}"
        self._whole = re.compile(
            "|".join(
                (
                    rf"{_NOT_BEFORE}{_D} ?[/.\-] ?{_M} ?[/.\-] ?(?:{_Y}|\d\d){_NOT_AFTER}",
                    rf"{_NOT_BEFORE}{_M} ?[/.\-] ?{_D} ?[/.\-] ?{_Y}{_NOT_AFTER}",
                    rf"{_NOT_BEFORE}{_Y} ?[/.\-] ?{_M} ?[/.\-] ?{_D}(?!\d)",
                    rf"{_NOT_BEFORE}{_D} {_M} {_Y}(?!\d)",
                    rf"(?<![\w]){_Y}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?![\d])",
                    rf"(?<![\w])(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]){_Y}(?![\d])",
                    r"(?<![\d])\d \d ?[/.\-]? ?\d \d ?[/.\-]? ?(?:[12] [089] )?\d \d(?![\d])(?! \d)",
                )
            )
        )
        self._named = re.compile(
            rf"(?:(?<![\w.,/]){_D}(?:{ordinals}\b|\.)?[ .\-/]{{0,3}}(?:de |d')?)?(?<![^\W\d_])(?P<month>{month})"
            rf"(?:(?:[ .,\-/]{{1,3}}(?:de |del )?)(?:{_Y}|'?\d\d(?![\d,]|[.]\d| ?{units}\b)))?(?!\w)"
        )
        self._month_first = re.compile(rf"(?<!\w){month} {_D}(?:st|nd|rd|th)?,? {_Y}(?!\d)")
        self._spelled = re.compile(rf"(?<!\w){numbers} {month}(?: {numbers})?(?!\w)")
        self._month_cue = re.compile(rf"(?<!\w){alternatives(cues['month_cues'])} ?[:.]? ?$")
        guard = rf"(?!\d)(?![.,/]\d)(?! ?{units}(?!\w))"
        self._year = re.compile(rf"(?<!\w){alternatives(cues['year_cues'])} (?:l'an )?(?P<date>{_Y}){guard}")
        self._bracketed = re.compile(rf"[(\[](?P<date>{_Y})[)\]]")
        self._day_month = re.compile(
            rf"(?<!\w){alternatives(cues['day_cues'])} ?:? ?(?P<date>(?!10.10)"
            rf"(?:(?:0[1-9]|[12]\d|3[01])[/.\-](?:0[1-9]|1[0-2])|[1-9]/(?:0[1-9]|1[12])))(?![\d/])(?! ?{units}(?!\w))"
        )
        self._month_year = re.compile(rf"(?<![\d/.,\-])(?P<date>{_M}[/.\-]{_Y})(?![\d/])")
        self._birth_cue = re.compile(
            rf"(?<!\w){alternatives(cues['birth_cues'])}(?: ?[:.\-(/]| |le|en|the|am|el){{0,6}}$"
        )
        self._birth_year = re.compile(
            rf"(?<!\w){alternatives(cues['birth_cues'])}[ :.]{{1,4}}(?:en |in )?"
            rf"(?P<date>{_Y}|{_D}[/.\-]{_M}[/.\-]\d\d|\d{{6}})(?!\d)"
        )

    def find(self, view: View) -> Iterable[Span]:
        """Spans of dates, without the time of day."""
        folded = view.folded
        for match in self._whole.finditer(folded):
            yield self._span(view, *match.span(), "dates.numeric")
        for match in self._named.finditer(folded):
            if match.group() == match["month"] and not self._month_alone(view, match.start()):
                continue
            start = match.start()
            start += len(match.group()) - len(match.group().lstrip(" .-/"))
            yield self._span(view, start, start + len(folded[start : match.end()].rstrip(" .,-/")), "dates.named")
        for pattern, rule in (
            (self._month_first, "dates.named"),
            (self._spelled, "dates.spelled"),
        ):
            for match in pattern.finditer(folded):
                yield self._span(view, *match.span(), rule)
        for pattern, rule in (
            (self._year, "dates.year"),
            (self._bracketed, "dates.year"),
            (self._day_month, "dates.day_month"),
            (self._month_year, "dates.month_year"),
        ):
            for match in pattern.finditer(folded):
                yield self._span(view, *match.span("date"), rule)
        for match in self._birth_year.finditer(folded):
            yield Span(*match.span("date"), "birth_date", 0.95, "dates.birth")

    def _month_alone(self, view: View, start: int) -> bool:
        if view.folded[start:].split(" ", 1)[0].strip(".,;") in self._numbers:
            return False  # "depuis sept ans"
        return bool(self._month_cue.search(view.folded, max(0, start - 20), start))

    def _span(self, view: View, start: int, end: int, rule: str) -> Span:
        birth = self._birth_cue.search(view.folded, max(0, start - 30), start)
        return Span(start, end, "birth_date" if birth else "date", 0.9, rule)
