"""Initials of those who dictated, typed and signed a report: ``Réf. : DLM/ag``, ``PLSO/jb``, ``frappée le 21/03 (VB)``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.sections import parser_of
from anonymize.text import Anchored, View, alternatives, fold

_UPPER = r"[A-ZÀ-Ý]"
_LOWER = r"[a-zà-ÿ]"
# "DLM/ag", "FB/ cm", "MLD/SP", "J.-P. L./ab": who dictated, who typed
_PAIR = rf"(?:{_UPPER}\.?[\- ]?){{2,5}} ?[/\\:|] ?(?:{_LOWER}{{2,4}}|(?:{_UPPER}\.?){{2,4}})"
_AFTER_CUE = re.compile(
    rf" ?[:=.]? {{0,3}}(?P<initials>{_PAIR}|{_UPPER}{{2,4}}(?=[ ]?[/\-] ?\d))(?![\w'’])(?! ?[/\-][A-Z]*\d*[A-Z])"
)
_LINE = re.compile(
    rf"[ \t]*(?:[*(\-–] ?)?(?P<initials>(?:{_UPPER}\.?-?){{2,5}} ?[/:] ?{_LOWER}{{2,4}})[ \t)*.]*$", re.M
)
_SIGNED = re.compile(rf"[ \t\-–—]*(?P<initials>{_UPPER}\. ?-?(?:{_UPPER}\. ?-?){{0,2}}{_UPPER}\.?)[ \t]*$", re.M)
_BRACKET = re.compile(
    rf"[^()\n]{{0,30}}\((?P<initials>(?:{_UPPER}\.?){{2,4}}(?: ?/ ?(?:{_UPPER}{{2,4}}|{_LOWER}{{2,4}}))?)\)"
)
_LAST = 4  # lines of a document that may hold nothing but initials


class Initials(Detector):
    """Spans of initials behind references, acts of writing, and alone at the end of the text."""

    kinds = ("initials",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["names"]
        self._references = Anchored(words["references"], rf"(?<!\w){alternatives(words['references'])}(?![^\W\d_])")
        self._written = Anchored(words["written"], rf"(?<!\w){alternatives(words['written'])}(?!\w)")
        self._sections = parser_of(pack)
        clinical = pack.words("clinical")
        self._abbreviations = frozenset(fold(word) for word in clinical if len(word) < 6)

    def find(self, view: View) -> Iterable[Span]:
        """Spans with a score of 0.8."""
        text = view.text
        for match in self._references.finditer(view):
            found = _AFTER_CUE.match(text, match.end())
            if found and fold(found["initials"]) not in self._abbreviations:
                yield from self._spans(found, "names.reference")
        for match in self._written.finditer(view):
            found = _BRACKET.match(text, match.end())
            if found and fold(found["initials"]) not in self._abbreviations:
                yield from self._spans(found, "names.written")
        last = view.lines[-_LAST:]
        for number, (start, end) in enumerate(last):
            yield from self._spans(_LINE.match(text, start, end), "names.typed")
            signed = _SIGNED.match(text, start, end)
            if signed and (number == len(last) - 1 or start >= self._sections.edges(view)[1]):
                yield from self._spans(signed, "names.signature")

    @staticmethod
    def _spans(match: re.Match[str] | None, rule: str) -> Iterable[Span]:
        if match:
            yield Span(*match.span("initials"), "initials", 0.8, rule)
