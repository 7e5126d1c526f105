"""PDF documents: the text layer in reading order; pages that are pictures are refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from ctypes import c_double
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from statistics import median
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from anonymize.readers.problems import Unreadable

_FEW = 25  # characters: a stamp or a page number beside a picture of the page
_EDGE = 6  # lines at the top and at the bottom of a page that can be its header and footer
_PROSE = 25  # characters of a line that make a block of lines a column of prose


@dataclass(frozen=True, slots=True)
class _Character:
    """One sign, in points, as if its text ran from left to right."""

    sign: str
    left: float
    right: float
    base: float
    size: float  # of its font, from descent to ascent
    turn: int  # quarter turns of its text on the page


@dataclass(frozen=True)
class _Piece:
    """A run of text on one baseline, in points; y grows upwards."""

    left: float
    right: float
    base: float
    height: float  # of its font, from descent to ascent
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
    """Lines of text that runs as most of the page does, then what runs in another direction."""
    chars = _characters(page.get_textpage())
    turns = Counter(char.turn for char in chars)
    main = turns.most_common(1)[0][0] if turns else 0
    pieces = {turn: [p for p in _pieces(c for c in chars if c.turn == turn) if p.text] for turn in turns}
    if sum(len(piece.text) for run in pieces.values() for piece in run) < _FEW and _is_picture(page, empty=not chars):
        raise Unreadable("scanned_page")
    order = [main, *(turn for turn in turns if turn != main)]
    return [line for turn in order for line in _lines(list(dict.fromkeys(pieces.get(turn, []))))]


def _characters(page: Any) -> list[_Character]:
    """Characters with their places, turned so that their text runs from left to right."""
    box, x, y = raw.FS_RECTF(), c_double(), c_double()
    found = []
    for index in range(page.count_chars()):
        code = raw.FPDFText_GetUnicode(page, index)
        if raw.FPDFText_IsGenerated(page, index) == 1 or code in (0, 10, 13):
            continue
        raw.FPDFText_GetLooseCharBox(page, index, box)
        raw.FPDFText_GetCharOrigin(page, index, x, y)
        turn = round(raw.FPDFText_GetCharAngle(page, index) / (pi / 2)) % 4
        corners = [_turned(*corner, turn) for corner in ((box.left, box.bottom), (box.right, box.top))]
        (left, right), (low, high) = (sorted(side) for side in zip(*corners, strict=True))
        size = high - low or raw.FPDFText_GetFontSize(page, index) or 1.0
        sign = "-" if code in (0x02, 0xFFFE) else chr(code)
        found.append(_Character(sign, left, right, _turned(x.value, y.value, turn)[1], size, turn))
    return found


def _turned(x: float, y: float, turn: int) -> tuple[float, float]:
    """A place after ``turn`` quarter turns of the page back to upright."""
    return ((x, y), (-y, x), (-x, -y), (y, -x))[turn]


def _pieces(chars: Iterable[_Character]) -> Iterator[_Piece]:
    """Runs of characters that stand close to each other on a baseline; blanks are where the gaps are.

    The page's own blanks count; those that pdfium adds do not, as it parts spaced letters (K E R B).
    """
    run: list[_Character] = []
    text: list[str] = []
    for char in chars:
        gap = char.left - run[-1].right if run else 0.0
        if run and (abs(char.base - run[0].base) > 0.3 * char.size or not -0.5 * char.size <= gap <= char.size):
            yield _Piece(run[0].left, run[-1].right, run[0].base, run[0].size, _clean(text))
            run, text = [], []
        if run and gap > 0.13 * char.size:
            text.append(" ")
        run.append(char)
        text.append(char.sign)
    if run:
        yield _Piece(run[0].left, run[-1].right, run[0].base, run[0].size, _clean(text))


def _clean(run: list[str]) -> str:
    return " ".join("".join(run).encode("utf-16", "surrogatepass").decode("utf-16", "replace").split())


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
    for piece in sorted(pieces, key=lambda p: (-p.base, p.left)):
        if rows and rows[-1][0].base - piece.base < 0.35 * min(piece.height, rows[-1][0].height):
            rows[-1].append(piece)
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
    usual = median(piece.height for row in rows for piece in row) if rows else 0.0
    before = None
    for row in rows:
        if before is not None and before - row[0].base > 2.2 * usual:
            lines.append("")
        before = row[0].base
        line = row[0].text
        for piece, after in pairwise(row):
            gap = after.left - piece.right
            line += ("" if gap < 0.13 * after.height else "  " if gap > 3 * usual else " ") + after.text
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
