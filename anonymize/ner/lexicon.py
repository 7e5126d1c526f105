"""What is known about a word without its context: how frequent it is, and whether people or towns bear it.

The lists and their licences: ``anonymize/languages/{names,ranks}.tsv.gz`` and ``<code>/words.tsv.gz``, written by
``scripts/build_lexicon.py``.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from anonymize.languages import FOLDER, Pack

NAMES, RANKS = FOLDER / "names.tsv.gz", FOLDER / "ranks.tsv.gz"
KINDS = "fmst"  # female and male given names, surnames, towns
_FUNCTION_WORD = 58  # Zipf frequency times ten from which a part of a longer name tells nothing ("saint" is below)
_RARE = 4  # class of a word that only stands in longer names


@dataclass(frozen=True)
class Name:
    """One entry of the name list."""

    kind: str  # one of KINDS
    form: str  # as written, "Villeneuve-sur-Lot"
    rank: int  # 1 common to 3 rare
    region: str  # language of a person's name, ISO country of a town, "xx" or "XX" elsewhere


def read_names(path: Path = NAMES) -> Iterator[Name]:
    """All entries of the name list."""
    for line in _lines(path):
        kind, form, rank, region = line.split("\t")
        yield Name(kind, form, int(rank), region)


class Lexicon:
    """Codes of single folded words.

    Args:
        pack: its ``words.tsv.gz`` may be missing (a pack made by a user): then all frequencies are 0.
    """

    def __init__(self, pack: Pack) -> None:
        path = pack.folder / "words.tsv.gz"
        self._frequency = _table(path) if path.is_file() else {}
        self._ranks = _table(RANKS)

    def codes(self, word: str) -> tuple[int, int, int, int]:
        """Of a folded word: frequency class 0-8, given-name class 0-4, surname class 0-4, town class 0-4; 0 = not listed.

        Name classes: 1 common to 3 rare, 4 = only as a part of a longer name.
        """
        zipf = int(self._frequency.get(word, "0"))
        frequency = 0 if not zipf else max(1, min(8, zipf // 8))
        given, surname, town = map(int, self._ranks.get(word, "000"))
        if zipf >= _FUNCTION_WORD:
            given, surname, town = (0 if rank == _RARE else rank for rank in (given, surname, town))
        return frequency, given, surname, town

    def given_names(self, rank: int, frequency: int) -> list[str]:
        """Folded given names of this rank or a commoner one, whose words are no more frequent than ``frequency``."""
        ranks = [word for word, codes in self._ranks.items() if "0" < codes[0] <= str(rank)]
        return [word for word in ranks if self.codes(word)[0] <= frequency]

    def words(self) -> list[str]:
        """All words with a frequency."""
        return list(self._frequency)


@lru_cache(maxsize=8)
def _table(path: Path) -> dict[str, str]:
    """Word → value, both as written."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return dict(line.split("\t") for line in stream.read().splitlines() if line[0] != "#")


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            if not line.startswith("#"):
                yield line.rstrip("\n")
