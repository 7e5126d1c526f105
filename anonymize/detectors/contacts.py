"""Telephone, fax and pager numbers, extensions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import phonenumbers

from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives, fold

_DATE = re.compile(
    r"(?<!\d)\d{1,2}[/.\- ]\d{1,2}[/.\- ](?:19|20)\d\d(?!\d)|(?<!\d)(?:19|20)\d\d[/.\-]\d\d[/.\-]\d\d(?!\d)"
)
_SEP = r"(?: ?[.\-/()_] ?|[ \u00a0]{1,3}| ?\(0\) ?)"
_NUMBER = re.compile(rf"(?:\(?\+ ?|00 ?|\()?\d(?:{_SEP}?(?:\d|o(?![a-z]))){{4,16}}(?!\d)")
_SHORT = re.compile(rf"\d(?:{_SEP}?\d){{2,15}}(?!\d)")
_RUN = re.compile(r"\d+")
# A moment as machines write it ("20240819 17:02"), the root of an object identifier
_STAMP = re.compile(r"(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d[ t]\d\d:|[012]\.\d{1,3}\.\d{1,6}(?:\.\d{1,10}){2}")
_MEASURE = re.compile(r"\d+[.,]\d+$|\d[.,]\d{1,2} ")
_PAIRS = re.compile(r"0[1-9]([ .\-/])\d\d(?:\1\d\d){3}(?!\d)")
_COUNTRY = re.compile(r"\((?:\+|00)?\d{2,3}\) ?$")
_WORD_BEHIND = re.compile(r" \(?([a-z]+)(?!\w)")
_MORE = re.compile(r" ?\d")
_PLUS = re.compile(r"(?:\(?\+ ?|\()$")


class Contacts(Detector):
    """Numbers valid in a region of the pack anywhere; possible ones, and short ones, after a cue."""

    kinds = ("phone",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        self._regions: list[str] = pack["pack"]["phone_regions"]
        self._french = "FR" in self._regions
        words = pack["detectors"]["contacts"]
        self._valid = lru_cache(maxsize=4096)(self._is_valid)  # letterheads repeat
        extension = alternatives(words["extensions"])
        self._extension = re.compile(rf",? {{0,2}}{extension} ?:? ?\d{{2,5}}(?!\d)")
        self._tail = re.compile(
            rf" ?(?:[\-/,]|{alternatives(words.get('and', ['/']))}) ?(?P<tail>\d{{2,4}})(?![\d./]|[.,]\d)"
        )
        pagers = [*words.get("pagers", []), *(word for word in words["extensions"] if len(str(word)) > 2)]
        self._cues = Cues({"phone": words["phone_cues"], "pager": pagers}, words.get("fillers", []))
        # "28-64-66-98 office": single words that may stand behind the number
        self._behind = frozenset(
            word for word in map(fold, map(str, words["phone_cues"])) if word.isalpha() and len(word) > 2
        )
        self._unit = re.compile(rf" ?(?:(?:{alternatives(pack['detectors']['identifiers']['units'])}(?!\w))|%)")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of whole numbers with their extension."""
        folded, end = view.folded, -1
        for run in _RUN.finditer(folded):
            start = run.start()
            if start < end or folded[start - 1 : start].isalpha():
                continue
            signed = folded[start - 1 : start] in ("+", "(", " ")
            plus = _PLUS.search(folded, max(0, start - 3), start) if signed else None
            begin = plus.start() if plus else start
            if not plus and folded[start - 2 : start - 1].isdigit():
                sign = folded[start - 1]
                if sign in ".,-_/" or (sign == " " and run.end() - start == 1):
                    continue  # the middle of something longer
            found = self._at(folded, begin, run)
            if found:
                yield found
                end = found.end

    def _at(self, folded: str, begin: int, run: re.Match[str]) -> Span | None:
        match = None if _STAMP.match(folded, begin) else _NUMBER.match(folded, begin)
        if match and not self._column(folded, begin, match.group()):
            value = match.group()
            if self._in_pairs(value) or self._valid(value):
                return self._span(folded, begin, match.end(), "contacts.valid")
            for end in self._shorter(value):  # two numbers side by side
                if self._valid(value[:end]):
                    return self._span(folded, begin, begin + end, "contacts.valid")
        cue = self._cues.before(folded, begin, 10, 1)
        if not cue:
            behind = _WORD_BEHIND.match(folded, match.end()) if match else None
            if not match or not behind or behind[1] not in self._behind:
                return None
            value = match.group()
            plain = (
                len(re.findall(r"\d", value)) >= 7
                and not self._column(folded, begin, value)
                and not _DATE.search(value)
            )
            return self._span(folded, begin, match.end(), "contacts.cue") if plain else None
        match = match or _SHORT.match(folded, begin)
        if not match or _DATE.match(match.group()) or self._unit.match(folded, match.end()):
            return None
        digits = len(re.findall(r"\d", match.group()))
        least = 2 if cue[0] == "pager" else 4 if len(cue[1]) > 1 else 8
        if digits < least or _MEASURE.match(match.group()):
            return None
        if digits > 8 and match.group()[0] not in "+0(" and not self._possible(match.group()):
            return None
        return self._span(folded, begin, match.end(), "contacts.cue")

    def _in_pairs(self, value: str) -> bool:
        """``01 23 45 67 89``, as nothing but a French number is written: known without looking it up."""
        pairs = _PAIRS.match(value) if self._french else None
        return bool(pairs and pairs.end() == len(value))

    @staticmethod
    def _column(folded: str, begin: int, value: str) -> bool:
        """Groups of figures beside others, as in a table: no telephone number stands so."""
        if value[0] in "+(" or _PAIRS.match(value):
            return False
        if re.search(r"[.,]\d{1,2} ", value) and not re.match(r"0\d", value):
            return True  # decimals
        if re.search(r"[^\d ]", value):
            return False
        if folded[begin - 1 : begin] == ":" and folded[begin - 2 : begin - 1].isdigit():
            return True
        after = folded[begin + len(value) : begin + len(value) + 2]
        beside = re.search(r"\d {1,2}$", folded[max(0, begin - 3) : begin]) or re.match(r" \d| ?[.,]\d", after)
        return bool(beside or re.fullmatch(r"\d{1,2}(?: \d{1,2}){3,}", value))

    @staticmethod
    def _shorter(value: str) -> list[int]:
        """Ends at which a long run of groups may be cut, longest first."""
        digits = [index for index, char in enumerate(value) if char.isdigit()]
        if len(digits) <= 10:
            return []
        return [
            digits[count - 1] + 1
            for count in range(min(len(digits) - 1, 12), 8, -1)
            if re.match(r"(?: {1,3}|[/,] ?)[\d(+]", value[digits[count - 1] + 1 :])
        ]

    def _span(self, folded: str, start: int, end: int, rule: str) -> Span:
        country = _COUNTRY.search(folded, max(0, start - 8), start) if folded[start - 1 : start] in (" ", ")") else None
        start = country.start() if country else start
        extension = self._extension.match(folded, end)
        tail = self._tail.match(folded, end) if rule == "contacts.valid" else None
        if extension:
            end = extension.end()
        elif tail and not _MORE.match(folded, tail.end()) and not self._unit.match(folded, tail.end()):
            end = tail.end()
        return Span(start, end, "phone", 0.95, rule)

    def _possible(self, number: str) -> bool:
        return any(self._parsed(number, region, phonenumbers.is_possible_number) for region in self._regions)

    def _is_valid(self, number: str) -> bool:
        number = re.sub(r"(?<=[\d .\-])o|o(?=\d)", "0", number)
        digits = len(re.findall(r"\d", number))
        if _DATE.search(number) or digits < 8:
            return False
        if digits < 9 and not number.startswith(("+", "0", "(")):
            return False
        international = number.lstrip("( ").startswith("+")
        check = phonenumbers.is_possible_number if international else phonenumbers.is_valid_number
        return any(self._parsed(number, region, check) for region in self._regions[: 1 if international else None])

    @staticmethod
    def _parsed(number: str, region: str, check: object) -> bool:
        try:
            return bool(check(phonenumbers.parse(number, region)))  # type: ignore[operator]
        except phonenumbers.NumberParseException:
            return False
