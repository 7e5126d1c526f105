"""What the words of a language are, folded: the lists that nearly every detector asks, built once a pack."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from anonymize.text import folded

if TYPE_CHECKING:
    from anonymize.languages import Pack


class WordLists:
    """Sets of folded words. Each is built when it is first asked for, so that a pack may lack what nobody asks.

    Args:
        pack: the language.
    """

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def _names(self, key: str) -> Iterable[object]:
        return self._pack["detectors"]["names"][key]

    @cached_property
    def clinical(self) -> frozenset[str]:
        """Words of medicine: no name unless a title stands before them."""
        return folded(self._pack.words("clinical"))

    @cached_property
    def common(self) -> frozenset[str]:
        """Everyday words that are also names."""
        return folded(self._pack.words("common"))

    @cached_property
    def stop(self) -> frozenset[str]:
        """Words that end a name."""
        return folded(self._names("stop"))

    @cached_property
    def roles(self) -> frozenset[str]:
        """Function words and roles: no surname even in capitals after a title."""
        return folded(self._names("roles"))

    @cached_property
    def titles(self) -> frozenset[str]:
        """Titles of persons, without the full stop of an abbreviation."""
        return frozenset(word.rstrip(".") for word in folded(self._names("titles")))

    @cached_property
    def particles(self) -> frozenset[str]:
        """Small words inside names."""
        return folded(self._names("particles"))

    @cached_property
    def months(self) -> frozenset[str]:
        """Names of months in all their forms."""
        return folded(form for forms in self._pack["pack"]["months"] for form in forms)

    @cached_property
    def calendar(self) -> frozenset[str]:
        """Names of months and weekdays."""
        return self.months | folded(self._pack["pack"]["weekdays"])

    @cached_property
    def heads(self) -> frozenset[str]:
        """Words beside an eponym that say that it is one: sign, disease, fracture."""
        return folded(self._pack["detectors"]["protected"]["heads"])
