"""Words that stand before a value and say what it is: looked up backwards from the value, in a set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from anonymize.text import fold

_REACH = 48  # characters looked at before a value
_LONGEST = 24  # letters of a cue's last word
_NOT_WORD = re.compile(r"[^a-z0-9ßøæœ]+")
_LAST = re.compile(r"[a-z0-9ßøæœ]+$")
_GAP = re.compile(r"[^a-z0-9ßøæœ]*$")


def normal(phrase: str) -> str:
    """Folded words of ``phrase`` joined by one blank; signs between them do not count."""
    return _NOT_WORD.sub(" ", fold(phrase)).strip()


@lru_cache(maxsize=256)
def _nearest(folded: str, position: int) -> tuple[int, str] | None:
    """How many signs stand before ``position`` and the word before them ("" where another sign stands there); None where it
    is a number or nothing: no phrase ends in a digit. Several detectors ask about the same place."""
    place = position - 1
    while place >= 0 and folded[place] in " .:-/":
        place -= 1
    if place < 0 or folded[place].isdigit():
        return None
    last = _LAST.search(folded, max(0, place - _LONGEST), place + 1)
    return position - 1 - place, last.group() if last else ""


class Cues:
    """Phrases by what they announce.

    Args:
        phrases: kind to its phrases; at equal phrase the first kind stays.
        fillers: words that may stand between a phrase and the value ("n°", "est").
    """

    def __init__(self, phrases: Mapping[str, Iterable[object]], fillers: Iterable[object] = ()) -> None:
        self._kinds: dict[str, str] = {}
        for kind, entries in phrases.items():
            for entry in entries:
                self._kinds.setdefault(normal(str(entry)), kind)
        self._kinds.pop("", None)
        self._fillers = frozenset(normal(str(word)) for word in fillers)
        self._most = max((phrase.count(" ") + 1 for phrase in self._kinds), default=0)
        self._lasts = frozenset(phrase.rsplit(" ", 1)[-1] for phrase in self._kinds) | self._fillers

    def __contains__(self, phrase: object) -> bool:
        return normal(str(phrase)) in self._kinds

    def before(self, folded: str, position: int, gap: int = 8, breaks: int = 1) -> tuple[str, str] | None:
        """Kind and phrase of the longest cue that ends before ``position``.

        ``gap`` characters that are no letters or digits may stand between, with ``breaks`` ends of line at most.
        """
        near = _nearest(folded, position)
        if near is None or near[0] > gap or (near[1] and near[1] not in self._lasts):
            return None  # most often
        start = max(0, position - _REACH)
        before = folded[start:position]
        between = _GAP.search(before)
        lost = len(before) - between.start() if between else 0
        if lost > gap or (lost and before.count("\n", -lost) > breaks) or ";" in before[len(before) - lost :]:
            return None
        words = normal(before).split()
        if start and folded[start - 1].isalnum() and before[:1].isalnum() and words:
            del words[0]  # cut in two
        for _ in range(3):
            if not words or words[-1] not in self._lasts:
                return None
            for count in range(min(self._most, len(words)), 0, -1):
                phrase = " ".join(words[-count:])
                if phrase in self._kinds:
                    return self._kinds[phrase], phrase
            if words[-1] not in self._fillers:
                return None
            words.pop()
        return None
