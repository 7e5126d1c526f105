"""What rules of weak evidence found and the whole text speaks against: eponyms in use, laws, capitals of a case report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from anonymize.detectors.known_words import KnownWords
from anonymize.detectors.laws import PUBLIC, Laws
from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.report import Span
from anonymize.text import View, fold

_LONG_WORD = re.compile(r"[^\W\d_]{2,}")
# Rules that an eponym may deceive; a title or a column's value beats the eponym.
_DECEIVED = frozenset(
    (
        "names.header_line",
        "names.signature",
        "names.export",
        "names.staff",
        "names.cue",
        "names.given",
        "names.company",
        "names.owned",
        "names.actor",
        "known.typo",
        "institutions.head",
        "addresses.town",
        "ner.trained",
    )
)
_TELLING = frozenset(("name", "birth_date", "phone", "email", "address", "national_id", "patient_id", "visit_id"))
_ALONE = frozenset(("names.given", "names.owned", "names.actor", "names.company"))
_SURE = 0.97
_LONG = 600  # characters from which a text without any identity is taken for one that has none


class Evidence:
    """Sifts the spans of one text.

    Args:
        lexicon: of the trained tagger; None where there is none, or another one.
    """

    def __init__(self, pack: Pack, words: KnownWords, lexicon: Lexicon | None) -> None:
        self._protected, self._clinical = words.protected, words.clinical
        self._laws = Laws(pack)
        self._lexicon = lexicon

    def sift(self, view: View, spans: list[Span]) -> list[Span]:
        """Those of ``spans`` that nothing speaks against."""
        phrases = self._protected.phrases(view)
        if phrases:
            spans = [span for span in spans if not self._eponym(view, span, phrases)]
        laws = self._laws.ranges(view)
        if laws:
            spans = [span for span in spans if span.kind not in PUBLIC or not _within(span, laws)]
        return plausible(spans, view, self._lexicon) if self._lexicon else spans

    def _eponym(self, view: View, span: Span, phrases: Sequence[tuple[int, int]]) -> bool:
        """Whether a span of weak evidence is an eponym in use. A longer one of the tagger gives way only where phrases
        hold all of its words ("Weber B"), not where it begins with one ("Denis 9 rue ...")."""
        if span.rule not in _DECEIVED:
            return False
        if span.rule != "ner.trained":
            return any(start < span.end and span.start < end for start, end in phrases)
        words = [match.span() for match in _LONG_WORD.finditer(view.text, span.start, span.end)]
        inside = [any(start <= first and last <= end for start, end in phrases) for first, last in words]
        # "Lauge-Hansen SER": what is left is a clinical word
        clinical = (view.folded[first:last] in self._clinical for first, last in words)
        return any(inside) and all(map(any, zip(inside, clinical, strict=True)))


def plausible(spans: list[Span], view: View, lexicon: Lexicon) -> list[Span]:
    """Without the tagger's unsure spans, where a long text holds nothing else that identifies.

    Case reports hold no identity; there a capital is seldom a person. A given name beside another word still is.
    """
    if len(view.text) < _LONG or any(map(_identifies, spans)):
        return spans
    return [span for span in spans if not _doubtful(span, view, lexicon)]


def _identifies(span: Span) -> bool:
    """Whether a rule is as good as sure that the text names somebody."""
    return (
        span.kind in _TELLING and span.score >= 0.75 and span.rule not in ("names.cue", "names.relative", "ner.trained")
    )


def _doubtful(span: Span, view: View, lexicon: Lexicon) -> bool:
    """Whether a span says nothing where no other one identifies: an unsure one of the tagger, a single name that
    may be an eponym or an author."""
    if span.rule.startswith("ner."):
        return span.score < _SURE and not _full_name(span, view, lexicon)
    return span.rule in _ALONE


def _full_name(span: Span, view: View, lexicon: Lexicon) -> bool:
    words = [match.group() for match in _LONG_WORD.finditer(view.text, span.start, span.end) if len(match.group()) > 2]
    return (
        span.kind == "name"
        and len(words) > 1
        and any(word[0].isupper() and 0 < lexicon.codes(fold(word))[1] < 4 for word in words)
        and not any(word.islower() for word in words)
    )


def _within(span: Span, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(start <= span.start and span.end <= end for start, end in ranges)
