"""Terms that ``anonymize adapt`` found to recur in this hospital: letterheads, staff, phone lists. Found in any case."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import ahocorasick

from anonymize.detectors import Detector
from anonymize.files import read_json
from anonymize.languages import Pack
from anonymize.report import KINDS, Span
from anonymize.text import View

FILE = "hospital.json"


class HospitalTerms(Detector):
    """Whole words only; a line break counts as a blank.

    Args:
        pack: the language.
        folder: written by ``anonymize adapt``.
    """

    kinds = KINDS

    def __init__(self, pack: Pack, folder: Path) -> None:
        super().__init__(pack)
        self._automaton = ahocorasick.Automaton()
        for term in read_json(folder / FILE)["terms"]:
            self._automaton.add_word(term["text"], (len(term["text"]), term["kind"]))
        if len(self._automaton):
            self._automaton.make_automaton()

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the terms; short names need a capital in the text."""
        if not len(self._automaton):
            return
        folded = view.folded.replace("\n", " ").replace("\r", " ")
        for last, (length, kind) in self._automaton.iter(folded):
            start, end = last + 1 - length, last + 1
            if (start and folded[start - 1].isalnum()) or (end < len(folded) and folded[end].isalnum()):
                continue
            if kind == "name" and view.case == "mixed" and not any(map(str.isupper, view.text[start:end])):
                continue
            yield Span(start, end, kind, 0.9, "hospital.term")
