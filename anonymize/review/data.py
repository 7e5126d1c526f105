"""Pairs of original and safe report, exact: the engine that made the safe export runs again on the originals shown.

Only offsets, scores and rules ever leave this module for the disk; originals stay in memory.
"""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from anonymize.batch import pseudonymised
from anonymize.console import Console, UserError
from anonymize.detectors.known_identity import KnownIdentity
from anonymize.detectors.known_words import KnownWords
from anonymize.engine import Anonymizer
from anonymize.keys import Keys
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.readers import open_source
from anonymize.readers.rows import RowReader, map_columns
from anonymize.report import Report, Span
from anonymize.review.alignment import CHANGED, SECOND_LOOK, Alignment, align
from anonymize.spool import NameCollector, by_patient, strangers

_COLUMNS = ("report_id", "patient", "date", "exam", "language", "text")
_PATIENTS_KEPT = 64


@dataclass(frozen=True)
class Safe:
    """What the safe export says about a report."""

    report_id: str
    patient: str
    date: str
    exam: str
    language: str
    text: str


@dataclass(frozen=True)
class Pair:
    """One report before and after."""

    safe: Safe
    original: Report
    alignment: Alignment
    exact: bool  # whether the engine, run again, gives the text of the safe export
    known: KnownIdentity  # what the record's columns say, as the engine searched it
    found: tuple[Span, ...] = ()  # what the engine finds today
    ruled: tuple[Span, ...] = ()  # what its rules find, without the tagger and the record's columns; they may overlap

    @property
    def report_id(self) -> str:
        """The pseudonym of the report, which binds both to each other."""
        return self.safe.report_id

    @property
    def spans(self) -> list[Span]:
        """What the safe export hides, at its place in the original."""
        return self.alignment.spans

    @property
    def proposed(self) -> list[Span]:
        """What a person starts from: what is hidden, and what the engine finds today where that is more."""
        hidden = [span for span in self.spans if span.end > span.start]
        if self.exact:
            return hidden
        others = [span for span in hidden if not any(f.start < span.end and span.start < f.end for f in self.found)]
        return sorted([*self.found, *others], key=lambda span: span.start)


@dataclass(frozen=True)
class Choice:
    """Which reports are reviewed."""

    sample: tuple[str, ...]  # a simple random sample of the whole export, in random order
    others: tuple[str, ...]  # further reports, drawn at random too
    total: int  # reports of the safe export

    @property
    def all(self) -> tuple[str, ...]:
        """Both, without repetition."""
        return tuple(dict.fromkeys((*self.sample, *self.others)))


def choose(safe: Path, limit: int, sample: int, seed: int, also: Collection[str] = ()) -> Choice:
    """Draw ``sample`` reports of the export, and others until there are ``limit`` (0 = all); ``also`` come on top.

    Raises:
        UserError: ``safe`` holds no reports.
    """
    ids = sorted(row["report_id"] for row in _safe_rows(safe, ("report_id",)))
    if not ids:
        raise UserError(f"{safe}/reports: holds no reports; is this a folder that anonymize reports wrote?")
    drawn = random.Random(f"review sample {seed}").sample(ids, min(sample, len(ids)))
    rest = random.Random(f"review rest {seed}").sample(ids, len(ids))
    wanted = len(ids) if limit <= 0 else max(limit, len(drawn))
    others = [name for name in rest if name not in set(drawn)][: wanted - len(drawn)]
    there = set(ids)
    return Choice(tuple(drawn), tuple(dict.fromkeys((*others, *(name for name in also if name in there)))), len(ids))


