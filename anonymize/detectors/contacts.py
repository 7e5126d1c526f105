"""Telephone and fax numbers, e-mail addresses, web addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

import phonenumbers

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives

_EMAIL = re.compile(r"[\w.+\-*]{1,64}[ ]?@[ ]?[\w\-*]{1,63}(?:\.[\w\-*]{1,63}){1,5}")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"']{3,200}")
# Host names without a scheme: only under common top-level domains, in lower case, so that glued sentences stay.
_HOST = re.compile(
    r"(?<![\w.@])(?:[a-z0-9\-]{2,63}\.){1,4}(?:fr|be|ch|com|org|net|eu|ca|lu|de|es|uk|health|info|mc)(?![\w])(?:/[^\s]{0,200})?"
)
_DATE = re.compile(
    r"(?<!\d)\d{1,2}[/.\- ]\d{1,2}[/.\- ](?:19|20)\d\d(?!\d)|(?<!\d)(?:19|20)\d\d[/.\-]\d\d[/.\-]\d\d(?!\d)"
)
_NUMBER = re.compile(r"(?<![\w,.])(?:\(?\+ ?|00 ?)?\(?\d(?:[ .\-/()\u00a0]{0,3}\d){6,14}(?!\w)")


class Contacts(Detector):
    """Numbers that are valid in a region of the pack anywhere; any number of 4 digits or more after a cue."""

    kinds = ("phone", "email", "url")

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        self._regions: list[str] = pack["pack"]["phone_regions"]
        extension = alternatives(pack["detectors"]["contacts"]["extensions"])
        self._extension = re.compile(rf",? {{0,2}}{extension} ?\d{{2,5}}(?!\d)")
        cues = alternatives(pack["detectors"]["contacts"]["phone_cues"])
        self._after_cue = re.compile(
            rf"(?<!\w){cues}\.?(?: ?[:=°.\-/(]| ){{1,4}}"
            rf"(?:(?:[a-z]{{1,12}} ){{0,3}}[a-z]{{1,12}} ?: ?|[a-z]{{1,12}} )?"
            rf"(?P<number>\(?\+?\d(?:[ .\-/()]{{0,3}}\d){{3,14}})(?![\d])"
        )

    def find(self, view: View) -> Iterable[Span]:
        """Spans of whole numbers and addresses."""
        text, folded = view.text, view.folded
        if "@" in text:
            for match in _EMAIL.finditer(text):
                end = match.end() - (text[match.end() - 1] in ".-")
                yield Span(match.start(), end, "email", 0.99, "contacts.email")
        for pattern in (_URL, _HOST):
            for match in pattern.finditer(text):
                end = match.start() + len(match.group().rstrip(".,;:)"))
                yield Span(match.start(), end, "url", 0.95, "contacts.url")
        for match in self._after_cue.finditer(folded):
            yield self._span(folded, *match.span("number"), "contacts.cue")
        for match in _NUMBER.finditer(folded):
            if self._valid(match.group()):
                yield self._span(folded, *match.span(), "contacts.valid")

    def _span(self, folded: str, start: int, end: int, rule: str) -> Span:
        extension = self._extension.match(folded, end)
        return Span(start, extension.end() if extension else end, "phone", 0.95, rule)

    def _valid(self, number: str) -> bool:
        digits = sum(map(str.isdigit, number))
        if _DATE.search(number):
            return False
        if digits < 9 and not number.startswith(("+", "0")):
            return False
        for region in self._regions:
            try:
                parsed = phonenumbers.parse(number, region)
                check = phonenumbers.is_possible_number if number.startswith("+") else phonenumbers.is_valid_number
                if check(parsed):
                    return True
            except phonenumbers.NumberParseException:
                continue
        return False
