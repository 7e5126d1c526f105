"""Fields of HL7 v2 segments that were pasted into a report (HL7 v2.5.1 chapters 3 and 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anonymize.detectors import Detector
from anonymize.languages import Pack
from anonymize.report import Span
from anonymize.text import View, fold

_SEGMENT = re.compile(
    r"(?:^|(?<=[\n\r]))(?P<kind>MSH|EVN|PID|PD1|NK1|PV1|ORC|OBR|OBX|TXA|PRT|GT1|IN1|ROL|ZDS)\|(?P<rest>[^\n\r]*"
    r"(?:\n(?![A-Z][A-Z\d]{2}\|)[^\n\r|^]{0,80}[|^][^\n\r]*){0,3})"  # lines that an editor has wrapped
)
# Field numbers (the segment's name is field 0). In MSH the separator itself counts, so its fields are shifted by one.
_FIELDS: dict[str, dict[str, tuple[int, ...]]] = {
    "PID": {
        "patient_id": (2, 3, 4, 21),
        "name": (5, 6, 9),
        "birth_date": (7,),
        "address": (11,),
        "phone": (13, 14),
        "visit_id": (18,),
        "national_id": (19, 20),
        "town": (23,),
    },
    "PV1": {
        "institution": (3,),
        "name": (7, 8, 9, 17, 52),
        "visit_id": (19,),
        "date": (44, 45),
    },
    "OBR": {
        "id": (2, 3, 18, 19, 20),
        "date": (6, 7, 8, 14, 22),
        "name": (10, 16, 28, 32, 33, 34, 35),
    },
    "ORC": {
        "id": (2, 3, 4),
        "date": (9, 15),
        "name": (10, 11, 12),
    },
    "NK1": {
        "name": (2,),
        "address": (4,),
        "phone": (5, 6),
    },
    "GT1": {
        "id": (2,),
        "name": (3, 4),
        "address": (5,),
        "phone": (6,),
        "birth_date": (8,),
    },
    "IN1": {
        "id": (2, 3, 36, 49),
        "institution": (4,),
        "name": (16,),
        "birth_date": (18,),
        "address": (19,),
    },
    "PD1": {
        "institution": (3,),
        "name": (4,),
    },
    "ROL": {
        "name": (4,),
    },
    "EVN": {
        "date": (2, 6),
        "name": (5,),
    },
    "MSH": {
        "institution": (2, 3, 4, 5),
        "date": (6,),
        "id": (9,),
    },
    "OBX": {
        "date": (14, 19),
        "name": (16, 25),
        "institution": (15, 23),
    },
    "TXA": {
        "date": (4, 6, 7, 8),
        "name": (5, 9, 10, 11, 22),
        "id": (12, 14),
    },
    "PRT": {
        "name": (5,),
        "institution": (8,),
    },
    "ZDS": {
        "id": (1,),
    },
}
_KINDS = {segment: {n: kind for kind, ns in fields.items() for n in ns} for segment, fields in _FIELDS.items()}
SEGMENTS = frozenset(_KINDS)  # their fields are known here; OBX-5 and NTE hold text
_COMPONENT = re.compile(r"[^\^~&|\s](?:[^\^~&|\n]*[^\^~&|\s])?")
# Components that identify, counted from 0: of a name (with or without a number before it) no prefix, degree or type;
# of an address no country and type; of an identifier no authority; of a place the facility.
_TELLING = {
    "name": range(4),
    "address": range(5),
    "patient_id": range(1),
    "visit_id": range(1),
    "id": range(1),
    "national_id": range(1),
}
_FACILITY = 3
# Programs that send and receive, in MSH-3 and MSH-5: no institution.
_PROGRAM = re.compile(
    r"(?i)(?:.*[_\-. ])?(?:x?ris|x?pacs|his|lis|emr|ehr|dpi|sih|eai|adt|mirth|rhapsody|ensemble|hl7|vna|worklist|mwl|router)"
    r"(?:xplore|[_\-. \d].*)?"
)


class Hl7(Detector):
    """Each component of an identifying field is a span; dates keep only their first eight digits."""

    kinds = (
        "name",
        "birth_date",
        "date",
        "patient_id",
        "visit_id",
        "national_id",
        "id",
        "phone",
        "address",
        "town",
        "institution",
    )

    def __init__(self, pack: Pack) -> None:
        super().__init__(pack)
        self._ordinary = pack.lists.clinical

    def find(self, view: View) -> Iterable[Span]:
        """Spans of the components."""
        if "|" not in view.text:
            return
        for match in _SEGMENT.finditer(view.text):
            start = match.start("rest")
            kinds = _KINDS[match["kind"]]
            position = start
            for number, value in enumerate(match["rest"].split("|"), start=1):
                kind = kinds.get(number)
                place = match["kind"] == "PV1" and kind == "institution"
                if kind:
                    yield from self._components(view.text, position, position + len(value), kind, place)
                position += len(value) + 1

    def _components(self, text: str, start: int, end: int, kind: str, place: bool) -> Iterable[Span]:
        for part in _COMPONENT.finditer(text, start, end):
            repeat = text.rfind("~", start, part.start())  # a repetition counts its components anew
            index = text.count("^", max(start, repeat), part.start())
            if index not in _TELLING.get(kind, (index,)) or (place and index != _FACILITY):
                continue
            value = part.group()
            if kind == "phone" and "@" not in value and sum(map(str.isdigit, value)) < 4:
                continue
            if kind == "institution" and (_PROGRAM.fullmatch(value) or fold(value) in self._ordinary):
                continue
            found = kind
            stop = part.end()
            if kind in ("date", "birth_date"):
                stop = min(stop, part.start() + 8)
            elif kind == "name" and part.group().isdigit():
                found = "professional_id"
            yield Span(part.start(), stop, found, 0.97, "hl7.field")
