"""One record of a format that names its parts itself (HL7, FHIR, CDA, DICOM, documents): fields, not columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

PREFIX = "record."


@dataclass
class Record:
    """What a document says about its patient and itself; the names are those of :class:`~anonymize.policy.Columns`."""

    patient: str = ""
    surname: str = ""
    birth_name: str = ""
    given_name: str = ""  # separated by blanks
    sex: str = ""  # as written
    birth_date: str = ""  # ISO 8601 where it is known in full
    address: str = ""
    postcode: str = ""
    town: str = ""
    phone: str = ""
    visit: str = ""
    accession: str = ""
    exam_date: str = ""
    exam: str = ""
    text: str = ""
    staff: list[str] = field(default_factory=list)  # everybody else who is named: SURNAME Given
    numbers: list[str] = field(default_factory=list)  # further identifiers and phones of the patient and relatives
    problem: str = ""  # a quarantine reason; nothing else counts then

    def values(self) -> tuple[str, ...]:
        """The cells under :data:`HEADINGS`."""
        return tuple(
            "\n".join(unique(value)) if isinstance(value, list) else value
            for value in (getattr(self, name) for name in FIELDS)
        )


FIELDS = tuple(item.name for item in fields(Record) if item.name != "problem")
HEADINGS = tuple(PREFIX + name for name in FIELDS)


@dataclass(frozen=True)
class Name:
    """A person's name as a format gives it in parts."""

    family: str = ""
    given: str = ""
    use: str = ""  # legal, usual, birth, other

    def __str__(self) -> str:
        """``SURNAME Given``: capitals tell the parts apart, as in a hospital's own lists."""
        return " ".join(part for part in (self.family.upper(), self.given) if part)


def unique(values: Iterable[str]) -> list[str]:
    """Values trimmed, without blanks and repeats, in their order; line ends inside become blanks."""
    return list(dict.fromkeys(clean for value in values if (clean := " ".join(str(value).split()))))


def take_names(record: Record, names: list[Name]) -> None:
    """Put the patient's names into ``record``: usual name, birth name; all others are searched as further people."""
    names = [name for name in names if name.family or name.given]
    if not names:
        return
    first = next((n for use in ("usual", "legal", "other", "birth") for n in names if n.use == use), names[0])
    born = next((n for n in names if n.use == "birth" and n.family != first.family), None)
    if born is None and first.use == "usual":
        born = next((n for n in names if n.use == "legal" and n.family != first.family), None)
    record.surname, record.birth_name = first.family, born.family if born else ""
    record.given_name = " ".join(unique([first.given, *([born.given] if born and born.given != first.given else [])]))
    record.staff += [str(name) for name in names if name not in (first, born)]


def iso_date(value: str) -> str:
    """The day of an HL7, DICOM or ISO time stamp (``YYYYMMDD...``, ``YYYY-MM-DD...``) as ISO 8601, else empty."""
    match = re.match(r"\s*(\d{4})[-.]?(\d{2})[-.]?(\d{2})(?!\d{3}\Z)", value)
    if not match or not (1850 < int(match[1]) < 2200 and 0 < int(match[2]) < 13 and 0 < int(match[3]) < 32):
        return ""
    return "-".join(match.groups())


def phone_tail(value: str) -> str:
    """The digits of a phone number that stay the same with and without its country's prefix."""
    digits = re.sub(r"\D", "", value)
    return digits[-9:] if len(digits) > 9 else digits.lstrip("0")
