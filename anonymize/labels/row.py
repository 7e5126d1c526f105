"""The vocabulary of mined labels: what a report says about a finding, where, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa


class Value(StrEnum):
    """What a report says about a finding."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    NOT_MENTIONED = "not_mentioned"


DERIVED = ("abnormal", "kl_grade", "kl_right", "kl_left")
"""Labels that follow from others or carry a grade; ``abnormal`` absent is a study that is called normal."""


@dataclass(frozen=True)
class Qualifiers:
    """How a finding is named. The first five are cues that were found, whatever the value became."""

    negated: bool = False
    hypothetical: bool = False
    family: bool = False  # of a relative
    history: bool = False  # old, healed, treated
    question: bool = False  # looked for, asked
    laterality: str = ""  # left, right, both or ""
    change: str = ""  # new, worse, better, unchanged or "" against an earlier examination


@dataclass(frozen=True)
class Mention:
    """One finding named at ``text[start:end]``. ``value`` is what it says by itself; NOT_MENTIONED = does not count."""

    label: str
    value: Value
    start: int
    end: int
    section: str  # one of SECTIONS
    qualifiers: Qualifiers = field(default_factory=Qualifiers)
    grade: int | None = None


@dataclass(frozen=True)
class ReportLabel:
    """One row of ``labels.parquet``: what one report says about one label."""

    report_id: str
    study: str
    patient: str
    label: str
    value: str  # a Value
    grade: int | None  # of kl_grade, kl_right, kl_left: 0-4
    start: int | None  # evidence in the safe text, code points; None where there is none
    end: int | None
    section: str
    negated: bool
    hypothetical: bool
    family: bool
    history: bool
    question: bool
    laterality: str
    change: str


LABEL_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("report_id", "study", "patient")],
        ("label", pa.dictionary(pa.int8(), pa.string())),
        ("value", pa.dictionary(pa.int8(), pa.string())),
        ("grade", pa.int8()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("section", pa.dictionary(pa.int8(), pa.string())),
        *[(name, pa.bool_()) for name in ("negated", "hypothetical", "family", "history", "question")],
        ("laterality", pa.dictionary(pa.int8(), pa.string())),
        ("change", pa.dictionary(pa.int8(), pa.string())),
    ]
)
