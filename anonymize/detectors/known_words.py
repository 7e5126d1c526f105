"""The word lists of a pack that searches for known identities consult, and the beginnings of what they look for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anonymize.detectors.protected_terms import protected_of
from anonymize.languages import Pack
from anonymize.text import View, collapse, fold


class KnownWords:
    """Word lists of a pack that the known-identity search consults; built once per pack."""

    def __init__(self, pack: Pack) -> None:
        names, places = pack["detectors"]["names"], pack["detectors"]["places"]
        self.particles = pack.lists.particles
        self.stop = pack.lists.stop
        self.titles = frozenset(collapse(str(word)) for word in names["titles"])
        self.short_titles = frozenset(str(word) for word in names["titles"] if len(str(word)) == 2)
        self.clinical = pack.lists.clinical
        self.common = pack.lists.common | self.clinical | self.stop
        self.streets = frozenset(collapse(str(word)) for word in places["streets"])
        self.offices = [fold(str(word)) for word in places["post_office"]]
        self.abbreviations: dict[str, str] = {
            fold(short): fold(long) for short, long in places["abbreviations"].items()
        }
        self.protected = protected_of(pack)

    def rare(self, view: View) -> list[str]:
        """Words of a text that are long enough and rare enough to be a misspelt name."""
        return [word for word in view.where if len(word) >= 5 and word not in self.common and not word[0].isdigit()]


def beginnings_of(forms: Iterable[str]) -> frozenset[str]:
    """Every beginning of the forms, themselves included."""
    return frozenset(form[:length] for form in forms for length in range(1, len(form) + 1))


def spelled_out(word: str) -> str:
    """A folded word as :func:`collapse` writes it."""
    return word.replace("œ", "oe").replace("æ", "ae") if "œ" in word or "æ" in word else word


def places_of(view: View, beginnings: frozenset[str], forms: Mapping[str, str] | None = None) -> list[int]:
    """The numbers of the words that begin as one of ``beginnings`` does, in order; ``forms`` writes words in full."""
    if not beginnings:
        return []
    full = forms or {}
    found = beginnings & view.vocabulary
    found -= full.keys()
    others = [*view.once(places_of, _with_ligatures), *(full.keys() & view.vocabulary)]
    found |= {word for word in others if spelled_out(full.get(word, word)) in beginnings}
    return sorted(index for word in found for index in view.where[word])


def _with_ligatures(view: View) -> list[str]:
    return [word for word in view.where if "œ" in word or "æ" in word]
