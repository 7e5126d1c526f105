"""Tables pasted as text: rows under a line of headings, split by commas, semicolons, bars or tabs; person names of DICOM.

The headings are those of an export (``columns`` in ``pack.yaml``) and the pack's labels of names and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anonymize.detectors import Detector
from anonymize.detectors.cues import normal
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, fold, words_of

_KIND_OF = {
    "patient": "patient_id",
    "surname": "name",
    "birth_name": "name",
    "given_name": "name",
    "prescriber": "name",
    "radiologist": "name",
    "birth_date": "birth_date",
    "exam_date": "date",
    "address": "address",
    "postcode": "postcode",
    "town": "town",
    "phone": "phone",
    "visit": "visit_id",
    "accession": "id",
}
_NUMBERS = ("patient_id", "visit_id", "national_id", "professional_id")
_SIGNS = ";|\t,"
_LEAST = 3  # headings that must be known, a name among them
_CELL = {sign: re.compile(rf'(?:"[^"\n]*"|[^{re.escape(sign)}\n])*') for sign in _SIGNS}
_DIGIT = re.compile(r"\d")
# PS3.5 section 6.2: family name ^ given name ^ middle name ^ prefix ^ suffix
_PERSON = re.compile(
    r"(?<![\w|^~&\\])[^\W\d_][^\W\d_'’ .\-]{0,40}(?:[ '’\-][^\W\d_]{1,40}){0,3}"
    r"(?:\^[^\W\d_]?[^\W\d_'’ .\-]{0,40}(?:[ '’.\-][^\W\d_]{1,40}){0,2}){1,4}"
)
_PART = re.compile(r"[^\^\s][^\^\n]*")


class PastedTable(Detector):
    """Spans of the cells that identify, and of the parts of names joined by carets."""

    kinds = ("name", "patient_id", "visit_id", "national_id", "professional_id", "id", "birth_date", "date", "address",
             "postcode", "town", "phone")  # fmt: skip

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        words = pack["detectors"]
        self._headings: dict[str, str] = {}
        for kind in _NUMBERS:
            self._headings |= {normal(str(label)): kind for label in words["identifiers"].get(kind, [])}
        self._headings |= {normal(str(label)): "name" for label in words["names"]["labels"]}
        self._headings |= {normal(str(label)): "birth_date" for label in words["dates"]["birth_cues"]}
        for column, aliases in pack["pack"]["columns"].items():
            if column in _KIND_OF:
                self._headings |= {normal(str(alias).replace("_", " ")): _KIND_OF[column] for alias in aliases}
        self._headings.pop("", None)
        # as a name's heading can be written, with blanks or not
        self._names = {
            form.replace(" ", sign)
            for form, kind in self._headings.items()
            if kind == "name"
            for sign in (" ", "_", "-", ". ", "'", "")
        }
        self._names |= {f"{form}." for form in self._names}
        # "non lu" in the column of who read it
        self._nobody = pack.lists.stop | pack.lists.roles
        self._nobody |= pack.lists.clinical
        self._titles = pack.lists.titles

    def find(self, view: View) -> Iterable[Span]:
        """Spans with scores of 0.9."""
        signs = [sign for sign in _SIGNS if view.text.count(sign) >= 2 * (_LEAST - 1)]  # of a heading and of a row
        lines = view.lines if signs else []
        number = 0
        while number < len(lines) - 1:
            number += 1
            kinds, sign = self._headed(view, *lines[number - 1], signs)
            if not kinds:
                continue
            while number < len(lines):
                cells = list(self._cells(view.text, *lines[number], sign))
                if not len(kinds) - 1 <= len(cells) <= len(kinds) + 1:
                    break
                yield from self._row(view, cells, kinds)
                number += 1
        if "^" in view.text:
            for match in _PERSON.finditer(view.text):
                if view.text.find("|", *view.line_of(match.start())) >= 0:
                    continue  # HL7 has a detector of its own
                for part in _PART.finditer(view.text, *match.span()):
                    if fold(part.group()).rstrip(".") not in self._titles:
                        yield Span(*part.span(), "name", 0.85, "table.person_name")

    def _headed(self, view: View, start: int, end: int, signs: Iterable[str]) -> tuple[list[str], str]:
        """The kind of each column, "" where it does not identify, and the sign between them; none where no heading is."""
        for sign in signs:
            if view.text.count(sign, start, end) < _LEAST - 1:
                continue
            # quicker than all cells; a folded text has blanks for its tabs, so each cell is folded
            if self._names.isdisjoint(fold(cell).strip(' "') for cell in view.text[start:end].split(sign)):
                continue
            cells = self._cells(view.text, start, end, sign)
            kinds = [self._headings.get(normal(view.text[first:last].replace("_", " ")), "") for first, last in cells]
            if "name" in kinds and len(kinds) - kinds.count("") >= _LEAST:
                return kinds, sign
        return [], ""

    @staticmethod
    def _cells(text: str, start: int, end: int, sign: str) -> Iterator[tuple[int, int]]:
        position = start
        while position <= end:
            match = _CELL[sign].match(text, position, end)
            stop = match.end() if match else end
            yield position, stop
            if stop >= end:
                return
            position = stop + 1

    def _row(self, view: View, cells: list[tuple[int, int]], kinds: list[str]) -> Iterator[Span]:
        for (first, last), kind in zip(cells, kinds, strict=False):
            value = view.text[first:last].strip(' "')
            if not kind or len(value) < 2 or len(value) > 80:
                continue
            telling = any(map(str.isalpha, value)) if kind in ("name", "town", "address") else _DIGIT.search(value)
            if kind == "name" and self._nobody.issuperset(words_of(value)):
                continue
            if telling:
                first = view.text.index(value, first)
                yield Span(first, first + len(value), kind, 0.9, "table.cell")
