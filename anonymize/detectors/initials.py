"""Initials of those who dictated, typed and signed a report: ``Réf. : DLM/ag``, ``PLSO/jb``, ``frappée le 21/03 (VB)``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.report import Span
from anonymize.sections import parser_of
from anonymize.text import Anchored, View, alternatives, fold, folded

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
# "le 6 mai 2024 / PYC-mr": who dictated and who typed, behind the date of a letter
_DATED = re.compile(
    rf"(?:(?:19|20)\d\d|[./\-]\d\d) ?[/,\-–] ?"
    rf"(?P<initials>{_UPPER}{{2,4}}[/\-]{_LOWER}{{2,3}}|{_LOWER}{{2,3}}/{_LOWER}{{2,3}})[ \t]*$",
    re.M,
)
# Apart at the end of a line: "Dr Amaia Etchebar          AE/jl"
_APART = re.compile(rf"(?:(?<=[ ]{{4}})|(?<=\t))(?P<initials>{_UPPER}{{2,4}} ?[/:\-] ?{_LOWER}{{2,4}})[ \t]*$", re.M)
# "signé DKA", "Lu par BM et OZ", "Getypt: KVDB"
_BY = re.compile(
    rf"(?: ?: ?| )(?P<initials>{_UPPER}{{2,4}})(?: ?(?:/|&|,|[a-z]{{1,3}}) (?P<second>{_UPPER}{{2,4}}))?(?=[ ]?(?:$|[\n.,;)|]|- ))"
)
# "S.H.", "cgb", "FB" alone at the end of a note
_ALONE = re.compile(
    rf"(?:[^\n]{{0,200}}[.!?),;] {{1,3}}|[ \t]{{0,24}}[\-–—]?[ ]{{0,3}})"
    rf"(?P<initials>(?:{_UPPER}\.-?){{2,4}}|{_UPPER}{{2,3}}|{_LOWER}{{2,3}})[ \t]*$"
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
        # a verb alone says less than "read by": what stands behind it need not be a person
        signs = [*words.get("signs", []), *words["typists"]]
        self._by = Anchored(signs, rf"(?<!\w){alternatives(signs)}(?!\w)")
        self._sections = parser_of(pack)
        self._abbreviations = frozenset(word for word in pack.lists.clinical if len(word) < 6)
        units = pack["detectors"]["identifiers"]["units"]
        self._words = pack.lists.stop | pack.lists.titles | frozenset(word.rstrip(".") for word in folded(units))
        self._lexicon = Lexicon(pack)

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
        for match in self._by.finditer(view) if view.case == "mixed" else ():
            found = _BY.match(text, match.end())
            if found and fold(found["initials"]) not in self._abbreviations:
                yield from self._spans(found, "names.written")
                if found["second"]:
                    yield Span(*found.span("second"), "initials", 0.8, "names.written")
        for start, end in view.lines if view.digits else ():
            if (text[end - 1].islower() or text[end - 1] in " \t") and (
                "/" in text[end - 9 : end] or "-" in text[end - 9 : end]
            ):
                yield from self._spans(_DATED.search(text, max(start, end - 24), end), "names.typed")
        last = view.lines[-_LAST:]
        for number, (start, end) in enumerate(last):
            yield from self._spans(_LINE.match(text, start, end), "names.typed")
            yield from self._spans(_APART.search(text, start, end), "names.typed")
            if number == len(last) - 1 and view.case != "upper" and len(view.lines) > 2:
                yield from self._alone(view, _ALONE.match(text, start, end))
            signed = _SIGNED.match(text, start, end)
            if signed and (number == len(last) - 1 or start >= self._sections.edges(view)[1]):
                yield from self._spans(signed, "names.signature")

    def _alone(self, view: View, match: re.Match[str] | None) -> Iterable[Span]:
        """The last letters of a note, where they are no word and no abbreviation."""
        if match is None:
            return
        letters = fold(match["initials"])
        plain = letters in self._abbreviations or letters in self._words or self._lexicon.codes(letters)[0] > 3
        if not plain or "." in letters:
            yield from self._spans(match, "names.signature")

    @staticmethod
    def _spans(match: re.Match[str] | None, rule: str) -> Iterable[Span]:
        if match:
            yield Span(*match.span("initials"), "initials", 0.8, rule)
