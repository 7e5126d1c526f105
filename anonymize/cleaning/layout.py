"""What stands around the body of a report: letterhead, closing and signature, page headers and footers, boilerplate.

A line goes only where it stands outside of the body, or where the pack knows it: a sentence that many reports share
("no fracture") is a finding, not boilerplate.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from anonymize.cleaning.offsets import Edit
from anonymize.languages import Pack
from anonymize.sections import parser_of
from anonymize.text import alternatives, fold

_LETTERS = re.compile(r"[^\W\d_]")
_SPACE = re.compile(r"\s+")


def line_key(line: str) -> bytes | None:
    """Eight bytes that stand for a line without case, accents, digits and blanks; None for lines without four letters.

    Holds no text: numbers and spacing may differ from report to report.
    """
    plain = re.sub(r"\d+", "0", _SPACE.sub(" ", fold(line)).strip())
    if len(_LETTERS.findall(plain)) < 4:
        return None
    return hashlib.blake2b(plain.encode(), digest_size=8).digest()


class LineCounts:
    """In how many reports each line stands, in bounded memory: lossy counting (Manku & Motwani, VLDB 2002).

    Args:
        share: lines in at least this share of the reports are to be found; at most ten times ``1 / share`` lines and
            those of one window are held.
    """

    def __init__(self, share: float = 0.02) -> None:
        self.reports = 0
        self._share = share
        self._width = max(1, round(10 / share))
        self._counts: Counter[bytes] = Counter()
        self._missed: dict[bytes, int] = {}

    def add(self, text: str) -> None:
        """Count the lines of one report, each once."""
        window = self.reports // self._width
        for key in {key for line in text.split("\n") if (key := line_key(line))}:
            if key not in self._counts:
                self._missed[key] = window
            self._counts[key] += 1
        self.reports += 1
        if self.reports % self._width == 0:
            for key in [k for k, count in self._counts.items() if count + self._missed[k] <= window + 1]:
                del self._counts[key], self._missed[key]

    def repeated(self, at_least: int = 5) -> frozenset[bytes]:
        """Lines in ``at_least`` reports and in ``share`` of all (less the tenth that counting may have lost)."""
        floor = max(at_least, 0.9 * self._share * self.reports)
        return frozenset(key for key, count in self._counts.items() if count >= floor)


@dataclass(frozen=True)
class _Line:
    start: int
    end: int  # with the line break
    text: str


class Layout:
    """Finds the lines around the body in reports of one language. Build it once per pack: :func:`layout_of`."""

    def __init__(self, pack: Pack) -> None:
        topic = pack["cleaning"]
        self._parser = parser_of(pack)
        self._exam = re.compile(rf"[ \t\-*_#]*(?:{alternatives(topic['exam_line'])})(?!\w)")
        self._page = re.compile("|".join(f"(?:{item})" for item in topic["page"]) or "(?!)")
        self._known = re.compile("|".join(f"(?:{item})" for item in topic["boilerplate"]) or "(?!)")

    def pages(self, text: str) -> Iterator[Edit]:
        """Page numbers, and headers that stand again on later pages."""
        seen: Counter[bytes] = Counter()
        lines = list(_lines(text))
        begin, end = self._parser.body(text)
        head = {key for line in lines if line.end <= begin and (key := line_key(line.text))}
        for line in lines:
            key = line_key(line.text)
            again = key is not None and key in head and seen[key] > 0 and begin <= line.start < end
            if again or self._page.fullmatch(fold(line.text).strip(" \t-|")):
                yield Edit(line.start, line.end)
            if key:
                seen[key] += 1

    def letterhead(self, text: str) -> Iterator[Edit]:
        """The lines before the body, except the one that names the examination."""
        begin, _ = self._parser.body(text)
        for line in _lines(text[:begin]):
            if not self._exam.match(fold(line.text)):
                yield Edit(line.start, line.end)

    def signature(self, text: str) -> Iterator[Edit]:
        """Closing and signature behind the body."""
        _, end = self._parser.body(text)
        if end < len(text):
            yield Edit(len(text[:end].rstrip()), len(text))

    def boilerplate(self, text: str, repeated: Collection[bytes]) -> Iterator[Edit]:
        """Lines that the pack knows, and lines outside of the sections that many reports of the export share."""
        spans = self._parser.spans(text)
        for line in _lines(text):
            known = self._known.search(fold(line.text))
            inside = any(span.start < line.end and line.start < span.end for span in spans)
            shared = not inside and line_key(line.text) in repeated and not self._exam.match(fold(line.text))
            if known or (shared and not self._parser.is_title(line.text)):
                yield Edit(line.start, line.end)


def _lines(text: str) -> Iterable[_Line]:
    for match in re.finditer(r"[^\n]*(?:\n|$)", text):
        if match.end() > match.start():
            yield _Line(match.start(), match.end(), match.group().rstrip("\n"))


_BUILT: dict[str, Layout] = {}


def layout_of(pack: Pack) -> Layout:
    """The layout finder of a pack."""
    key = str(pack.folder)
    if key not in _BUILT:
        _BUILT[key] = Layout(pack)
    return _BUILT[key]
