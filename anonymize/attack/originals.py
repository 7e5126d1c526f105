"""What the adversary holds: the original reports, and which safe report each of them became."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from anonymize.dates import age_months
from anonymize.keys import Keys, normalise_identifier
from anonymize.languages import Pack
from anonymize.readers import Source
from anonymize.readers.rows import RowReader, map_columns
from anonymize.report import Report, SafeReport
from anonymize.surrogates import CAP_MONTHS
from anonymize.text import words_of

_FEW = 5000  # originals that are all compared with a report whose sex and age fit none
_ALIKE = 0.15  # least share of common word triples of two reports that are one


@dataclass
class Case:
    """One patient of the safe export: the safe reports, and the originals that belong to them."""

    patient: str  # pseudonym
    safe: list[SafeReport]
    places: list[int] = field(default_factory=list)  # of the safe reports among all rows of the files
    originals: list[Report] = field(default_factory=list)  # all of the patient's
    linked: dict[int, Report] = field(default_factory=dict)  # number of a safe report → its original


def read_safe(folder: Path, limit: int) -> dict[str, Case]:
    """The safe reports of up to ``limit`` patients (0 = all), in the order of the files."""
    cases: dict[str, Case] = {}
    place = 0
    for path in sorted((folder / "reports").glob("part-*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            place += 1
            report = SafeReport(**{name: row.get(name) for name in SafeReport.__dataclass_fields__})
            if report.patient not in cases:
                if limit and len(cases) >= limit:
                    continue
                cases[report.patient] = Case(report.patient, [])
            cases[report.patient].safe.append(report)
            cases[report.patient].places.append(place)
    return cases


def read_originals(source: Source, pack: Pack) -> Iterator[Report]:
    """The usable rows of the export, each once."""
    seen: set[int] = set()
    reader = RowReader(map_columns(source.headings, source.config.columns, pack), pack)
    for row in source.rows():
        report = None if row.problem else reader.read(row.position, row.values)[0]
        if report is None:
            continue
        mark = hash((report.identity, report.exam_date, report.exam, report.text))
        if mark not in seen:
            seen.add(mark)
            yield report


def link_by_secret(cases: dict[str, Case], originals: Iterable[Report], keys: Keys) -> None:
    """Who holds the secret knows who is who."""
    for report in originals:
        case = cases.get(keys.pseudonym("patient", report.identity.patient_id))
        if case is not None:
            case.originals.append(report)
    for case in cases.values():
        by_report: dict[str, Report] = {}
        by_study: dict[str, list[Report]] = defaultdict(list)
        for report in case.originals:
            accession = report.identity.accession
            by_report.setdefault(keys.pseudonym("report", f"{accession}{report.text}"), report)
            if accession:
                by_study[keys.pseudonym("study", accession)].append(report)
        for number, safe in enumerate(case.safe):
            original = by_report.get(safe.report_id) or _most_alike(safe, by_study.get(safe.study, case.originals))
            if original is not None:
                case.linked[number] = original


def link_by_content(cases: dict[str, Case], originals: Iterable[Report]) -> None:
    """Without the secret: by sex, age and the clinical words, which a safe report keeps."""
    blocks: dict[tuple[str, int | None], list[tuple[Report, frozenset[int]]]] = defaultdict(list)
    records: dict[str, list[Report]] = defaultdict(list)
    for report in originals:
        age = age_months(report.identity.birth_date, report.exam_date)
        key = (report.identity.sex, None if age is None else min(age, CAP_MONTHS))
        blocks[key].append((report, triples(report.text)))
        records[normalise_identifier(report.identity.patient_id)].append(report)
    every = [item for block in blocks.values() for item in block]
    for case in cases.values():
        votes: Counter[str] = Counter()
        found: dict[int, tuple[str, Report]] = {}
        for number, safe in enumerate(case.safe):
            wanted = triples(safe.text)
            best = _best(wanted, blocks.get((safe.sex, safe.age_months), ()))
            if best is None and len(every) <= _FEW:
                best = _best(wanted, every)
            if best is not None:
                patient = normalise_identifier(best[1].identity.patient_id)
                votes[patient] += 1
                found[number] = (patient, best[1])
        if votes:
            patient = votes.most_common(1)[0][0]
            case.originals = records[patient]
            case.linked = {number: report for number, (owner, report) in found.items() if owner == patient}


def triples(text: str) -> frozenset[int]:
    """Hashes of each three words in a row; words of one or two letters do not count."""
    words = [word for word in words_of(text) if len(word) > 2]
    return frozenset(zlib.crc32(" ".join(three).encode()) for three in zip(words, words[1:], words[2:], strict=False))


def _most_alike(safe: SafeReport, reports: list[Report]) -> Report | None:
    best = _best(triples(safe.text), [(report, triples(report.text)) for report in reports])
    return best[1] if best else None


def _best(wanted: frozenset[int], candidates: Iterable[tuple[Report, frozenset[int]]]) -> tuple[float, Report] | None:
    best: tuple[float, Report] | None = None
    for report, held in candidates:
        share = len(wanted & held) / max(1, min(len(wanted), len(held)))
        if share >= _ALIKE and (best is None or share > best[0]):
            best = (share, report)
    return best
