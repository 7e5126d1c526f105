"""Postcodes of the pack's countries, and the towns behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anonymize.detectors.address_parts import AddressParts
from anonymize.detectors.protected_terms import protected_of
from anonymize.detectors.town_reader import TOWN_WORD, TownReader
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, words_of

_GLUED = re.compile(r"[a-z\d][\-/.]$")
_AFTER_CODE = re.compile(r"[ ,]{1,3}|\n")
_HEADING = re.compile(r"[ .]{0,24}:")
_COUNTRIES = frozenset(("f", "b", "ch", "l", "d", "a", "e", "lu"))
_HOUSE_BEFORE = re.compile(r"[^\W\d_]\.? \d{1,3} ?[a-z]?(?: /)? $")


class Postcodes:
    """Finds them for :class:`anonymize.detectors.places.Places`."""

    def __init__(self, pack: Pack, reader: TownReader, parts: AddressParts) -> None:
        words = pack["detectors"]["places"]
        self._reader, self._parts = reader, parts
        self._protected = protected_of(pack).words
        labels = alternatives(words["address_labels"])
        self._label = re.compile(rf"(?<!\w){labels} ?: ?$")
        self._postcode = re.compile(
            r"(?<![\w.,/+])(?<!\d-)(?P<code>(?:(?:f|b|ch|l|d|a|e|lu) ?- ?)?\d{4,5})(?P<gap>[ ,]{1,3}|\n)(?=[a-z'])"
        )
        self._canadian = re.compile(
            r"(?<!\w)(?P<code>[abceghj-nprstvxy]\d[abceghj-nprstv-z] ?\d[abceghj-nprstv-z]\d)(?!\w)"
        )
        provinces = rf"\(?{alternatives(words.get('provinces', []))}\)?,? {{1,3}}$"
        self._province = re.compile(rf"[ ,]{provinces}")
        self._before_code = re.compile(rf"(?P<town>{TOWN_WORD}(?: {TOWN_WORD}){{0,3}}),? ?{provinces}")
        self._british = re.compile(r"(?<!\w)[a-z]{1,2}\d[a-z\d]? \d[abd-hjlnp-uw-z]{2}(?!\w)")
        codes = words.get("postcodes", [])
        self._codes = re.compile("|".join(rf"(?<!\w)(?:{code})(?!\w)" for code in codes)) if codes else None
        # where bare four digits count behind a street or a cue alone: in German, years stand before nouns with capitals
        where = alternatives([*words["address_labels"], *words["town_cues"]])
        self._behind_street = (
            re.compile(rf"\d ?[a-z]?(?:/\d{{1,3}})?[ ,|\n\-]{{1,4}}$|(?<!\w){where} ?:? ?$")
            if words.get("bare_four_digits") == "behind_street"
            else None
        )

    def find(self, view: View, numbers: list[tuple[int, int]]) -> Iterable[Span]:
        """Spans of codes and towns. ``numbers``: offset and word number of each run of up to five digits."""
        # letters with digits behind them: SW1A 2AA, H1A 1A1
        codes = [
            (view.starts[index - 1], index)
            for index in view.digits
            if index and view.ends[index - 1] == view.starts[index] and len(view.words[index - 1]) <= 2
        ]
        for match in matches_at(self._british, view, codes):
            if view.case == "lower" or match.group().upper() == view.text[slice(*match.span())]:
                yield Span(*match.span(), "postcode", 0.85, "places.postcode")
        prefixed = [
            (view.starts[index - 1] if index and view.words[index - 1] in _COUNTRIES else start, index)
            for start, index in numbers
            if len(view.words[index]) >= 4
        ]
        for match in matches_at(self._postcode, view, prefixed):
            code = match["code"]
            end = self._reader.read(view, match.end())
            if not end:
                continue
            if code.isdigit() and len(code) == 4:  # Belgium and Switzerland: four digits can be anything
                before = view.folded[max(0, match.start() - 3) : match.start()].strip(" ")
                labelled = before.endswith(":") and self._label.search(
                    view.folded, max(0, match.start() - 40), match.start()
                )
                if self._behind_street:
                    if not labelled and not self._behind_street.search(
                        view.folded, max(0, match.start() - 30), match.start()
                    ):
                        continue
                elif before and before[-1] not in ",-|\n(•·" and not labelled:
                    # "Avenue Crocq 15 1020 Bruxelles": a house number behind a word
                    housed = _HOUSE_BEFORE.search(view.folded, max(0, match.start() - 24), match.start())
                    if not housed or set(words_of(view.text[match.end() : end])) & (
                        self._reader.common | self._protected
                    ):
                        continue
                if _GLUED.search(view.folded, max(0, match.start() - 2), match.start()):
                    continue  # the end of a number or a date
                if code[:2] in ("19", "20") and view.text[match.end() :][:1].islower():
                    continue
            if match["gap"] == "  " and code[:2] in ("19", "20") and view.opens_line(match.start()):
                continue  # a list of years
            yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
            yield Span(match.end(), end, "town", 0.85, "places.postcode")
            if len(code) == 5:
                yield from self._parts.before_code(view, match.start())
        for match in self._codes.finditer(view.folded) if numbers and self._codes else ():
            if not any(map(str.isupper, view.text[slice(*match.span())])):
                continue  # letters of a code are capitals: "1250 mg" is none
            yield Span(*match.span(), "postcode", 0.85, "places.postcode")
            gap = _AFTER_CODE.match(view.text, match.end())
            end = self._reader.read(view, gap.end()) if gap else None
            if gap and end and not (gap.group() == "\n" and _HEADING.match(view.folded, end)):
                yield Span(gap.end(), end, "town", 0.85, "places.postcode")
        for match in matches_at(self._canadian, view, codes):
            if any(char.isupper() for char in match.group()) or match.group().count(" ") or view.case != "mixed":
                yield Span(*match.span("code"), "postcode", 0.85, "places.postcode")
                after = (
                    self._reader.read(view, match.end() + 1)
                    if view.text[match.end() : match.end() + 1] in (" ", ",")
                    else None
                )
                if after:
                    yield Span(match.end(), after, "town", 0.7, "places.postcode")
                before = None
                if self._province.search(view.folded, max(0, match.start() - 14), match.start()):
                    before = self._before_code.search(view.folded, max(0, match.start() - 60), match.start())
                if before:
                    yield Span(*before.span("town"), "town", 0.85, "places.postcode")


def matches_at(pattern: re.Pattern[str], view: View, starts: list[tuple[int, int]]) -> Iterator[re.Match[str]]:
    """Matches of ``pattern`` that begin at one of ``starts`` (offset, word number of a run of digits), without overlaps.

    An offset that does not lead to a match is tried again at the digits themselves: the word before them was none of it.
    """
    done, folded = 0, view.folded
    for start, index in starts:
        match = pattern.match(folded, start) if start >= done else None
        if not match and start < (digits := view.starts[index]) and digits >= done:
            match = pattern.match(folded, digits)
        if match:
            done = match.end()
            yield match
