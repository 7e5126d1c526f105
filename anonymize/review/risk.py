"""Which reports a person should read first: signs that something identifying was left, or something clinical hidden.

The score orders reports and is no probability: 100 (1 - exp(-sum of weights)), so that each further sign counts less.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from anonymize.engine import Anonymizer
from anonymize.measure import ClinicalTerms
from anonymize.ner.lexicon import Lexicon
from anonymize.report import Span
from anonymize.review.alignment import CHANGED, SECOND_LOOK
from anonymize.review.data import Pair
from anonymize.text import View

WEIGHTS = {
    "differs": 1.5,
    "known_left": 1.5,
    "second_look": 0.8,
    "digits_left": 0.5,
    "name_left": 0.35,
    "no_span": 0.5,
    "low_score": 0.2,
    "tagger_only": 0.12,
    "clinical_hidden": 0.15,
    "long_gap": 0.1,
}
"""Weight of one sign of each kind; what they mean stands in docs/review.md and on the page."""

LOW_SCORE = 0.7
LONG_GAP = 1500  # code points without any span
_MOST = 8  # signs of one kind that count
_DIGITS = re.compile(r"(?<![\d,.])\d(?:[ .\-/\u00a0]?\d){5,30}")
_AT = re.compile(r"\S{1,64}@\S{1,64}|https?://\S{1,100}|www\.\S{1,100}")
_TELLING = 4  # letters of a clinical word that is no article or abbreviation
_NAMED_AFTER = ("institution", "address", "email", "url")  # kinds that hold ordinary words
_COMMON_NAME, _COMMON_TOWN = 2, 1  # classes of the lexicon
_COMMON_WORD, _COMMON_OPENING = 6, 4  # the same, of a word inside a sentence and of one that opens it


@dataclass(frozen=True)
class Doubt:
    """A place of the original to look at."""

    start: int
    end: int
    reason: str  # a key of WEIGHTS


@dataclass(frozen=True)
class Risk:
    """How much a report asks for a look, and why. Holds no text."""

    score: float  # 0-100
    reasons: dict[str, int]  # key of WEIGHTS → signs
    kinds: dict[str, int]  # spans by kind
    length: int  # code points of the original


class Assessor:
    """Looks for signs in pairs of one language."""

    def __init__(self, engine: Anonymizer) -> None:
        self._words = engine.words
        self._lexicon = Lexicon(engine.pack)
        self._clinical = ClinicalTerms(engine.pack)

    def assess(self, pair: Pair) -> tuple[Risk, list[Doubt]]:
        """The risk of a report, and the places behind it, in order."""
        doubts = sorted(self._doubts(pair), key=lambda doubt: (doubt.start, doubt.end))
        reasons = Counter(doubt.reason for doubt in doubts)
        if not pair.exact:
            reasons["differs"] = max(1, reasons["differs"])
        if not pair.spans:
            reasons["no_span"] = 1
        weight = sum(WEIGHTS[reason] * min(count, _MOST) for reason, count in reasons.items())
        kinds = Counter(span.kind for span in pair.spans)
        ordered = dict(sorted(reasons.items(), key=lambda item: -WEIGHTS[item[0]] * item[1]))
        score = round(100 * (1 - math.exp(-weight)), 1)
        return Risk(score, ordered, dict(kinds.most_common()), len(pair.original.text)), doubts

    def _doubts(self, pair: Pair) -> Iterator[Doubt]:
        text = pair.original.text
        hidden = _marked(text, [(span.start, span.end) for span in pair.spans])
        known_spans = pair.known.find(View(text))
        sure = _marked(text, [(span.start, span.end) for span in (*pair.ruled, *known_spans)])
        for span in pair.proposed:
            if not any(hidden[span.start : span.end]):
                yield Doubt(span.start, span.end, "differs")  # found today, and left
            elif span.rule == SECOND_LOOK:
                yield Doubt(span.start, span.end, "second_look")
            elif span.rule == CHANGED:
                yield Doubt(span.start, span.end, "differs")
            elif span.score < LOW_SCORE:
                yield Doubt(span.start, span.end, "low_score")
            elif span.rule.startswith("ner.") and not any(sure[span.start : span.end]):
                yield Doubt(span.start, span.end, "tagger_only")
        view = View(text)
        expected = [span for span in pair.spans if span.kind in _NAMED_AFTER]
        certain = _marked(text, [(span.start, span.end) for span in (*expected, *known_spans)])
        for start, end in self._clinical.find(text):
            telling = end - start >= _TELLING or any(map(str.isdigit, text[start:end]))
            if telling and all(hidden[start:end]) and not any(certain[start:end]):
                yield Doubt(start, end, "clinical_hidden")
        known = _marked(text, [(span.start, span.end) for span in self._known_left(pair)])
        for start, end in _runs(known, hidden):
            yield Doubt(start, end, "known_left")
        for pattern in (_DIGITS, _AT):
            for match in pattern.finditer(text):
                if not any(hidden[match.start() : match.end()]):
                    yield Doubt(match.start(), match.end(), "digits_left")
        for start, end in self._names(view, hidden):
            if not any(known[start:end]):
                yield Doubt(start, end, "name_left")
        edges = [0, *(edge for span in pair.spans for edge in (span.start, span.end)), len(text)]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if pair.spans and end - start > LONG_GAP:
                yield Doubt(start, min(end, start + 1), "long_gap")

    @staticmethod
    def _known_left(pair: Pair) -> Iterator[Span]:
        """What the record's columns say and the safe text still shows, at its place in the original."""
        for span in pair.known.find(View(pair.safe.text)):
            start, end = pair.alignment.to_original(span.start, span.end)
            if pair.original.text[start:end] == pair.safe.text[span.start : span.end]:
                yield Span(start, end, span.kind, span.score, span.rule)

    def _names(self, view: View, hidden: bytearray) -> Iterator[tuple[int, int]]:
        """Words with a capital that people or towns bear and that are rare otherwise. Neighbours are one place."""
        if view.case != "mixed":
            return
        protected = _marked(view.text, self._words.protected.phrases(view))
        last: tuple[int, int] | None = None
        for token in view.tokens:
            if token.shape not in ("title", "upper") or token.end - token.start < 3:
                continue
            if any(hidden[token.start : token.end]) or any(protected[token.start : token.end]):
                continue
            if view.in_lower_case(token.folded) or token.folded in self._words.common:
                continue
            frequency, given, surname, town = self._lexicon.codes(token.folded)
            borne = 0 < given <= _COMMON_NAME or 0 < surname <= _COMMON_NAME or 0 < town <= _COMMON_TOWN
            before = view.text[: token.start].rstrip(" ")[-1:]
            opens = before in "\n.:;!?-•("  # also where nothing stands before
            if not borne or frequency > (_COMMON_OPENING if opens else _COMMON_WORD):
                continue
            if last and view.text[last[1] : token.start] in (" ", "-"):
                last = (last[0], token.end)
                continue
            if last:
                yield last
            last = (token.start, token.end)
        if last:
            yield last


def _marked(text: str, ranges: list[tuple[int, int]]) -> bytearray:
    marks = bytearray(len(text))
    for start, end in ranges:
        marks[start:end] = b"\1" * (end - start)
    return marks


def _runs(marks: bytearray, but: bytearray) -> Iterator[tuple[int, int]]:
    """Runs of ``marks`` that ``but`` does not cover."""
    left = bytes(mark and not other for mark, other in zip(marks, but, strict=True))
    return ((match.start(), match.end()) for match in re.finditer(rb"\x01+", left))
