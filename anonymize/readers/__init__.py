"""One file per hospital format. A reader yields raw rows; :mod:`anonymize.readers.rows` makes them reports.

Every reader counts the rows that it could not read: none is lost silently.
"""

from __future__ import annotations

import logging
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from anonymize.console import UserError
from anonymize.policy import ReportsConfig

for _library in ("pydicom", "openpyxl", "docx", "hl7"):
    # their warnings quote values of the file, which can identify people
    warnings.filterwarnings("ignore", module=rf"{_library}\b")
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class RawRow:
    """One row as read. ``problem`` is a quarantine reason where the row cannot be used; its values are empty then."""

    position: int  # from 1; the heading is row 1 of a table
    values: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """An opened export: its headings, how it was read, and its rows."""

    headings: tuple[str, ...]
    details: dict[str, str]
    path: Path
    config: ReportsConfig
    reader: Callable[[Source], Iterator[RawRow]]
    origins: list[tuple[int, str]] = field(default_factory=list)
    """Of a folder: first position of each file and its name, filled while rows are read. Names can identify people."""

    def rows(self) -> Iterator[RawRow]:
        """All rows in their order, read as a stream."""
        self.origins.clear()
        return self.reader(self)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(path.lstat().st_size for path in self.path.rglob("*") if path.is_file() and not path.is_symlink())


def open_source(path: Path, config: ReportsConfig) -> Source:
    """Open an export: a table (CSV, Excel, Parquet, JSON Lines; CSV and JSON Lines also as .gz), a file with messages
    (HL7, FHIR, CDA, DICOM), or a folder of documents and messages. What it is, its content says.

    Raises:
        UserError: no such file, or a format that cannot be read.
    """
    sniff, reader = _reader_of(path, config)
    headings, details = sniff(path, config)
    return Source(tuple(_distinct(headings)), details, path, config, reader)


def origin_of(origins: Sequence[tuple[int, str]], position: int) -> str:
    """The name of the file that holds the row at ``position``; empty for a table. For the private look-up only."""
    place = bisect_right([first for first, _ in origins], position)
    return origins[place - 1][1] if place else ""


def _reader_of(path: Path, config: ReportsConfig) -> tuple[Callable, Callable[[Source], Iterator[RawRow]]]:
    from anonymize.readers import csv_file, documents, excel_file, jsonl_file, parquet_file
    from anonymize.readers.detect import HEAD, kind_of
    from anonymize.readers.raw import readable_lines
    from anonymize.readers.zips import ole_reason

    if path.is_dir():
        return documents.sniff, documents.rows
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    kind = kind_of(path)
    inner = Path(path.stem).suffix.lower() if kind == "gzip" else path.suffix.lower()
    if kind == "gzip":
        kind = kind_of(path.with_suffix(""), b"".join(islice(readable_lines(path), 50))[:HEAD])
        if kind in ("empty", "binary", "jsonl", "text"):
            kind = ENDINGS.get(inner, "csv")
    elif kind == "text":
        single = config.files.pattern or config.files.index
        kind = "document" if single and inner not in (".csv", ".tsv") else "csv"
    elif kind == "binary" and inner in ENDINGS:
        kind = ENDINGS[inner]  # a table with many NUL bytes is still a table
    modules = {"csv": csv_file, "jsonl": jsonl_file, "parquet": parquet_file, "xlsx": excel_file}
    if kind in modules:
        return modules[kind].sniff, modules[kind].rows
    if kind in documents.MESSAGES or kind in documents.PLAIN or kind == "document":
        return documents.sniff, documents.rows
    if kind == "empty":
        raise UserError(f"{path}: the file is empty")
    if kind == "ole" and ole_reason(path) == "encrypted":
        raise UserError(f"{path}: the file is protected by a password; save it without one")
    if kind == "ole":
        raise UserError(f"{path}: a file of an Office version before 2007; save it as .xlsx or .docx")
    raise UserError(
        f"{path}: its content is in no format that is read; give a table (CSV, Excel, Parquet, JSON Lines), HL7, FHIR, "
        "CDA or DICOM SR, or a folder of documents (docs/report-formats.md)"
    )


def _distinct(headings: Sequence[str]) -> list[str]:
    """Headings with a number behind those that stand twice, so that each column can be named."""
    seen: Counter[str] = Counter()
    out = []
    for name in headings:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
