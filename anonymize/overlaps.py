"""Overlapping spans of many detectors become spans in order, and their union stays covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from anonymize.detectors.known_words import KnownWords
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, fold, words_of

# At equal extent the more telling kind wins.
_RANK = {
    kind: rank
    for rank, kind in enumerate(("birth_date", "date", "name", "phone", "national_id", "patient_id", "visit_id"))
}
# What a date may stand in or behind without being a part of it.
_CUT_BY_DATE = frozenset(
    ("patient_id", "visit_id", "id", "national_id", "professional_id", "phone", "name", "initials", "town")
)


def resolve(view: View, spans: Iterable[Span], rests: Rests | None = None) -> list[Span]:
    """Spans in order without overlaps: their union stays covered, but for ``rests`` of the tagger's that say nothing.

    Rules and columns say what something is; the tagger fills what they leave open. A span inside another gives way, except
    that a date behind a number or a name (``IPP 123456 12/03/1980``) cuts it.
    """
    trimmed = [span for span in (_trim(view.text, span) for span in spans) if span.end > span.start]
    certain = _apart(view, [span for span in trimmed if span.rule != "ner.trained"])
    tagged = _apart(view, [span for span in trimmed if span.rule == "ner.trained"])
    if not tagged:
        return certain
    left: list[Span] = []
    first = 0  # both are in order: what ends before this span ends before the next one
    for span in tagged:
        while first < len(certain) and certain[first].end <= span.start:
            first += 1
        if first == len(certain) or certain[first].start >= span.end:
            left.append(span)
        else:
            pieces = _outside(view, span, (certain[n] for n in range(first, len(certain))))
            left += (piece for piece in pieces if not rests or rests.say(view, piece, span))
    return sorted([*certain, *left], key=lambda span: span.start)


def _outside(view: View, span: Span, taken: Iterable[Span]) -> Iterator[Span]:
    """The parts of ``span`` that no span of ``taken`` covers, where they hold a letter or a digit."""
    position = span.start
    for other in chain(taken, (Span(span.end, span.end, span.kind, 0.0, ""),)):
        stop = min(other.start, span.end)
        if stop > position:
            piece = _trim(view.text, replace(span, start=position, end=stop))
            if any(map(str.isalnum, _cut(view.text, piece))):
                yield piece
        position = max(position, other.end)
        if position >= span.end:
            return


class Rests:
    """Knows what rules may leave of a span of the tagger without a loss: words that say nothing alone."""

    def __init__(self, pack: Pack, words: KnownWords) -> None:
        self._particles, self._clinical = words.particles, words.clinical
        # "Dr Albert Lila Tél :"; a month may be a surname, a letter an initial, "Hommé" is one though "homme" is none
        never = words.particles | pack.lists.calendar
        stop = (str(word).lower() for word in pack["detectors"]["names"]["stop"] if len(str(word)) > 2)
        self._labels = frozenset(word for word in stop if fold(word) not in never)
        # in German every noun has a capital: of "Hause Klinikum X" the rest is none of the name
        self._nouns = words.common if pack["detectors"]["names"].get("noun_capitals") else frozenset[str]()

    def say(self, view: View, piece: Span, whole: Span) -> bool:
        """Whether ``piece``, left of ``whole``, says something: a number has digits, a name or a town a capital."""
        text, written = view.folded[piece.start : piece.end], view.text[piece.start : piece.end]
        telling = str.isalnum if view.case != "mixed" else _telling  # "cabinet à" before a town has none
        inner = piece.kind == "name" and written.islower() and self._particles.issuperset(words_of(written))
        if not inner and piece != whole and not any(map(telling, written)):
            return False
        if piece.kind == "id" and len(text) > 2 and view.text[piece.end : piece.end + 1] in (" ", ":"):
            return any(map(str.isdigit, text))  # "INSZ" before a number has none
        if piece.kind == "name":
            if written.lower() in self._labels:
                return False
            return text[0] != "." or not self._clinical.issuperset(words_of(text))  # "Norbert. Vena cava"
        return text not in self._nouns


def _cut(text: str, span: Span) -> str:
    return text[span.start : span.end]


def _telling(char: str) -> bool:
    return char.isupper() or char.isdigit()


def _apart(view: View, spans: Sequence[Span]) -> list[Span]:
    ordered = sorted(spans, key=lambda s: (s.start, -s.end, -s.score, _RANK.get(s.kind, 99)))
    out: list[Span] = []
    for span in ordered:
        if not out or span.start >= out[-1].end:
            out.append(span)
            continue
        last = out[-1]
        if (
            last.kind in _CUT_BY_DATE
            and span.kind in ("date", "birth_date")
            and span.start > last.start
            and span.score >= 0.9
        ):
            before = _trim(view.text, replace(last, end=span.start))
            rest = _trim(view.text, replace(last, start=span.end))
            out[-1:] = [piece for piece in (before, span, rest) if any(map(str.isalnum, _cut(view.text, piece)))]
        elif span.end > last.end:
            strong = last if last.end - last.start >= span.end - span.start else span
            out[-1] = Span(last.start, span.end, strong.kind, max(last.score, span.score), strong.rule)
    return out


def _trim(text: str, span: Span) -> Span:
    start, end = span.start, span.end
    while start < end and (text[start].isspace() or text[start] in ",;:"):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in ",;:"):
        end -= 1
    return span if (start, end) == (span.start, span.end) else replace(span, start=start, end=end)
