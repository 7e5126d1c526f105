"""Numbers dictated digit by digit: ``eight zero six five five five zero one four four``."""

from __future__ import annotations

from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, folded

_LEAST = 6  # digits: shorter runs are measures and counts


class SpelledDigits(Detector):
    """Spans of six words or more that are one digit each; which number it is, nobody has said."""

    kinds = ("id",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        numbers = pack["pack"].get("numbers") or {}
        self._digits = folded(list(numbers.get("below_100", []))[:10])

    def find(self, view: View) -> Iterable[Span]:
        """Spans with a score of 0.8."""
        if not self._digits or self._digits.isdisjoint(view.vocabulary):
            return
        first, last, count = 0, -2, 0
        for index in sorted(index for word in self._digits & view.vocabulary for index in view.where[word]):
            if index == last + 1 and view.text[view.ends[last] : view.starts[index]].strip(",-.") in ("", " "):
                last, count = index, count + 1
                continue
            if count >= _LEAST:
                yield Span(view.starts[first], view.ends[last], "id", 0.8, "identifiers.spelled")
            first, last, count = index, index, 1
        if count >= _LEAST:
            yield Span(view.starts[first], view.ends[last], "id", 0.8, "identifiers.spelled")
