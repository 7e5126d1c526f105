"""What must not go: eponyms and named signs that look like names of persons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from anonymize.languages import Pack
from anonymize.text import Anchored, View, alternatives, fold, words_of


class ProtectedTerms:
    """Protects eponyms from rules that see capitals. A title or a signature before an eponym beats the protection.

    Not a recognizer: it says where recognizers of weak evidence may not speak.
    """

    def __init__(self, pack: Pack) -> None:
        eponyms = pack.words("protected")
        words = pack["detectors"]["protected"]
        self.words = frozenset(part for entry in eponyms for part in re.split(r"[ \-]", fold(entry)))
        heads = alternatives(words["heads"])
        links = alternatives(words["links"])
        name = alternatives(eponyms)
        # an eponym of two names or more says enough alone, with blanks or with hyphens
        several = alternatives(fold(entry).replace("-", " ") for entry in eponyms if re.search(r"[ \-]", entry))
        grade = r"(?:[a-d]|[a-z]?\d[a-z]?|(?:i{1,3}|iv|v)[a-c]?)"  # "tipo B di Dejour"
        roman = r"(?:i{1,3}|iv|v)[a-c]?(?!\w)"
        joint = r"(?: et |-| and | y | und | & |/)"
        self._parts = frozenset(word for entry in eponyms for word in words_of(entry))
        self._entries = frozenset(tuple(words_of(entry)) for entry in eponyms)
        self._phrase = Anchored(
            [*eponyms, *words["heads"]],
            rf"(?<!\w)(?:{heads} (?:{grade} )?(?:{links}[ ]?)?{name}(?:(?:{joint}| ){name}){{0,2}}(?: {roman})?"
            rf"|{name}(?:(?:{joint}{name})+|(?:-{name})?-[a-z]{{0,16}}{heads}|(?:['’]s?)? {heads})"
            rf"|(?<!-){several}(?: {roman})?"
            rf"|{name}(?:(?= [a-z]?\d)| {roman}))(?!\w)",
        )

    def lists(self, words: Sequence[str]) -> bool:
        """Whether the words, folded, are one entry of the list."""
        return tuple(words) in self._entries

    def phrases(self, view: View) -> list[tuple[int, int]]:
        """Ranges of eponyms used as such: ``kyste de Baker``, ``Baker's cyst``, ``Baker-Zyste``, ``Kellgren-Lawrence``, ``Garden
        3``."""
        return view.once(self, self._find)

    def _find(self, view: View) -> list[tuple[int, int]]:
        if self._parts.isdisjoint(view.vocabulary):
            return []
        return [match.span() for match in self._phrase.finditer(view)]


_BUILT: dict[Path, ProtectedTerms] = {}


def protected_of(pack: Pack) -> ProtectedTerms:
    """The protected terms of a pack, built once."""
    if pack.folder not in _BUILT:
        _BUILT[pack.folder] = ProtectedTerms(pack)
    return _BUILT[pack.folder]
