"""Reads the name of a town word by word: capitals, particles between them, the words of its post office."""

from __future__ import annotations

import re

from anonymize.languages import Pack
from anonymize.text import View, alternatives, folded, words_of

TOWN_WORD = r"[^\W\d_]++(?:['’\-][^\W\d_]++)*+"
WORD = re.compile(TOWN_WORD)
_NEXT = re.compile(r"[ \u00a0\-][^\W\d_'’]")
_ELIDED = re.compile(r"[dl]['’][A-ZÀ-Ý]|s-[A-ZÀ-Ý]")
_CLOSED = re.compile(r" ?(?:[,;.\n)]|$)")


class TownReader:
    """Knows a language's particles and the words that are no town. Offsets in, offsets out."""

    def __init__(self, pack: Pack) -> None:
        words = pack["detectors"]["places"]
        # the label of the next line is no town
        labels = [*pack["detectors"]["names"]["labels"], *words["address_labels"]]
        self.stop = pack.lists.stop
        self.stop |= frozenset(parts[0] for parts in map(words_of, map(str, labels)) if parts and len(parts[0]) > 3)
        self.particles = pack.lists.particles | folded(words.get("particles", []))
        self.common = pack.lists.common | pack.lists.clinical
        # "fait à l'Hôpital X": the institution is read as such
        self.no_first = self.stop | folded(pack["detectors"]["institutions"]["heads"])
        self._never = folded(words.get("no_towns", []))
        self._short = folded(words["abbreviations"])
        self._office = re.compile(rf"(?<!\w){alternatives(words['post_office'])}(?: ?\d{{1,5}})?(?!\w)")

    def read(self, view: View, start: int) -> int | None:
        """End of the town whose name begins at ``start``: capitalised words, particles between them."""
        position, end, count, linked = start, None, 0, False
        while count < 6:
            match = WORD.match(view.text, position + (view.text[position : position + 1] in ("'", "’")))
            if not match:
                break
            word, plain = match.group(), view.folded[match.start() : match.end()]
            lower_ok = view.case == "lower" and (count < 1 or (count == 1 and end is None))
            if _ELIDED.match(word) and not self._elided(word, plain):
                break
            if plain in self.particles and (count or word[0].isupper() or view.case == "lower"):
                pass
            elif word[0].isupper() or _ELIDED.match(word) or lower_ok:
                if (
                    plain in self.stop
                    or (end is None and plain in self._never)
                    or (plain in self.common and end is None and not word[0].isupper())
                ):
                    break
                if view.case == "upper" and count >= 2:
                    break
                end = match.end()
            elif view.case == "lower" and linked and _CLOSED.match(view.text, match.end()):
                end = match.end()  # "saint-denis de la réunion,"
            else:
                break
            linked = plain in self.particles
            count += 1
            position = match.end()
            if plain in self._short and view.text[position : position + 1] == ".":
                position += 1  # St. Johann
            if not _NEXT.match(view.text, position):
                break
            position += 1
        office = self._office.match(view.folded, end + 1) if end else None
        return office.end() if office else end

    def _elided(self, word: str, plain: str) -> bool:
        """Whether an elided word may begin a town: ``l'Isle``, not ``l'Hôpital`` or ``l'INO``."""
        return plain[2:] not in self.no_first and not (word[0].islower() and word[2:].isupper())
