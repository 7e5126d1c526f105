"""PDF documents: the text layer in reading order; pages that are pictures are refused."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from anonymize.readers.problems import Unreadable

_FEW = 25  # characters: a stamp or a page number beside a picture of the page
_EDGE = 6  # lines at the top and at the bottom of a page that can be its header and footer
_PROSE = 25  # characters of a line that make a block of lines a column of prose


@dataclass(frozen=True)
class _Piece:
    """A run of text with its box in points, y upwards."""

    left: float
    bottom: float
    right: float
    top: float
    text: str


def text_of_pdf(data: bytes) -> str:
    """Text of all pages; what repeats at their tops and bottoms stands once.

    Raises:
        Unreadable: encrypted, scanned_page, truncated_file, damaged_file.
    """
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise Unreadable("encrypted") from None
        raise Unreadable("damaged_file" if b"%%EOF" in data[-2048:] else "truncated_file") from None
    try:
        pages = [_page_lines(document[number]) for number in range(len(document))]
    except pdfium.PdfiumError:
        raise Unreadable("damaged_file") from None
    finally:
        document.close()
    return "\n".join(line for page in _without_repeats(pages) for line in page)


def _page_lines(page: Any) -> list[str]:
    text_page = page.get_textpage()
    pieces = []
    for index in range(text_page.count_rects()):
        left, bottom, right, top = text_page.get_rect(index)
        text = text_page.get_text_bounded(left, bottom, right, top)
        text = re.sub(r"\s+", " ", text.replace("\ufffe", "-").replace("\x02", "-")).strip()
        if text:
            pieces.append(_Piece(left, bottom, right, top, text))
    if sum(len(piece.text) for piece in pieces) < _FEW and _is_picture(page, empty=not pieces):
        raise Unreadable("scanned_page")
    return _lines(list(dict.fromkeys(pieces)))


def _is_picture(page: Any, *, empty: bool) -> bool:
    """Whether images cover a third of the page, or stand on a page without any text."""
    width, height = page.get_size()
    covered = 0.0
    for item in page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,)):
        if empty:
            return True
        left, bottom, right, top = item.get_bounds()
        covered += max(0.0, right - left) * max(0.0, top - bottom)
    return covered > width * height / 3


def _lines(pieces: list[_Piece]) -> list[str]:
    """Lines from top to bottom; two columns of prose one after the other."""
    if not pieces:
        return []
    rows = _rows(pieces)
    gutter = _gutter(rows)
    if gutter is not None:
        first, last, middle = gutter
        block = [piece for row in rows[first : last + 1] for piece in row]
        return [
            *_joined(rows[:first]),
            *_joined(_rows([piece for piece in block if piece.left < middle])),
            *_joined(_rows([piece for piece in block if piece.left >= middle])),
            *_lines([piece for row in rows[last + 1 :] for piece in row]),
        ]
    return _joined(rows)


def _rows(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Pieces that share a line, from left to right; lines from top to bottom."""
    rows: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda p: (-(p.top + p.bottom) / 2, p.left)):
        middle = (piece.top + piece.bottom) / 2
        home = rows[-1] if rows else None
        if home and any(other.bottom <= middle <= other.top for other in home):
            home.append(piece)
        else:
            rows.append([piece])
    return [sorted(row, key=lambda p: p.left) for row in rows]


def _gutter(rows: list[list[_Piece]]) -> tuple[int, int, float] | None:
    """First and last row of a block in two columns of prose, and the place between them.

    Labels beside values are no columns: four or more lines in a row must have long text on both sides of one blank.
    """
    start = 0
    while start < len(rows):
        low, high, end = float("-inf"), float("inf"), start
        while end < len(rows):
            gap = _gap(rows[end])
            if gap is None or min(high, gap[1]) - max(low, gap[0]) < 6:
                break
            low, high, end = max(low, gap[0]), min(high, gap[1]), end + 1
        if end - start >= 4:
            return start, end - 1, (low + high) / 2
        start = max(end, start + 1)
    return None


def _gap(row: list[_Piece]) -> tuple[float, float] | None:
    """The blank of a row that has prose on both of its sides."""
    for before, after in pairwise(row):
        left = sum(len(p.text) for p in row if p.right <= before.right)
        right = sum(len(p.text) for p in row if p.left >= after.left)
        if after.left - before.right > 8 and left >= _PROSE and right >= _PROSE:
            return before.right, after.left
    return None


def _joined(rows: list[list[_Piece]]) -> list[str]:
    lines: list[str] = []
    heights = [piece.top - piece.bottom for row in rows for piece in row]
    usual = median(heights) if heights else 0.0
    floor = None
    for row in rows:
        top = max(piece.top for piece in row)
        if floor is not None and usual and floor - top > 1.6 * usual:
            lines.append("")
        floor = min(piece.bottom for piece in row)
        line = row[0].text
        for before, piece in pairwise(row):
            close = piece.left - before.right < 0.15 * max(1.0, piece.top - piece.bottom)
            line += ("" if close else "  " if piece.left - before.right > 3 * usual else " ") + piece.text
        lines.append(line)
    return lines


def _without_repeats(pages: list[list[str]]) -> list[list[str]]:
    """Pages whose header and footer lines stand on the first page and nowhere else.

    A line counts as repeated when it is, but for its digits, at the edge of most pages: a sentence that goes on
    over the page then has nothing in its middle.
    """
    pages = [page for page in pages if any(line.strip() for line in page)]
    if len(pages) < 2:
        return pages
    tops = Counter(form for page in pages for form in {_form(line) for line in page[:_EDGE]} if form)
    ends = Counter(form for page in pages for form in {_form(line) for line in page[-_EDGE:]} if form)
    most = max(2, (len(pages) + 1) // 2)
    head, foot = ({form for form, count in found.items() if count >= most} for found in (tops, ends))
    kept, footer = [], []
    for number, page in enumerate(pages):
        first, last = 0, len(page)
        while number and first < min(_EDGE, last) and (not page[first].strip() or _form(page[first]) in head):
            first += 1
        while last > max(first, len(page) - _EDGE) and (not page[last - 1].strip() or _form(page[last - 1]) in foot):
            last -= 1
        footer = page[last:] if number == 0 else footer
        kept.append(page[first:last])
    return [*kept, footer]


def _form(line: str) -> str:
    return re.sub(r"\d+", "0", " ".join(line.split()))
