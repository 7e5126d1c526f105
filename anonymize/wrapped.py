"""Words that a hyphen at the end of a line cuts in two: ``Schoen-`` and ``maker``. The detectors see them whole."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from anonymize.report import Span
from anonymize.text import fold

# small letters on both sides: a compound of two names keeps its hyphen
_BREAK = re.compile(r"(?<=[a-zß-öø-ÿœ])[-‐]\r?\n[ \t]{0,12}(?=(?P<rest>[a-zß-öø-ÿœ]{2,}))")


@dataclass(frozen=True)
class Cuts:
    """Where the whole text was cut: ``places[i]`` of the joined text stands ``lengths[i]`` characters further on."""

    places: tuple[int, ...]
    lengths: tuple[int, ...]  # of all that was taken out up to and with this place


def joined(text: str, stays: Collection[str] = ()) -> tuple[str, Cuts | None]:
    """``text`` with its cut words whole, and where they were cut; None where there are none.

    ``stays``: folded words before which a hyphen stands for a second half: ``Kinder- und Jugendmedizin``.
    """
    if "-\n" not in text and "-\r\n" not in text and "‐\n" not in text:
        return text, None
    pieces, places, lengths, position, taken = [], [], [], 0, 0
    for match in _BREAK.finditer(text):
        if fold(match["rest"]) in stays:
            continue
        pieces.append(text[position : match.start()])
        places.append(match.start() - taken)
        taken += match.end() - match.start()
        lengths.append(taken)
        position = match.end()
    if not places:
        return text, None
    return "".join([*pieces, text[position:]]), Cuts(tuple(places), tuple(lengths))


def spread(spans: Sequence[Span], cuts: Cuts) -> list[Span]:
    """``spans`` of the joined text where they stand in the text that has the cuts."""

    def shift(offset: int) -> int:
        index = bisect_right(cuts.places, offset)
        return cuts.lengths[index - 1] if index else 0

    return [
        replace(span, start=span.start + shift(span.start), end=span.end + shift(max(span.start, span.end - 1)))
        for span in spans
    ]
