"""CSV as hospitals export it: semicolons, Windows-1252 or UTF-8, multi-line cells (RFC 4180, often broken)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from anonymize.console import UserError
from anonymize.policy import ReportsConfig

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

SUFFIXES = (".csv", ".tsv", ".txt")
_FIELD_LIMIT = 32 * 1024 * 1024
# UTF-8 read as Windows-1252 or Latin-1: a lead byte's letter and a continuation byte's sign
_MOJIBAKE = re.compile(r"[ÃÂ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œ\u009d˜“”¦]|\ufffd")


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Headings, and the encoding and delimiter in use."""
    encoding = config.encoding or _encoding(path)
    try:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as stream:
            heading = stream.readline()
    except LookupError:
        raise UserError(f"encoding '{encoding}' is not known; try utf-8 or cp1252") from None
    delimiter = config.delimiter or max(";\t,|", key=heading.count)
    if len(delimiter) != 1:
        raise UserError("delimiter must be one character")
    csv.field_size_limit(_FIELD_LIMIT)
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as stream:
        headings = next(csv.reader(stream, delimiter=delimiter), [])
    if len(headings) < 2:
        raise UserError(
            f"{path}: no heading row with two or more columns was found; give delimiter=... and encoding=..."
        )
    return [name.strip() for name in headings], {"format": "csv", "encoding": encoding, "delimiter": delimiter}


def rows(source: Source) -> Iterator[RawRow]:
    """Rows behind the heading; one that cannot be used carries its reason."""
    from anonymize.readers import RawRow

    width = len(source.headings)
    csv.field_size_limit(_FIELD_LIMIT)
    with source.path.open(encoding=source.details["encoding"], errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=source.details["delimiter"])
        next(reader)
        position = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                position += 1
                yield RawRow(position, (), "unparsable_row")
                continue
            if not cells:
                continue  # a blank line holds no row
            position += 1
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            yield RawRow(position, tuple(cells), _problem(cells, width))


def _problem(cells: list[str], width: int) -> str:
    if len(cells) != width:
        return "unparsable_row"
    if any("\0" in cell for cell in cells):
        return "nul_byte"
    if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell if char > "\u2fff"):
        return "wrong_encoding"
    return "wrong_encoding" if any(_MOJIBAKE.search(cell) for cell in cells) else ""


def _encoding(path: Path) -> str:
    """UTF-8 (with or without mark) or UTF-16 by their marks or by most lines beyond ASCII, else Windows-1252."""
    with path.open("rb") as stream:
        start = stream.read(4)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16"
        stream.seek(0)
        utf8, other = _count(stream)
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    return "utf-8" if utf8 >= other else "cp1252"


def _count(lines: Iterable[bytes]) -> tuple[int, int]:
    utf8 = other = 0
    for line in lines:
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            utf8 += 1
        except UnicodeDecodeError:
            other += 1
    return utf8, other
