"""JSON Lines: one object with the columns' names as keys on each line, UTF-8 (RFC 8259)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from anonymize.console import UserError
from anonymize.policy import ReportsConfig
from anonymize.readers.problems import MAXIMUM_TEXT, Unreadable
from anonymize.readers.raw import LINE_LIMIT, lines_of, open_bytes, readable_lines

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """All keys, in order of first appearance."""
    keys: dict[str, None] = {}
    for line in readable_lines(path):
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
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
    try:
        with open_bytes(source.path) as stream:
            for line in lines_of(stream):
                if line is None:
                    yield RawRow(position, (), "too_large")
                    continue
                if not line.strip():
                    continue
                position += 1
                if len(line) >= LINE_LIMIT and not line.endswith(b"\n"):
                    continue  # the marker None follows
                values, problem = _values(line, source.headings)
                yield RawRow(position, values, problem)
    except Unreadable as problem:
        yield RawRow(position + 1, (), problem.reason)


def _values(line: bytes, headings: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return (), "wrong_encoding"
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return (), "unparsable_row"
    values = tuple(_text(row.get(key)) for key in headings)
    if any("\0" in value for value in values):
        return values, "nul_byte"
    if any("\ud800" <= char <= "\udfff" for value in values for char in value if char > "\u2fff"):
        return (), "wrong_encoding"  # half of a surrogate pair
    return values, "too_large" if any(len(value) > MAXIMUM_TEXT for value in values) else ""


def _text(value: object) -> str:
    """A cell: null is empty, whole numbers lose their decimal point, nested values stay JSON."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)
