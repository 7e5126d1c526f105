"""Names of medical concepts from one or several terminologies: filtered, without repeats, with totals that add up."""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from anonymize.config import Config
from anonymize.console import Console, UserError
from anonymize.quarantine import Quarantined
from anonymize.text import collapse
from vlp.corpus.term_files import MALFORMED, Row, Term, read_terms

KEPT_ROWS = 10_000
"""Refused rows of one source that are named one by one; more are counted only."""


class TermConfig(Config):
    """Which names are used."""

    languages: tuple[str, ...] = ()  # ISO 639-1; none for all. A term whose file names no language always stays
    shortest: int = Field(default=2, ge=1)  # characters
    longest: int = Field(default=120, ge=2)
    semantic_types: tuple[str, ...] = ()  # UMLS TUIs such as T037 (injury), T047 (disease); needs MRSTY.RRF


@dataclass(frozen=True)
class SourceCounts:
    """What became of the rows of one source: ``rows`` = ``kept`` + the rest."""

    rows: int
    kept: int
    repeated: int  # the concept has this name already; case, accents and blanks do not count
    left_out: dict[str, int]  # by reason: suppressed, inactive, definition, language, too_short, too_long ...
    refused: dict[str, int]  # malformed rows by reason, see MALFORMED

    @property
    def whole(self) -> bool:
        """Whether the parts add up."""
        return self.rows == self.kept + self.repeated + sum(self.left_out.values()) + sum(self.refused.values())


@dataclass(frozen=True)
class Terminology:
    """Names in the order of their files; about 320 bytes of memory each (measured on 300,000)."""

    terms: tuple[Term, ...]
    counts: dict[str, SourceCounts]  # by source as it was given
    quarantine: tuple[Quarantined, ...]

    def by_concept(self, least: int = 1) -> dict[str, list[Term]]:
        """The names of each concept that has ``least`` or more of them."""
        groups: dict[str, list[Term]] = {}
        for term in self.terms:
            groups.setdefault(term.concept, []).append(term)
        return {concept: terms for concept, terms in groups.items() if len(terms) >= least}


def read_terminology(sources: Sequence[str], config: TermConfig, console: Console) -> Terminology:
    """Read every source (see :func:`vlp.corpus.term_files.read_terms`).

    Packs' lists share their concept keys: ``fr`` and ``en`` together give names in two languages for one concept.

    Raises:
        UserError: a source that cannot be read, or no name is left.
    """
    seen: set[bytes] = set()
    terms: list[Term] = []
    counts: dict[str, SourceCounts] = {}
    refused: list[Quarantined] = []
    for source in dict.fromkeys(sources):
        rows = read_terms(source, config.semantic_types)
        try:
            kept, count, bad = _sift(rows, Path(source).name, config, seen)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise UserError(f"{source}: the gzip file is cut or damaged; download it again") from None
        terms += kept
        counts[source] = count
        refused += bad
        if sum(count.refused.values()):
            reasons = ", ".join(f"{name} {number}" for name, number in count.refused.items())
            console.warn(f"{source}: {sum(count.refused.values())} malformed rows are left out ({reasons})")
    if not terms:
        languages = ", ".join(config.languages) or "any language"
        raise UserError(
            f"no name in {languages} in {', '.join(sources)}; look at terms.languages and the counts: {counts}"
        )
    return Terminology(tuple(terms), counts, tuple(refused))


def _sift(
    rows: Iterable[Row], name: str, config: TermConfig, seen: set[bytes]
) -> tuple[list[Term], SourceCounts, list[Quarantined]]:
    kept: list[Term] = []
    bad: list[Quarantined] = []
    out: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    total = repeated = 0
    for number, row in rows:
        total += 1
        if isinstance(row, str):
            if row not in MALFORMED:
                out[row] += 1
                continue
            refused[row] += 1
            if len(bad) < KEPT_ROWS:
                bad.append(Quarantined("synonyms", name, number, row, MALFORMED[row]))
        elif reason := _unwanted(row, config):
            out[reason] += 1
        else:
            key = hashlib.blake2b(f"{row.concept}|{name_key(row.text)}".encode(), digest_size=8).digest()
            if key in seen:
                repeated += 1
                continue
            seen.add(key)
            # concepts and languages repeat: one string of each is enough
            kept.append(Term(sys.intern(row.concept), row.text, sys.intern(row.language)))
    return kept, SourceCounts(total, len(kept), repeated, dict(out), dict(refused)), bad


def _unwanted(term: Term, config: TermConfig) -> str:
    if config.languages and term.language and term.language not in config.languages:
        return "language"
    if len(term.text) < config.shortest:
        return "too_short"
    return "too_long" if len(term.text) > config.longest else ""


def name_key(text: str) -> str:
    """Equal for names that differ in case, accents, blanks and marks only."""
    return collapse(text) or text
