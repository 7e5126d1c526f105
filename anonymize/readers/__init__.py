"""One file per hospital format. A reader yields raw rows; :mod:`anonymize.readers.rows` makes them reports.

Every reader counts the rows that it could not read: none is lost silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anonymize.console import UserError
from anonymize.policy import ReportsConfig


@dataclass(frozen=True)
class RawRow:
    """One row as read. ``problem`` is a quarantine reason where the row cannot be used; its values are empty then."""

    position: int  # from 1; the heading is row 1
    values: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """An opened export: its headings, how it was read, and its rows."""

    headings: tuple[str, ...]
    details: dict[str, str]
    path: Path
    config: ReportsConfig

    def rows(self) -> Iterator[RawRow]:
        """All rows in their order, read as a stream."""
        return _MODULES[self.path.suffix.lower()](self)


def open_source(path: Path, config: ReportsConfig) -> Source:
    """Open an export by the ending of its name: .csv, .tsv, .txt, .parquet, .jsonl or .ndjson.

    Raises:
        UserError: no such file, or a format that cannot be read.
    """
    from anonymize.readers import csv_file, jsonl_file, parquet_file

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffix = path.suffix.lower()
    for module in (csv_file, parquet_file, jsonl_file):
        if suffix in module.SUFFIXES:
            for ending in module.SUFFIXES:
                _MODULES[ending] = module.rows
            headings, details = module.sniff(path, config)
            return Source(tuple(headings), details, path, config)
    raise UserError(f"{path}: the format '{suffix}' is not read; give .csv, .tsv, .parquet or .jsonl")


_MODULES: dict = {}
