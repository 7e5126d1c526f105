"""From a row of an export to a :class:`Report`: headings to fields, values to their form, refusals with a reason."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from anonymize.console import UserError
from anonymize.dates import parse_iso
from anonymize.languages import Pack
from anonymize.policy import Columns
from anonymize.readers.problems import MAXIMUM_TEXT, REMEDIES
from anonymize.readers.record import PREFIX
from anonymize.report import Identity, Report
from anonymize.text import collapse

__all__ = ["REMEDIES", "REQUIRED", "RowReader", "map_columns"]

REQUIRED = ("patient", "text")
NONE = "-"  # as a chosen heading: this field has no column, whatever the headings look like


def map_columns(headings: Sequence[str], chosen: Columns, pack: Pack) -> dict[str, int]:
    """Field → index of its column, by ``chosen`` headings first, then by the pack's aliases.

    Formats that name their fields themselves have headings ``record.<field>``, which need no alias.

    Raises:
        UserError: a chosen heading is not there, or a required field has no column.
    """
    places = {_plain(name): index for index, name in reversed(list(enumerate(headings)))}
    exact = {name: index for index, name in enumerate(headings)}
    found: dict[str, int] = {}
    for field in Columns.model_fields:
        wanted = getattr(chosen, field) or (PREFIX + field if PREFIX + field in exact else "")
        if wanted == NONE:
            continue
        if wanted and wanted not in exact:
            raise UserError(f"columns.{field}={wanted}: the file has no such column; it has: {_shown(headings)}")
        if wanted:
            found[field] = exact[wanted]
    for field in Columns.model_fields:
        if field in found or getattr(chosen, field) == NONE:
            continue
        for alias in pack["pack"]["columns"].get(field, ()):
            index = places.get(_plain(str(alias)))
            if index is not None and index not in found.values():
                found[field] = index
                break
    missing = [field for field in REQUIRED if field not in found]
    if missing:
        raise UserError(
            f"no column was recognised as {' and '.join(missing)}; say which, for example columns.{missing[0]}=HEADING "
            f"(the file has: {_shown(headings)}); `anonymize inspect` proposes a mapping"
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
        if len(text) > MAXIMUM_TEXT:
            return None, "too_large"
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
            staff=_people(cells),
            numbers=cells.get("numbers", ""),
        )
        return Report(position, identity, exam_date, cells.get("exam", ""), text), ""


def _people(cells: dict[str, str]) -> tuple[str, ...]:
    named = [cells[field] for field in ("prescriber", "radiologist") if cells.get(field)]
    others = [part.strip() for part in re.split(r"[\n;|]", cells.get("staff", ""))]
    return tuple(dict.fromkeys([*named, *filter(None, others)]))


def doubtful_headings(headings: Sequence[str]) -> bool:
    """Whether the heading row seems to hold values: two or more with a run of digits or of great length."""
    return sum(map(_doubtful, headings)) > 1


def parse_cell_date(pack: Pack, value: str) -> str:
    """A cell as ISO 8601, or empty."""
    return parse_iso(pack, unicodedata.normalize("NFC", value).strip())


def _doubtful(heading: str) -> bool:
    return len(heading) > 40 or bool(re.search(r"\d{4}|\d[/.\-]\d", heading))


def _shown(headings: Sequence[str]) -> str:
    """Headings for a message. One that can be a value is shown by its number."""
    if doubtful_headings(headings):
        return f"{len(headings)} columns; the first row seems to hold values instead of headings"
    return ", ".join(f"column {n}" if _doubtful(name) else name for n, name in enumerate(headings, 1))


def _plain(heading: str) -> str:
    return collapse(heading)
