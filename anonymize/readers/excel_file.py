"""Excel workbooks (.xlsx, ECMA-376): the cells of one sheet as a person sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl

from anonymize.console import UserError
from anonymize.policy import ReportsConfig
from anonymize.readers.problems import MAXIMUM_TEXT, Unreadable
from anonymize.readers.zips import check_zip

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

_DIGIT_FORMAT = re.compile(r'[0#](?:[0#]|"[^"]*"|\\.|[ \-./()])*')


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Headings of the chosen sheet: its first row with two or more filled cells."""
    book = _open(path)
    try:
        number = _sheet_number(path, book, config.sheet)
        for _, cells in _filled(book.worksheets[number]):
            if sum(map(bool, cells)) >= 2:
                while cells and not cells[-1]:
                    cells.pop()
                names = [name.strip() or f"column {place}" for place, name in enumerate(cells, 1)]
                return names, {"format": "xlsx", "sheet": str(number + 1)}
    except (KeyError, ValueError, TypeError, OSError, SyntaxError):
        raise UserError(f"{path}: the workbook is damaged; save it again in Excel") from None
    finally:
        book.close()
    raise UserError(f"{path}: sheet {number + 1} has no row with two or more filled cells")


def rows(source: Source) -> Iterator[RawRow]:
    """Rows behind the heading, by their number in the sheet; empty ones hold no report."""
    from anonymize.readers import RawRow

    width, heading, position = len(source.headings), True, 1
    book = _open(source.path)
    try:
        for position, cells in _filled(book.worksheets[int(source.details["sheet"]) - 1]):
            if heading:
                heading = sum(map(bool, cells)) < 2
                continue
            over = any(cells[width:])
            values = tuple((cells + [""] * width)[:width])
            problem = "unparsable_row" if over else ""
            if any(len(value) > MAXIMUM_TEXT for value in values):
                problem = "too_large"
            elif any("\0" in value for value in values):
                problem = "nul_byte"
            yield RawRow(position, () if over else values, problem)
    except Exception:  # a damaged sheet raises whatever the XML parser or openpyxl met
        yield RawRow(position + 1, (), "damaged_file")
    finally:
        book.close()


def seen(value: Any, form: str) -> str:
    """A cell's value as Excel shows it, as far as it matters here: dates as ISO 8601, digits with their zeros."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value >= 0 and _DIGIT_FORMAT.fullmatch(form.split(";")[0]):
        return _digits(value, form.split(";")[0])
    text = str(value)
    return "" if re.fullmatch(r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!)", text) else _unescaped(text)


def _digits(value: int, form: str) -> str:
    """``value`` under a format of digit places and signs, such as ``00000`` or ``00" "00" "00" "00" "00``."""
    parts = re.findall(r'[0#]|"[^"]*"|\\.|[ \-./()]', form)
    if "." in parts:
        return str(value)
    digits = list(str(value))
    out: list[str] = []
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if part not in "0#":
            out.append(part.strip('"').removeprefix("\\"))
        elif digits:
            first = not any(earlier in "0#" for earlier in parts[:index])
            out.append("".join(digits) if first else digits.pop())
            digits = [] if first else digits
        elif part == "0":
            out.append("0")
    return "".join(reversed(out)).strip()


def _unescaped(text: str) -> str:
    """Characters that XML cannot hold are written ``_x000D_`` in a workbook."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda m: chr(int(m[1], 16)), text) if "_x" in text else text


def _filled(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that is not empty."""
    sheet.reset_dimensions()  # programs that write workbooks often declare a wrong size
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [seen(cell.value, getattr(cell, "number_format", "") or "") for cell in row]
        if any(cells):
            yield number, cells


def _open(path: Path) -> Any:
    try:
        check_zip(path, path.stat().st_size)
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Unreadable as problem:
        raise UserError(f"{path}: cannot be opened ({problem.reason}); save it again in Excel") from None
    except Exception:
        raise UserError(f"{path}: is no readable Excel workbook; save it again as .xlsx") from None


def _sheet_number(path: Path, book: Any, wanted: str) -> int:
    names = [sheet.title for sheet in book.worksheets]
    if wanted:
        if wanted in names:
            return names.index(wanted)
        if wanted.isdigit() and 1 <= int(wanted) <= len(names):
            return int(wanted) - 1
        raise UserError(f"{path}: no sheet '{wanted}'; give its name, or a number from 1 to {len(names)}")
    used = [
        n for n, sheet in enumerate(book.worksheets) if sheet.sheet_state == "visible" and _has_table(_filled(sheet))
    ]
    if len(used) == 1:
        return used[0]
    if not used:
        raise UserError(f"{path}: no visible sheet holds a table; name one with sheet=1")
    numbers = ", ".join(str(number + 1) for number in used)
    raise UserError(f"{path}: sheets {numbers} hold tables; say which one, for example sheet={used[0] + 1}")


def _has_table(rows_of_sheet: Iterable[tuple[int, list[str]]]) -> bool:
    """Whether a heading and one row of two or more cells stand in the sheet."""
    count = 0
    for _, cells in rows_of_sheet:
        count += sum(map(bool, cells)) >= 2
        if count == 2:
            return True
    return False
