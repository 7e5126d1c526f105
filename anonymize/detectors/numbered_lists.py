"""Patients of a staff meeting or a ward, one a line: ``1) Pinson Ernest 72a : ...``, ``4P - Lajoie Lucette : ...``.

Findings are numbered too. A list is one of persons where two lines or more begin with a word that people bear and that
is none of the language, of the clinic or an eponym; then a rare word at the same place is a name as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.detectors.name_reader import NameReader
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, fold

_ITEM = re.compile(
    r"[ \t]*(?:\d{1,3}[A-Za-z]{0,2}[ ]?[).:\-–]|\d{1,3}[FPfp]?(?= {2,}|\t))[ \t\-–]{0,4}"
    r"(?P<name>(?P<surname>[A-ZÀ-ÖØ-Þ][^\W\d_]{2,}(?:-[^\W\d_]{2,})?)(?: [A-ZÀ-ÖØ-Þ](?:[^\W\d_]+|\.))?)"
    r"(?= ?[:,(]| \d{1,3}[ ]?[a-z]| [a-z]| -|$)"
)
_RARE = 2  # frequency class up to which a word that nobody lists may be a surname
_ORDINARY = 6  # from here on a word is one of every text


class NumberedLists(Detector):
    """Spans of surname and given name."""

    kinds = ("name",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        known = NameReader(pack)
        self._lexicon = known.lexicon
        self._never = known.clinical | known.stop | known.roles | known.calendar | protected_of(pack).words
        self._never |= pack.lists.heads
        self._common = known.common

    def find(self, view: View) -> Iterable[Span]:
        """Spans with a score of 0.75."""
        if len(view.digits) < 2 or view.case == "lower":
            return
        items = [match for start, end in view.lines if (match := _ITEM.match(view.text, start, end))]
        if len(items) < 2:
            return
        surnames = [fold(match["surname"]) for match in items]
        borne = list(map(self._borne, surnames))
        if sum(borne) < 2:
            return
        for match, surname, listed in zip(items, surnames, borne, strict=True):
            if listed or self._unknown(surname):
                given = fold(match["name"][len(match["surname"]) :].strip(" ."))
                whole = given not in self._never
                yield Span(*match.span("name" if whole else "surname"), "name", 0.75, "names.numbered")

    def _borne(self, word: str) -> bool:
        frequency, given, surname, _ = self._lexicon.codes(word)
        listed = 0 < surname < 4 or 0 < given < 4
        ordinary = word in self._common and 1 not in (given, surname)
        return listed and word not in self._never and not ordinary and frequency < _ORDINARY

    def _unknown(self, word: str) -> bool:
        return word not in self._never and word not in self._common and self._lexicon.codes(word)[0] <= _RARE
