"""CSV as hospitals export it: semicolons, Windows-1252 or UTF-8, multi-line cells (RFC 4180, often broken)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from anonymize.console import UserError
from anonymize.policy import ReportsConfig
from anonymize.readers.encoding import encoding_of, is_broken
from anonymize.readers.problems import MAXIMUM_TEXT, Unreadable
from anonymize.readers.raw import LINE_LIMIT, lines_of, open_bytes, readable_lines

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

_FIELD_LIMIT = 32 * 1024 * 1024
_DELIMITERS = ";\t,|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*\Z', re.IGNORECASE)
_LOOK_BACK = 2000  # lines that a stray quotation mark may swallow before the row is given up as a whole


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Headings, and the encoding and delimiter in use."""
    encoding = config.encoding or encoding_of(readable_lines(path))
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UserError(f"encoding '{encoding}' is not known; try utf-8 or cp1252") from None
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        with _open_text(path, encoding) as stream:
            delimiter, first = _separator(stream)
            sample = first + "".join(line for line in islice(lines_of(stream), 200) if line is not None)
    except Unreadable as problem:
        sample, delimiter = "", ""
        if problem.reason in ("zip_bomb", "damaged_file"):
            raise UserError(f"{path}: cannot be unpacked ({problem.reason})") from None
    delimiter = config.delimiter or delimiter or _best_delimiter(sample)
    if len(delimiter) != 1:
        raise UserError("delimiter must be one character")
    headings = next((cells for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if cells), [])
    if len(headings) < 2:
        raise UserError(
            f"{path}: no heading row with two or more columns was found; give delimiter=... and encoding=..."
        )
    return [name.strip() for name in headings], {"format": "csv", "encoding": encoding, "delimiter": delimiter}


def rows(source: Source) -> Iterator[RawRow]:
    """Rows behind the heading; one that cannot be used carries its reason."""
    from anonymize.readers import RawRow

    csv.field_size_limit(_FIELD_LIMIT)
    delimiter, width = source.details["delimiter"], len(source.headings)
    position = 0
    try:
        with _open_text(source.path, source.details["encoding"]) as stream:
            _, first = _separator(stream)
            for cells, problem in _records(_Lines(stream, first), delimiter, width):
                position += 1
                if position > 1:
                    yield RawRow(position, tuple(cells), problem)
    except Unreadable as problem:
        yield RawRow(max(2, position + 1), (), problem.reason)


class _Lines:
    """Lines for the CSV parser, which can be given back; ``taken`` are those of the record in work."""

    def __init__(self, stream: IO[str], first: str) -> None:
        self._source = lines_of(stream)
        self._waiting: deque[str | None] = deque([first] if first else [])
        self.taken: list[str | None] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._source)
        self.taken.append(line)
        return "\n" if line is None else line

    def give_back(self, count: int) -> None:
        """Put the last ``count`` lines of the record before what comes next."""
        self._waiting.extendleft(reversed(self.taken[len(self.taken) - count :]))


def _records(lines: _Lines, delimiter: str, width: int) -> Iterator[tuple[list[str], str]]:
    """Cells and quarantine reason of each record, the heading first.

    A stray quotation mark makes the parser swallow the rows behind it. They are looked for and read again, so that only
    the row with the mark is lost.
    """
    reader = csv.reader(lines, delimiter=delimiter)
    heading = True
    while True:
        lines.taken = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        if cells == []:
            continue  # a blank line holds no row
        while cells is not None and len(cells) > width and not cells[-1].strip():
            cells.pop()
        if heading:
            yield cells or [], ""
        elif None in lines.taken:
            yield [], "too_large"
        elif cells is None or len(cells) != width or not _closed(lines.taken, delimiter):
            lines.give_back(_swallowed(lines.taken, delimiter, width))
            reader = csv.reader(lines, delimiter=delimiter)
            yield [], "unparsable_row"
        else:
            yield cells, _problem(cells)
        heading = False


def _closed(taken: list[str | None], delimiter: str) -> bool:
    """Whether the quotation marks of a record pair up as they should; asked only where they can matter."""
    if len(taken) == 1 and (taken[0] or "").count('"') % 2 == 0:
        return True
    try:
        list(csv.reader((line or "" for line in taken), delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True


def _swallowed(taken: list[str | None], delimiter: str, width: int) -> int:
    """How many of the last lines of a broken record start with a whole row. Two columns are too few to tell."""
    if width < 3:
        return 0
    for start in range(1, min(len(taken), _LOOK_BACK)):
        if delimiter not in (taken[start] or ""):
            continue
        try:
            cells = next(csv.reader((line or "" for line in taken[start : start + 200]), delimiter=delimiter), [])
        except csv.Error:
            continue
        if len(cells) == width and cells[0].strip():
            return len(taken) - start
    return 0


def _problem(cells: list[str]) -> str:
    if any("\0" in cell for cell in cells):
        return "nul_byte"
    if any(len(cell) > MAXIMUM_TEXT for cell in cells):
        return "too_large"
    return "wrong_encoding" if any(map(is_broken, cells)) else ""


def _open_text(path: Path, encoding: str) -> IO[str]:
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, errors="surrogateescape", newline="")


def _separator(stream: IO[str]) -> tuple[str, str]:
    """The delimiter that a first line such as ``sep=;`` names (Excel), and the first line where it is another one."""
    first = stream.readline(LINE_LIMIT).removeprefix("\ufeff")
    match = _SEPARATOR_LINE.match(first)
    return (match[1], "") if match else ("", first)


def _best_delimiter(sample: str) -> str:
    """The sign that splits the heading and most records into the same number of columns, two or more."""
    best, score = ";", (0, 0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if cells]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        alike = sum(width == widths[0] for width in widths) / len(widths)
        found = (1, alike if alike < 0.8 else 1.0, widths[0])
        if found > score:
            best, score = delimiter, found
    return best
