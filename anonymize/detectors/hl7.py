"""Fields of HL7 v2 segments that were pasted into a report (HL7 v2.5.1 chapters 3 and 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.report import Span
from anonymize.text import View

_SEGMENT = re.compile(r"(?:^|(?<=[\n\r]))(?P<kind>MSH|EVN|PID|PD1|NK1|PV1|ORC|OBR|GT1|IN1|ROL|ZDS)\|(?P<rest>[^\n]*)")
# Field numbers (the segment's name is field 0). In MSH the separator itself counts, so its fields are shifted by one.
_FIELDS: dict[str, dict[int, str]] = {
    "PID": {2: "patient_id", 3: "patient_id", 4: "patient_id", 5: "name", 6: "name", 7: "birth_date", 9: "name", 11: "address",
            13: "phone", 14: "phone", 18: "visit_id", 19: "national_id", 20: "national_id", 21: "patient_id", 23: "town"},
    "PV1": {3: "institution", 7: "name", 8: "name", 9: "name", 17: "name", 19: "visit_id", 44: "date", 45: "date", 52: "name"},
    "OBR": {2: "id", 3: "id", 6: "date", 7: "date", 8: "date", 10: "name", 14: "date", 16: "name", 18: "id", 19: "id", 20: "id",
            22: "date", 28: "name", 32: "name", 33: "name", 34: "name", 35: "name"},
    "ORC": {2: "id", 3: "id", 4: "id", 9: "date", 10: "name", 11: "name", 12: "name", 15: "date"},
    "NK1": {2: "name", 4: "address", 5: "phone", 6: "phone"},
    "GT1": {2: "id", 3: "name", 4: "name", 5: "address", 6: "phone", 8: "birth_date"},
    "IN1": {2: "id", 3: "id", 4: "institution", 16: "name", 18: "birth_date", 19: "address", 36: "id", 49: "id"},
    "PD1": {3: "institution", 4: "name"},
    "ROL": {4: "name"},
    "EVN": {2: "date", 5: "name", 6: "date"},
    "MSH": {2: "institution", 3: "institution", 4: "institution", 5: "institution", 6: "date", 9: "id"},
    "ZDS": {1: "id"},
}  # fmt: skip
_COMPONENT = re.compile(r"[^\^~&|\s](?:[^\^~&|\n]*[^\^~&|\s])?")


class Hl7(Detector):
    """Each component of an identifying field is a span; dates keep only their first eight digits."""

    kinds = ("name", "birth_date", "date", "patient_id", "visit_id", "national_id", "id", "phone", "address", "town", "institution")

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the components."""
        if "|" not in view.text:
            return
        for match in _SEGMENT.finditer(view.text):
            start = match.start("rest")
            kinds = _FIELDS[match["kind"]]
            position = start
            for number, value in enumerate(match["rest"].split("|"), start=1):
                kind = kinds.get(number)
                if kind:
                    yield from self._components(view.text, position, position + len(value), kind)
                position += len(value) + 1

    def _components(self, text: str, start: int, end: int, kind: str) -> Iterable[Span]:
        for index, part in enumerate(_COMPONENT.finditer(text, start, end)):
            if kind in ("patient_id", "visit_id", "id") and index > 0:
                continue  # assigning authority, identifier type
            found = kind
            stop = part.end()
            if kind in ("date", "birth_date"):
                stop = min(stop, part.start() + 8)
            elif kind == "name" and part.group().isdigit():
                found = "professional_id"
            yield Span(part.start(), stop, found, 0.97, "hl7.field")
