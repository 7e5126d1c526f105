"""Ages above 89 years. Other ages stay: they are clinical, and allowed by HIPAA 45 CFR 164.514(b)(2)(i)(C)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, alternatives

OLDEST = 89


class Ages(Detector):
    """Finds the number of an age of 90 to 129 years."""

    kinds = ("age",)

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]["ages"]
        number = r"(?P<age>9\d|1[0-2]\d)"
        self._patterns = (
            re.compile(rf"(?<![\d/.,\-]){number} ?{alternatives(words['units'])}(?!\w)"),
            re.compile(rf"(?<!\w){alternatives(words['cues'])} ?:? ?{number}(?![\d/.,%])"),
        )

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the digits alone."""
        for pattern in self._patterns:
            for match in pattern.finditer(view.folded):
                yield Span(*match.span("age"), "age", 0.9, "ages.over_89")
