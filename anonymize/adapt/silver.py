"""Documents labelled from the record's own columns, with every labelled value exchanged for another one.

The exchange serves two ends: the tagger learns places of names and not names, and no identifying value enters its weights
but those that nothing found.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anonymize.engine import Anonymizer
from anonymize.keys import normalise_identifier
from anonymize.languages import Pack
from anonymize.ner.grammar import Atoms, Labelled
from anonymize.readers import open_source
from anonymize.readers.rows import RowReader, map_columns
from anonymize.report import Report, Span
from anonymize.text import fold, words_of

_RUN = re.compile(r"[^\W\d_]+|\d")
_COLUMN_RULES = "known."


@dataclass(frozen=True)
class Silver:
    """A report, all that was found in it, and what its record's columns alone explain."""

    report: Report
    spans: tuple[Span, ...]
    from_columns: tuple[Span, ...]
    held_out: bool


def label(engine: Anonymizer, source: Path, limit: int) -> Iterator[Silver]:
    """The first ``limit`` usable reports of ``source``. A tenth of the patients, by a hash, is held out."""
    opened = open_source(source, engine.config)
    reader = RowReader(map_columns(opened.headings, engine.config.columns, engine.pack), engine.pack)
    used = 0
    for row in opened.rows():
        report = None if row.problem else reader.read(row.position, row.values)[0]
        if report is None:
            continue
        known = engine.known(report.identity)
        rules = engine.by_rule(report.text)
        spans = engine.combine(report.text, rules, known)
        columns = [span for span in spans if span.rule.startswith(_COLUMN_RULES)]
        digest = hashlib.blake2b(normalise_identifier(report.identity.patient_id).encode(), digest_size=4).digest()
        yield Silver(report, tuple(spans), tuple(columns), digest[0] % 10 == 0)
        used += 1
        if used >= limit:
            return


class Exchange:
    """Draws other values for labelled ones: names from the lists, digits and other words at random."""

    def __init__(self, pack: Pack, seed: int) -> None:
        self._atoms = Atoms(pack, "train")
        self._seed = seed
        names, institutions, places = (pack["detectors"][topic] for topic in ("names", "institutions", "places"))
        kept = [*names["particles"], *institutions["heads"], *institutions["connectors"], *places["streets"]]
        self._kept = frozenset(part for word in kept for part in words_of(str(word)))

    def document(self, silver: Silver) -> Labelled:
        """The report with other values at its labels, which keep their form."""
        draw = random.Random(f"{self._seed} {silver.report.position}")
        drawn: dict[str, str] = {}
        pieces: list[str] = []
        labels: list[tuple[int, int, str]] = []
        position = length = 0
        for span in silver.spans:
            before = silver.report.text[position : span.start]
            new = self._other(silver.report.text[span.start : span.end], span.kind, draw, drawn)
            pieces += [before, new]
            length += len(before)
            labels.append((length, length + len(new), span.kind))
            length += len(new)
            position = span.end
        return Labelled("".join([*pieces, silver.report.text[position:]]), tuple(labels))

    def _other(self, text: str, kind: str, draw: random.Random, drawn: dict[str, str]) -> str:
        if kind in ("date", "birth_date", "age"):
            return text

        def word(match: re.Match[str]) -> str:
            old = match.group()
            if old.isdigit():
                return str(draw.randrange(10))
            if len(old) == 1 or fold(old) in self._kept:
                return old
            key = f"{kind} {fold(old)}"
            if key not in drawn:
                atom = (
                    "town"
                    if kind == "town"
                    else draw.choice(("surname", "surname", "given"))
                    if kind == "name"
                    else "surname"
                )
                drawn[key] = max(re.findall(r"[^\W\d_]+", self._atoms.draw(atom, "", draw)), key=len)
            new = drawn[key]
            return new.upper() if old.isupper() else new.lower() if old.islower() else new

        return _RUN.sub(word, text)
