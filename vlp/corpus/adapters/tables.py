"""Tables and cells of public sets: CSV in any usual encoding, gzip, XLSX; ages, sexes and dates as they are written."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from anonymize.console import UserError

_AGE = re.compile(r"\s*(\d{1,4}(?:[.,]\d+)?)\s*-?\s*([A-Za-z]*)")
_MONTHS = {"": 12.0, "y": 12.0, "a": 12.0, "m": 1.0, "w": 7 * 12 / 365.25, "d": 12 / 365.25}
_OLDEST = 120 * 12  # NIH has ages of 148 to 414 "years", which are typing errors


def read_table(path: Path, columns: Sequence[str] = (), header: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """The rows of a CSV (UTF-8 or Windows-1252; comma, semicolon, tab or bar; plain or gzip) or XLSX file.

    Args:
        columns: names that must be there.
        header: names of the columns of a file that has no header line.

    Raises:
        UserError: at once, not at the first row: there is no such file, it cannot be read, or it lacks a column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such table")
    lines = _sheet(path) if path.suffix.lower() == ".xlsx" else _lines(path)
    if not header:
        header = [name.strip() for name in next(lines, [])]
    if missing := sorted(set(columns) - set(header)):
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(header)}")
    return (dict(zip(header, line, strict=False)) for line in lines if line)


def _lines(path: Path) -> Iterator[list[str]]:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError):
            raise UserError(f"{path} is cut off or damaged; fetch it again") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    first = text.partition("\n")[0]
    separator = max(",;\t|", key=first.count)
    csv.field_size_limit(2**24)
    return csv.reader(io.StringIO(text.replace("\0", "")), delimiter=separator)


def _sheet(path: Path) -> Iterator[list[str]]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = list(book.worksheets[0].iter_rows(values_only=True))
    except Exception:  # openpyxl raises zipfile's, xml's and its own errors
        raise UserError(f"{path} is no readable XLSX file; save its sheet as CSV") from None
    return (["" if cell is None else str(cell) for cell in row] for row in rows)


def cell(row: Mapping[str, str], *names: str) -> str:
    """The first of the columns ``names`` that is filled, trimmed; "" also for what pandas writes for nothing."""
    for name in names:
        value = (row.get(name) or "").strip()
        if value and value.lower() not in ("nan", "none", "n/a", "null"):
            return value
    return ""


def number(text: str) -> float | None:
    """A finite number with a point or comma; None where it is none."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def months(text: str) -> int | None:
    """An age ("060Y", "45yrs", "11 M", "3W", "57 ans", "4.5") in whole months; years where no unit stands.

    None where it is no age of 0 to 120 years.
    """
    found = _AGE.match(text)
    if not found or found.group(2)[:1].lower() not in _MONTHS:
        return None
    value = float(found.group(1).replace(",", ".")) * _MONTHS[found.group(2)[:1].lower()]
    return int(value + 1e-9) if value <= _OLDEST else None


def sex(text: str) -> str:
    """F, M or "" from "F", "Female", "femme", "M", "male", "Homme"."""
    return {"f": "F", "m": "M", "h": "M"}.get(text.strip()[:1].lower(), "")


def iso_date(text: str) -> str:
    """ISO 8601 from "20140915", "20140915.0" or "2014-09-15..."; "" where it is written in another way."""
    found = re.match(r"\s*(\d{4})-?(\d{2})-?(\d{2})(?!\d)", text)
    if not found or not (1 <= int(found.group(2)) <= 12 and 1 <= int(found.group(3)) <= 31):
        return ""
    return "-".join(found.groups())
