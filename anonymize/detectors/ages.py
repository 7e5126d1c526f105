"""Ages above 89 years. Other ages stay: they are clinical, and allowed by HIPAA 45 CFR 164.514(b)(2)(i)(C)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.dates import forms_of
from anonymize.detectors import Detector
from anonymize.detectors.cues import Cues
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import Anchored, View, alternatives

OLDEST = 89
_NUMBER = re.compile(r"(?<![\w/.,\-+])(?:9\d|1[0-2]\d)(?![\d/]|[.,]\d)")


class Ages(Detector):
    """Finds the number of an age of 90 to 129 years, in digits or in words."""

    kinds = ("age",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["ages"]
        units = alternatives(words["units"])
        self._unit = re.compile(rf"[ \-]{{0,2}}{units}(?!\w)|[ \-]{{0,2}}{alternatives(words.get('stems', []))}")
        self._cues = Cues({"age": words["cues"]}, words.get("fillers", []))
        self._not = re.compile(rf" ?(?:{alternatives(pack['detectors']['identifiers']['units'])}(?!\w)|%|°|kg|cm)")
        self._numbers = forms_of(pack).numbers
        self._unit_word = Anchored(words["units"], rf"(?<!\w){units}(?!\w)")
        self._spelled = re.compile(r"(?:[a-z]{2,12}[ \-]){1,5}$")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the number alone."""
        folded = view.folded
        for index in view.digits:
            match = _NUMBER.match(folded, view.starts[index]) if len(view.words[index]) in (2, 3) else None
            if not match:
                continue
            followed = self._unit.match(folded, match.end())
            announced = not followed and self._cues.before(folded, match.start(), 4, 0)
            if followed or (announced and not self._not.match(folded, match.end())):
                yield Span(*match.span(), "age", 0.9, "ages.over_89")
        if not self._numbers.first_letters:
            return
        for unit in self._unit_word.finditer(view):
            words = self._spelled.search(folded, max(0, unit.start() - 48), unit.start())
            if not words:
                continue
            end = unit.start() - 1
            pieces = [piece.start() for piece in re.finditer(r"[a-z]+", folded[words.start() : end])]
            for piece in pieces:
                value = self._numbers.value(folded[words.start() + piece : end])
                if value is not None and OLDEST < value < 130:
                    yield Span(words.start() + piece, end, "age", 0.9, "ages.over_89")
                    break
                if value is not None:
                    break
