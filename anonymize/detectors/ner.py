"""What the trained tagger of the language finds: names, towns, institutions, addresses, dates and numbers without a cue.

The tagger reads forms; what it says is checked against what such a thing looks like: in a text with capitals a name has
one, an address has a number or a capital, an identifier has five digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from anonymize.dates import forms_of
from anonymize.detectors import Detector
from anonymize.detectors.hl7 import SEGMENTS
from anonymize.detectors.name_edges import NameEdges
from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.ner.network import Network, load_network
from anonymize.ner.tokens import Features
from anonymize.report import Span
from anonymize.text import View, alternatives, fold

# Rules say more exactly what a number is; where they are silent it is an identifier.
_KIND_OF = {"number": "id", "contact": "email"}
_WORD = re.compile(r"[^\W\d_]+")
_SEGMENT = re.compile(r"([A-Z][A-Z\d]{2})\|")
_SURE = 0.97
_LIKELY = 0.7
_FREQUENT = 6  # frequency class of the few hundred words that make most of a text
_DOTTED = re.compile(r"\w\.\w")
_LABEL = re.compile(r"([A-Z]{2,4}) (?=\d)")
_DECIMAL = re.compile(r"\d ?[.,]\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
_FOLLOWING = re.compile(r" ([A-ZÀ-ÖØ-Þ][^\W\d_]{2,})(?![\w'’])")
_ARTICLE = re.compile(r"(?<=[^.!?:\n\-•] )(?P<word>[A-ZÀ-Ý][a-z]{0,3}) \Z")
_AFTER_LABEL = re.compile(r"[ \t]{0,3}[:°º=]")
_CAPITAL = re.compile(r"[A-ZÀ-ÖØ-Þ][^\W\d_]{2}")
_ORDINARY = 3  # frequency class from which an unlisted word is an everyday one
_SHORT = 600  # characters up to which an unknown word in capitals may well be a name


class Ner(Detector):
    """Spans of the tagger. Their score is the lowest probability of their words."""

    kinds = ("name", "town", "institution", "address", "date", "id", "email")

    def __init__(self, pack: Pack, folder: Path) -> None:
        super().__init__(pack)
        self.lexicon = Lexicon(pack)
        self.network: Network = load_network(folder, Features(self.lexicon))
        self._forms = forms_of(pack)
        self._month = re.compile(rf"(?<![^\W\d_]){self._forms.month_regex}")
        self._particles = pack.lists.particles
        self._stop = frozenset(word.rstrip(".") for word in pack.lists.stop) | pack.lists.titles
        self._stop |= self._particles
        self._stop -= pack.lists.calendar  # "Dr Avril"
        self._eponyms = protected_of(pack).words
        self._medical = pack.lists.clinical
        self._terms = self._medical - self._stop
        self._edges = NameEdges(pack, self.lexicon)
        self._clinical = self._medical | pack.lists.common
        units = alternatives(pack["detectors"]["identifiers"]["units"])
        self._nouns = bool(pack["detectors"]["names"].get("noun_capitals", False))
        tag = r"[\da-f]{4},[\da-f]{4}"
        self._measure = re.compile(
            rf"(?<![\w.,/])\d{{1,4}}(?:[.,]\d{{1,3}})? ?{units}(?!\w)|(?<!\w)[cdtls]\d{{1,2}}(?:-[cdtls]?\d{{1,2}})?(?!\w)"
            # the tag of a DICOM element, in brackets with what stands behind it
            rf"|(?<=\(){tag}\)?(?: [a-z]{{2}}(?!\w))?|(?<!\w){tag}(?!\w)"
        )
        # what announces a number is none of it
        words = pack["detectors"]["identifiers"]
        kinds = ("patient_id", "visit_id", "professional_id", "national_id")
        labels = alternatives(label for kind in kinds for label in map(str, words.get(kind, [])) if len(label) > 1)
        self._label = re.compile(rf"\W*{labels}(?![^\W\d_])[ .:#°º]*")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of all its kinds."""
        for span in self.network.tag(view.text, view.case):
            kind = _KIND_OF.get(span.kind, span.kind)
            for start, end in self._pieces(view, span):
                checked = self._checked(view, Span(start, end, kind, span.score, "ner.trained"))
                if checked:
                    yield checked

    def _pieces(self, view: View, span: Span) -> Iterable[tuple[int, int]]:
        """The range of ``span`` without the measures and the levels of the spine that a run of numbers swallowed."""
        position = span.start
        if span.kind in ("number", "date"):
            for match in self._measure.finditer(view.folded, span.start, min(len(view.text), span.end + 8)):
                if match.start() >= span.end:
                    break
                if match.start() > position:
                    yield position, match.start()
                position = max(position, match.end())
        if position < span.end:
            yield position, span.end

    def _checked(self, view: View, span: Span) -> Span | None:
        label = self._label.match(view.folded, span.start, span.end)
        if label and span.kind in ("id", "name", "institution", "town"):
            if label.end() == span.end:
                return None
            span = replace(span, start=label.end()) if view.text[label.end()].isdigit() else span
        text = view.text[span.start : span.end]
        segment = _SEGMENT.match(view.text, view.line_of(span.start)[0]) if "|" in view.text else None
        if segment and segment[1] in SEGMENTS and segment[1] != "OBX":
            return None  # HL7: its own detector knows the fields
        digits = sum(map(str.isdigit, text))
        if view.text[span.end : span.end + 1] == "=":
            return None  # the key before a value
        if span.kind == "id":
            label = _LABEL.match(text)
            if label and fold(label[1]) in self._clinical:
                span = replace(span, start=span.start + label.end())
            return span if digits >= 5 or (digits == 4 and span.score >= 0.9) else None
        if span.kind == "date":
            written = digits >= 6 or (digits and self._month.search(view.folded, span.start, span.end))
            if written or (not digits and span.score >= _SURE and len(_WORD.findall(text)) >= 3):
                return span
            share = text.endswith("/10")  # visual acuity
            year = _YEAR.fullmatch(text) and span.score >= _SURE
            known = span.score >= 0.8 and digits >= 3 and not share and self._forms.parse(text)
            return span if known or year else None
        if span.kind == "email":
            return span if "@" in text or _DOTTED.search(text) else None
        if span.kind == "address" and digits:
            decimal = _DECIMAL.match(view.text, span.end - 1)
            return span if view.case != "mixed" or (not decimal and _CAPITAL.search(text)) else None
        if view.case == "lower":
            return self._lowered(view, span) if span.score >= 0.8 or span.kind == "address" else None
        return self._with_capital(view, span, digits)

    def _lowered(self, view: View, span: Span) -> Span | None:
        """``span`` without the function words at its edges, None where it is one ordinary word: for a text without
        capitals."""
        if span.kind != "name":
            return span
        words = list(_WORD.finditer(view.text, span.start, span.end))
        while words and fold(words[-1].group()) in self._stop:
            words.pop()
        if not words:
            return None
        if len(words) == 1:
            folded = fold(words[0].group())
            frequency, given, surname, _ = self.lexicon.codes(folded)
            if folded in self._clinical or (frequency >= _FREQUENT and not 0 < min(given or 9, surname or 9) < 3):
                return None
        end = words[-1].end()
        return span if _WORD.search(view.text, end, span.end) is None else replace(span, end=end)

    def _with_capital(self, view: View, span: Span, digits: int) -> Span | None:
        """The part of ``span`` from its first to its last capitalised word; None where there is none that can be a name."""
        words = [match for match in _WORD.finditer(view.text, span.start, span.end) if match.group()[0].isupper()]
        while len(words) > 1 and self._opens_sentence(view, words):
            words.pop()  # "Gasnier Ludovic. La maman"
        while len(words) > 1 and span.kind == "name" and self._announces(view, words[-1]):
            words.pop()  # "Albert Lila Tél :"
        if not words:
            return span if span.kind == "name" and self._borne(view.text[span.start : span.end], span.score) else None
        long = [match.group() for match in words if len(match.group()) > 1]
        if span.kind in ("name", "town"):
            elided = len(words[0].group()) == 1 and view.text[words[0].end() : words[0].end() + 1] in ("'", "’")
            alone = len(words) == 1 or (elided and len(words) == 2)
            if not long or (alone and not self._nameable(view, long[0], span.score)):
                return None
            if span.kind == "name" and alone and self._no_person(long[0], span.score):
                return None
            graded = len(words[-1].group()) == 1 and view.text[words[-1].end() : words[-1].end() + 1] != "."
            if span.kind == "name" and span.score < 0.995 and len(long) < 3 and self._term(long, graded):
                return None
            if self._nouns and all(fold(word) in self._medical for word in long):
                return None  # "AZ und EZ"
            start, end = words[0].start(), words[-1].end()
            if len(words[-1].group()) == 1 and view.text[end : end + 1] == ".":
                end += 1
            for match in _WORD.finditer(view.text, end, span.end):  # a name whose end lost its capital
                frequency, *ranks = self.lexicon.codes(fold(match.group()))
                if len(match.group()) > 3 and (not frequency or (any(ranks) and frequency < 5)):
                    end = match.end()
            if span.kind == "town" and view.text[end : span.end].strip().isdigit():
                end = span.end
            article = _ARTICLE.search(view.text, max(0, start - 6), start) if view.case == "mixed" else None
            if article and len(long) == 1 and fold(article["word"]) in self._particles:
                start = article.start("word")  # "le labo de La Mure", "biopsie de M Le Lan"
            if span.kind == "name":
                likely = span.score >= _LIKELY  # an unsure one is no reason to take more
                start = self._edges.start(view, start) if likely else start
                end = self._with_surname(view, words[-1].group(), end) if view.case == "mixed" else end
                end = self._edges.end(view, end) if likely else end
            return Span(start, end, span.kind, span.score, span.rule)
        alone = fold(long[0]) if self._nouns and len(long) == len(words) == 1 else ""
        if alone and self._everyday(alone, _ORDINARY + 1) and not 0 < self.lexicon.codes(alone)[3] < 4:
            return None  # "Direktor der Klinik"
        if digits or span.score >= 0.995:
            return span
        # every word an everyday or clinical one: "Notre service", "Unità di Riabilitazione"
        everyday = [self._everyday(fold(word), 5 if len(words) > 1 else _ORDINARY) for word in long]
        return None if all(everyday) or (len(words) == 1 and self._nouns) else span

    def _opens_sentence(self, view: View, words: list[re.Match[str]]) -> bool:
        """Whether a function word behind a full stop ends the words."""
        last = words[-1].group()
        stopped = "." in view.text[words[-2].end() : words[-1].start()]
        return stopped and fold(last) in self._stop and last[1:].islower()

    def _announces(self, view: View, word: re.Match[str]) -> bool:
        """Whether the last word is none that people bear but the label of what follows."""
        folded = fold(word.group())
        return folded in self._stop and (
            _AFTER_LABEL.match(view.text, word.end()) is not None or not any(self.lexicon.codes(folded)[1:3])
        )

    def _with_surname(self, view: View, last: str, end: int) -> int:
        """The end of the surname behind a given name on which the tagger stopped, else ``end``."""
        following = _FOLLOWING.match(view.text, end)
        if following is None or not 0 < self.lexicon.codes(fold(last))[1] < 4:
            return end
        folded = fold(following[1])
        frequency, _, surname, _ = self.lexicon.codes(folded)
        known = folded in self._clinical or (frequency >= _ORDINARY and not surname)
        return end if known else following.end()

    def _everyday(self, folded: str, least: int) -> bool:
        frequency, *ranks = self.lexicon.codes(folded)
        return folded in self._clinical or (frequency >= least and 1 not in ranks)

    def _borne(self, text: str, score: float) -> bool:
        """Whether words in lower case are a name: the tagger is sure, and people bear each of them."""
        words = [fold(word) for word in _WORD.findall(text)]
        ranks = [self.lexicon.codes(word) for word in words if word not in self._particles]
        least = _SURE if len(ranks) > 1 else 0.999
        if any(word in self._medical for word in words) or len("".join(words)) < 3:
            return False
        return score >= least and bool(ranks) and all(any(codes[1:3]) and codes[0] < 7 for codes in ranks)

    def _no_person(self, word: str, score: float) -> bool:
        """Whether a single word is a function word or title, or an eponym that people seldom bear."""
        folded = fold(word)
        if folded in self._stop and (word[1:].islower() or len(word) > 3):
            return True
        _, given, surname, _ = self.lexicon.codes(folded)
        return folded in self._eponyms and given not in (1, 2) and score < (0.9 if surname in (1, 2) else 0.999)

    def _term(self, words: list[str], graded: bool) -> bool:
        """Whether words are of the clinic, or eponyms beside such a word or a grade: ``Lambeau DIEP``, ``Frankel D``."""
        folded = [fold(word) for word in words]
        if not graded and self._terms.isdisjoint(folded):
            return False
        eponyms = (word for word in folded if word not in self._terms)
        return all(word in self._eponyms and self.lexicon.codes(word)[1] not in (1, 2) for word in eponyms)

    def _nameable(self, view: View, word: str, score: float) -> bool:
        """Whether a word that stands alone can be a name: no abbreviation, no everyday or clinical word unless the tagger is
        sure."""
        folded = fold(word)
        frequency, *ranks = self.lexicon.codes(folded)
        listed = any(ranks)
        if self._nouns and (folded in self._medical or len(word) < 3):
            return False  # where every noun has a capital, the tagger's word is not enough
        if folded in self._terms:
            return score >= 0.995
        if word.isupper() and view.case == "mixed" and len(word) <= (5 if not listed else 3):
            return listed and score >= _SURE
        if folded in self._eponyms and score < 0.9:
            return False  # "(Simpson)" behind a measure
        if folded in self._clinical or frequency >= _FREQUENT:
            return score >= 0.995
        if listed:
            return frequency < _FREQUENT - 1 or score >= 0.9
        if self._nouns:
            return score >= 0.999
        if not frequency and len(view.text) < _SHORT:
            return score >= 0.8
        return score >= (_SURE if frequency < _ORDINARY else 0.995)
