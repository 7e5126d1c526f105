"""JSON Lines: one object with the columns' names as keys on each line, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from anonymize.console import UserError
from anonymize.policy import ReportsConfig

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

SUFFIXES = (".jsonl", ".ndjson")


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """All keys, in order of first appearance."""
    keys: dict[str, None] = {}
    with path.open("rb") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                keys.update(dict.fromkeys(map(str, row)))
    if not keys:
        raise UserError(f"{path}: no line holds a JSON object")
    return list(keys), {"format": "jsonl", "encoding": "utf-8"}


def rows(source: Source) -> Iterator[RawRow]:
    """One row a line; lines that are blank are none."""
    from anonymize.readers import RawRow

    position = 1
    with source.path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            position += 1
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                yield RawRow(position, (), "wrong_encoding")
                continue
            except ValueError:
                row = None
            if not isinstance(row, dict):
                yield RawRow(position, (), "unparsable_row")
                continue
            values = tuple("" if row.get(key) is None else str(row[key]) for key in source.headings)
            yield RawRow(position, values, "nul_byte" if any("\0" in value for value in values) else "")
