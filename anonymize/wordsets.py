"""Sets of words whose memory stays small however many names an export has.

Up to :data:`SMALL` words a set is a ``frozenset`` (about 100 bytes a word); beyond that it is packed into two arrays (about
15 bytes a word) and answers from a cache for the words that texts repeat.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Set
from itertools import groupby

SMALL = 200_000
_CACHE = 100_000


class PackedWords(Set[str]):
    """An immutable set of words, made of sorted, distinct ones."""

    def __init__(self, ordered: Iterable[str] = ()) -> None:
        data = bytearray()
        self._ends = array("Q", [0])
        for word in ordered:
            data += word.encode()
            self._ends.append(len(data))
        self._data = bytes(data)
        self._known: dict[object, bool] = {}

    def __contains__(self, word: object) -> bool:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            known = self._known[word] = isinstance(word, str) and self._search(word.encode())
        return known

    def __iter__(self) -> Iterator[str]:
        return (self._at(index).decode() for index in range(len(self)))

    def __len__(self) -> int:
        return len(self._ends) - 1

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    @classmethod
    def _from_iterable(cls, it: Iterable[str]) -> frozenset[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return frozenset(it)

    def _at(self, index: int) -> bytes:
        return self._data[self._ends[index] : self._ends[index + 1]]

    def _search(self, word: bytes) -> bool:
        place = bisect_left(range(len(self)), word, key=self._at)
        return place < len(self) and self._at(place) == word


class WordPool(Collection[str]):
    """A growing set of words."""

    def __init__(self) -> None:
        self._packed = PackedWords()
        self._new: set[str] = set()

    def update(self, *groups: Iterable[str]) -> None:
        """Take in words."""
        for words in groups:
            if len(self._packed):
                words = [word for word in words if word not in self._packed]
            self._new.update(words)
        if len(self._new) > SMALL:
            self._packed = PackedWords(self)
            self._new = set()

    def add(self, word: str) -> None:
        """Take in one word."""
        self.update((word,))

    def __contains__(self, word: object) -> bool:
        return word in self._new or word in self._packed

    def __iter__(self) -> Iterator[str]:
        """The words in order."""
        return heapq.merge(self._packed, sorted(self._new))

    def __len__(self) -> int:
        return len(self._packed) + len(self._new)


def united(*groups: WordPool) -> frozenset[str]:
    """All words of ``groups``: a ``frozenset``, or what acts as one where they are many."""
    if sum(map(len, groups)) <= SMALL:
        return frozenset(word for group in groups for word in group)
    return PackedWords(word for word, _ in groupby(heapq.merge(*groups)))  # pyright: ignore[reportReturnType]