class Pairs:
    """The chosen reports of a safe export with their originals.

    Args:
        safe: folder of the safe export.
        originals: the export it was made from.
        config: as stored by ``anonymize reports``.
        keys: of that run.
        wanted: pseudonyms of reports.
        console: for progress.

    Raises:
        UserError: the originals cannot be read, or none of them belongs to the safe export.
    """

    def __init__(
        self, safe: Path, originals: Path, config: ReportsConfig, keys: Keys, wanted: Collection[str], console: Console
    ) -> None:
        chosen = set(wanted)
        rows = (Safe(**{name: row[name] or "" for name in _COLUMNS}) for row in _safe_rows(safe, _COLUMNS))
        self._safe = {row.report_id: row for row in rows if row.report_id in chosen}
        patients = {row.patient for row in self._safe.values()}
        pack = load_pack(config.language)
        opened = open_source(originals, config)
        reader = RowReader(map_columns(opened.headings, config.columns, pack), pack)
        names = NameCollector(KnownWords(pack))
        kept: list[Report] = []
        seen: set[bytes] = set()
        for row in console.track(opened.rows(), None, "reading originals", "rows"):
            report = None if row.problem else reader.read(row.position, row.values)[0]
            if report is None:
                continue
            names.add(report.identity)
            if keys.pseudonym("patient", report.identity.patient_id) in patients:
                digest = hashlib.blake2b("\x1f".join(row.values).encode("utf-8", "surrogateescape")).digest()
                if digest not in seen:
                    seen.add(digest)
                    kept.append(report)
        self.engine = _Recorder(config, keys, names.gazetteer(), names.avoid())
        self._groups: dict[str, list[Report]] = {}
        self._patient_of: dict[str, str] = {}
        for patient, group in by_patient(kept).items():
            odd = strangers(group)
            self._groups[patient] = [report for report in group if report.position not in odd]
            for report in self._groups[patient]:
                name = keys.pseudonym("report", f"{report.identity.accession}{report.text}")
                if name in self._safe:
                    self._patient_of[name] = patient
        if not self._patient_of:
            raise UserError(
                f"no report of {originals} belongs to {safe}: give the export that it was made from, and the secret of "
                "that run (--secret-file or ANONYMIZE_SECRET)"
            )
        self._marks: dict[str, str] = {}
        self._held: OrderedDict[str, dict[str, Pair]] = OrderedDict()

    @property
    def ids(self) -> list[str]:
        """The reports whose original was found, patient by patient."""
        return list(self._patient_of)

    @property
    def missing(self) -> int:
        """Chosen reports without an original."""
        return len(self._safe) - len(self._patient_of)

    def mark(self, report_id: str) -> str:
        """Changes with all that decides on this pair: the patient's originals and the safe text. Keyed, holds no text."""
        patient = self._patient_of[report_id]
        if patient not in self._marks:
            self._marks[patient] = "\0".join(
                f"{report.identity}{report.exam_date}{report.text}" for report in self._groups[patient]
            )
            self._marks[patient] = self.engine.keys.digest("review group", self._marks[patient]).hex()
        return self.engine.keys.digest("review pair", f"{self._marks[patient]}{self._safe[report_id]}").hex()[:24]

    def __contains__(self, report_id: object) -> bool:
        return report_id in self._patient_of

    def __getitem__(self, report_id: str) -> Pair:
        """The pair; all reports of its patient are looked at, since names found in one are searched in all."""
        patient = self._patient_of[report_id]
        if patient not in self._held:
            self._held[patient] = {pair.report_id: pair for pair in self._pairs(self._groups[patient])}
            while len(self._held) > _PATIENTS_KEPT:
                self._held.popitem(last=False)
        self._held.move_to_end(patient)
        return self._held[patient][report_id]

    def _pairs(self, reports: Sequence[Report]) -> Iterator[Pair]:
        at = {report.position: report for report in reports}
        self.engine.looks.clear()
        for outcome, position in pseudonymised(self.engine, [list(reports)]):
            looks, report = list(self.engine.looks), at[position]
            self.engine.looks.clear()
            safe = self._safe.get(outcome.report.report_id)
            if safe is None:
                continue
            look = next(look for look in looks if look.text == report.text)
            exact = outcome.report.text == safe.text
            aligned = align(report.text, look.spans, look.replacements, safe.text)
            if exact:
                aligned = Alignment([_named(piece) for piece in aligned.pieces])
            known = look.known or self.engine.known(report.identity)
            yield Pair(safe, report, aligned, exact, known, tuple(look.spans), tuple(look.ruled))


def _named(piece: Any) -> Any:
    """Where the result is the engine's, a change that no span explains is its second look."""
    if piece.span is None or piece.span.rule != CHANGED:
        return piece
    kind = "name" if piece.span.kind == "id" else piece.span.kind
    return replace(piece, span=replace(piece.span, rule=SECOND_LOOK, kind=kind))


@dataclass
class _Look:
    """One text that the engine looked at, what it found and what each span became."""

    text: str
    spans: list[Span]
    known: KnownIdentity | None
    replacements: list[str]
    ruled: list[Span]


class _Recorder(Anonymizer):
    """The engine, writing down what it does. It decides nothing by itself, so that the pair is what a run makes."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.looks: list[_Look] = []
        drawn = self.surrogates.replace

        def recorded(*args: Any, **more: Any) -> str:
            new = drawn(*args, **more)
            self.looks[-1].replacements.append(new)
            return new

        self.surrogates.replace = recorded

    def combine(self, text: str, spans: Sequence[Span], known: KnownIdentity | None) -> list[Span]:
        """As the engine's."""
        found = super().combine(text, spans, known)
        ruled = [span for span in spans if not span.rule.startswith("ner.")]
        self.looks.append(_Look(text, found, known, [], ruled))
        return found


def _safe_rows(safe: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for path in sorted((safe / "reports").glob("part-*.parquet")):
        yield from pq.ParquetFile(path).read(columns=list(columns)).to_pylist()
