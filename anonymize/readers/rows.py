"""From a row of an export to a :class:`Report`: headings to fields, values to their form, refusals with a reason."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from anonymize.console import UserError
from anonymize.dates import parse_iso
from anonymize.languages import Pack
from anonymize.policy import Columns
from anonymize.report import Identity, Report
from anonymize.text import collapse

REQUIRED = ("patient", "text")

REMEDIES = {
    "empty_report": "The report has no text; export it again if it should have one.",
    "nul_byte": "The row holds a NUL byte; export it again as text.",
    "wrong_encoding": "The row is in another encoding than the file; export it again in one encoding.",
    "duplicated_row": "The row is the same as an earlier one, which was kept.",
    "two_patients": "The patient identifier stands beside different names or birth dates; find out whose report it is.",
    "missing_identifier": "The row has no patient identifier; without it nothing can be linked or searched.",
    "unparsable_row": "The row has another number of columns than the heading, often from a stray quotation mark.",
    "bad_date": "The examination's date cannot be read; give it as day, month and year.",
}


def map_columns(headings: Sequence[str], chosen: Columns, pack: Pack) -> dict[str, int]:
    """Field → index of its column, by ``chosen`` headings first, then by the pack's aliases.

    Raises:
        UserError: a chosen heading is not there, or a required field has no column.
    """
    places = {_plain(name): index for index, name in reversed(list(enumerate(headings)))}
    exact = {name: index for index, name in enumerate(headings)}
    found: dict[str, int] = {}
    for field, aliases in pack["pack"]["columns"].items():
        wanted = getattr(chosen, field)
        if wanted:
            if wanted not in exact:
                raise UserError(f"columns.{field}={wanted}: the file has no such column; it has: {', '.join(headings)}")
            found[field] = exact[wanted]
            continue
        for alias in aliases:
            index = places.get(_plain(str(alias)))
            if index is not None and index not in found.values():
                found[field] = index
                break
    missing = [field for field in REQUIRED if field not in found]
    if missing:
        raise UserError(
            f"no column was recognised as {' and '.join(missing)}; say which, for example columns.{missing[0]}=HEADING "
            f"(the file has: {', '.join(headings)})"
        )
    return found


class RowReader:
    """Makes reports of the rows of one export."""

    def __init__(self, columns: dict[str, int], pack: Pack) -> None:
        self._columns = columns
        self._pack = pack
        self._sexes = {collapse(str(key)): value for key, value in pack["pack"]["sex_values"].items()}

    def read(self, position: int, values: Sequence[str]) -> tuple[Report | None, str]:
        """The report, or None and the quarantine reason."""
        cells = {field: unicodedata.normalize("NFC", values[index]) for field, index in self._columns.items()}
        text = cells.pop("text").replace("\r\n", "\n").replace("\r", "\n")
        cells = {field: value.strip() for field, value in cells.items()}
        if not cells["patient"]:
            return None, "missing_identifier"
        if not text.strip():
            return None, "empty_report"
        exam_date = parse_iso(self._pack, cells.get("exam_date", ""))
        if cells.get("exam_date") and not exam_date:
            return None, "bad_date"
        identity = Identity(
            patient_id=cells["patient"],
            surname=cells.get("surname", ""),
            birth_name=cells.get("birth_name", ""),
            given_name=cells.get("given_name", ""),
            sex=self._sexes.get(collapse(cells.get("sex", "")), ""),
            birth_date=parse_iso(self._pack, cells.get("birth_date", "")),
            address=cells.get("address", ""),
            postcode=cells.get("postcode", ""),
            town=cells.get("town", ""),
            phone=cells.get("phone", ""),
            visit=cells.get("visit", ""),
            accession=cells.get("accession", ""),
            staff=tuple(cells[field] for field in ("prescriber", "radiologist") if cells.get(field)),
        )
        return Report(position, identity, exam_date, cells.get("exam", ""), text), ""


def _plain(heading: str) -> str:
    return collapse(heading)
