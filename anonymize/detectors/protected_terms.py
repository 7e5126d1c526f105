"""What must not go: eponyms and named signs that look like names of persons."""

from __future__ import annotations

import re

from anonymize.languages import Pack
from anonymize.text import View, alternatives, fold


class ProtectedTerms:
    """Protects eponyms from rules that see capitals. A title or a signature before an eponym beats the protection.

    Not a recognizer: it says where recognizers of weak evidence may not speak.
    """

    def __init__(self, pack: Pack) -> None:
        eponyms = pack.words("protected")
        self.words = frozenset(part for entry in eponyms for part in re.split(r"[ \-]", fold(entry)))
        heads = alternatives(pack["detectors"]["protected"]["heads"])
        links = alternatives(pack["detectors"]["protected"]["links"])
        name = alternatives(eponyms)
        self._phrase = re.compile(
            rf"(?<!\w)(?:{heads} (?:{links}[ ]?)?{name}(?:(?: et |-| and | y | und |/| ){name}){{0,2}}"
            rf"|{name}(?:(?: et |-| and | y | und |/){name})+"
            rf"|{name}(?= (?:\d|i{{1,3}}v?\b|iv\b|v\b)))(?!\w)"
        )

    def phrases(self, view: View) -> list[tuple[int, int]]:
        """Ranges of eponyms used as such: ``kyste de Baker``, ``Kellgren-Lawrence``, ``Garden 3``."""
        return [match.span() for match in self._phrase.finditer(view.folded)]
