"""What belongs to a name on which a reader stopped short: initials, particles and the other half of a compound."""

from __future__ import annotations

import re

from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.ner.lexicon import Lexicon
from anonymize.text import View, alternatives, fold

_HALF_BEFORE = re.compile(r"(?<![\w'’\-])[A-ZÀ-ÖØ-Þ][^\W\d_]+-\Z")
_HALF_AFTER = re.compile(r"-(?: ?\n[ \t]{0,12})?(?:[^\W\d_]{1,3}-){0,2}[A-ZÀ-ÖØ-Þ][^\W\d_]+")
# "J.-", "F.-X. ", "Ch. ": a capital with a full stop, joined to what follows
_INITIALS = re.compile(
    r"(?<![\w.\-])(?:(?P<first>[A-ZÀ-ÖØ-Þ][hlr]?)\.(?:[ ]?-[ ]?|[ ])?)(?:[A-ZÀ-ÖØ-Þ]\.(?:-|[ ])?)?\Z"
)
_GIVEN_BEFORE = re.compile(r"(?<![\w'’])(?P<given>[A-ZÀ-ÖØ-Þ][^\W\d_]+)(?:[ ]|\n)\Z")


class NameEdges:
    """Moves the edges of a name's range outwards."""

    def __init__(self, pack: Pack, lexicon: Lexicon) -> None:
        words = pack["detectors"]["names"]
        self._lexicon = lexicon
        self._eponyms = protected_of(pack).words
        self._titles = pack.lists.titles
        some = alternatives(word for word in words["particles"] if len(str(word)) > 1 or str(word) in "dl")
        self._particles = re.compile(rf"(?<![\w'-])(?:{some}(?:[ ]|(?<=[dl])'))+\Z")

    def start(self, view: View, start: int) -> int:
        """Where the name really begins that a reader let begin at ``start``."""
        text = view.text  # one look at the sign before refuses most searches
        half = _HALF_BEFORE.search(text, max(0, start - 24), start) if text[start - 1 : start] == "-" else None
        if half and fold(half.group()).strip("-") not in self._eponyms:
            start = half.start()
        joined = text[start - 1 : start] in (" ", "'", "’") and text[max(0, start - 2) : start - 1].isalpha()
        particles = self._particles.search(view.folded, max(0, start - 16), start) if joined else None
        if particles and self._opens(view, particles.start()):
            start = particles.start()
        dotted = "." in text[max(0, start - 3) : start]
        initials = _INITIALS.search(text, max(0, start - 10), start) if dotted else None
        if initials and ("-" in initials.group() or fold(initials["first"]) not in self._titles):
            start = initials.start()
        return start

    def end(self, view: View, end: int) -> int:
        """Where the name really ends: behind the other half of a compound."""
        half = _HALF_AFTER.match(view.text, end) if view.text[end : end + 1] == "-" else None
        return half.end() if half and fold(half.group()).strip("-") not in self._eponyms else end

    def _opens(self, view: View, position: int) -> bool:
        """Whether particles at ``position`` belong to the surname behind them: a given name, an initial or a bracket
        stands before."""
        before = view.text[max(0, position - 24) : position]
        given = _GIVEN_BEFORE.search(before)
        if given:
            return 0 < self._lexicon.codes(fold(given["given"]))[1] < 4
        return before.endswith("(") or bool(_INITIALS.search(before))
