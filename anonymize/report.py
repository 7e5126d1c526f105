"""The vocabulary of report pseudonymisation: what goes in, what was found, what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

KINDS = (
    "name",
    "initials",
    "birth_date",
    "date",
    "age",
    "address",
    "postcode",
    "town",
    "institution",
    "phone",
    "email",
    "url",
    "national_id",
    "patient_id",
    "visit_id",
    "professional_id",
    "id",
)
"""What a span can be. ``age`` is only replaced above 89 years."""

SECTIONS = ("indication", "technique", "comparison", "results", "conclusion")


@dataclass(frozen=True)
class Identity:
    """What the record's own columns say about the people in it. Empty string = not known."""

    patient_id: str = ""
    surname: str = ""
    birth_name: str = ""
    given_name: str = ""  # all given names, separated by blanks or commas
    sex: str = ""  # F, M or ""
    birth_date: str = ""  # ISO 8601
    address: str = ""
    postcode: str = ""
    town: str = ""
    phone: str = ""
    visit: str = ""
    accession: str = ""
    staff: tuple[str, ...] = ()  # prescriber and radiologist, relatives and other people named, as written
    numbers: str = ""  # further identifiers and phones, one a line


@dataclass(frozen=True)
class Report:
    """One report as a hospital holds it. Never leaves this package."""

    position: int  # row number in the table from 1 (the header is row 1)
    identity: Identity
    exam_date: str  # ISO 8601 or ""
    exam: str
    text: str  # NFC


@dataclass(frozen=True)
class Span:
    """``text[start:end]`` identifies somebody. Offsets are code points."""

    start: int
    end: int
    kind: str  # one of KINDS
    score: float  # 0-1
    rule: str  # the recognizer and its rule; holds no text


@dataclass(frozen=True)
class SafeReport:
    """One pseudonymised report: a row of ``SAFE/reports/part-*.parquet``. Dates are shifted."""

    report_id: str
    patient: str
    study: str
    date: str  # ISO 8601, shifted; "" where not known
    age_months: int | None  # at the examination, from the real dates; capped at 1068 (89 years)
    sex: str  # F, M or ""
    language: str  # ISO 639-1
    exam: str
    indication: str
    technique: str
    comparison: str
    results: str
    conclusion: str
    text: str


@dataclass(frozen=True)
class Replacement:
    """What stands in a safe report instead of an original: a row of the vault. Offsets are code points."""

    report_id: str
    field: str  # column of SafeReport: patient, study, date, exam or text
    kind: str  # one of KINDS
    start: int  # in the safe value of the column
    length: int
    original: str
    original_start: int  # in the original value of the column
    surrogate: str


SAFE_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("report_id", "patient", "study", "date")],
        ("age_months", pa.int32()),
        *[(name, pa.string()) for name in ("sex", "language", "exam", *SECTIONS, "text")],
    ]
)


@dataclass(frozen=True)
class Gazetteer:
    """Names known from the export's own columns, folded; the hospital's data is the list, none is shipped."""

    surnames: frozenset[str] = field(default_factory=frozenset)
    given_names: frozenset[str] = field(default_factory=frozenset)
    staff: frozenset[str] = field(default_factory=frozenset)  # surnames of prescribers and radiologists
    towns: frozenset[str] = field(default_factory=frozenset)  # folded, words joined by one blank
