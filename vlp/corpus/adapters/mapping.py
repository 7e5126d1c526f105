"""What the columns of an image table mean: the model of ``configs/mappings/*.yaml``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from anonymize.config import Config
from vlp.corpus.anatomy import view_of
from vlp.corpus.safe import label_value
from vlp.study import ANATOMIES, LABELS


class Columns(Config):
    """Names of columns; empty where the table has none."""

    image: str  # path of the image below the folder
    patient: str = ""
    study: str = ""  # rows with the same value are one study; without it every row is one
    part: str = ""  # chooses the entry of ``parts``
    view: str = ""
    laterality: str = ""
    age: str = ""
    sex: str = ""
    date: str = ""
    report: str = ""
    language: str = ""
    labels: str = ""  # a JSON object; its keys can be named in label rules
    boxes: str = ""  # a JSON list of [x0, y0, x1, y1, label] in pixels of the image


class LabelRule(Config):
    """Where a label comes from: a key of the JSON column, or a column."""

    key: str = ""
    column: str = ""
    values: dict[str, float] | None = None  # what is written → the label; without it the number itself
    where: dict[str, str] = Field(default={})  # only in rows whose JSON keys have these values


class Part(Config):
    """One part of a data set, or the defaults of all parts."""

    anatomy: str = "unknown"
    laterality: str = ""
    laterality_key: str = ""  # a key of the JSON column
    view: str = ""
    language: str = ""
    labels: dict[str, LabelRule] = Field(default={})
    patient_unknown: bool = False  # the patient column says nothing; near-duplicate images count as one patient
    patient_pattern: str = ""  # regular expression over the image path; its group 1 names copies of one original

    @field_validator("anatomy")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ANATOMIES:
            raise ValueError(f"must be one of {', '.join(ANATOMIES)}")
        return value

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: dict[str, LabelRule]) -> dict[str, LabelRule]:
        if unknown := set(value) - set(LABELS):
            raise ValueError(f"no such label: {', '.join(sorted(unknown))}; there are {', '.join(LABELS)}")
        return value

    @field_validator("patient_pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        if value and re.compile(value).groups < 1:
            raise ValueError("needs a group in parentheses")
        return value


class ImageTable(Config):
    """The mapping file as a whole."""

    columns: Columns
    age_unit: Literal["years", "months", "days"] = "years"
    sex: dict[str, str] = Field(default={"F": "F", "M": "M", "f": "F", "m": "M"})  # what is written → F or M
    views: dict[str, str] = Field(default={})  # what is written → PA, AP, LAT or OBL
    strip: list[str] = Field(default=[])  # regular expressions that are cut out of report texts, such as credits
    default: Part = Field(default_factory=Part)
    parts: dict[str, Part] = Field(default={})


class TableRow:
    """One row of a table, read through its mapping."""

    def __init__(self, cells: Mapping[str, str], mapping: ImageTable) -> None:
        self._cells = cells
        self._mapping = mapping
        self.part_name = self.cell(mapping.columns.part)
        self.part = mapping.parts.get(self.part_name, mapping.default)
        try:
            parsed = json.loads(self.cell(mapping.columns.labels) or "{}")
        except json.JSONDecodeError:
            parsed = {}
        self.json: dict[str, Any] = parsed if isinstance(parsed, dict) else {}

    def cell(self, column: str) -> str:
        """The trimmed cell; "" where there is no such column."""
        return (self._cells.get(column) or "").strip() if column else ""

    @property
    def image(self) -> str:
        return self.cell(self._mapping.columns.image)

    @property
    def patient(self) -> str:
        """The patient as the table names it; "" where it does not."""
        return "" if self.part.patient_unknown else self.cell(self._mapping.columns.patient)

    @property
    def original(self) -> str:
        """What copies of one original have in common, by ``patient_pattern``; "" where unknown."""
        found = re.search(self.part.patient_pattern, self.image) if self.part.patient_pattern else None
        return found.group(1) if found else ""

    @property
    def view(self) -> str:
        written = self.cell(self._mapping.columns.view)
        return self._mapping.views.get(written) or self.part.view or view_of(written, [(written, "en")])

    @property
    def laterality(self) -> str:
        found = str(self.json.get(self.part.laterality_key, "")) if self.part.laterality_key else ""
        value = (found or self.cell(self._mapping.columns.laterality) or self.part.laterality).upper()
        return value if value in ("R", "L", "B") else ""

    @property
    def sex(self) -> str:
        return self._mapping.sex.get(self.cell(self._mapping.columns.sex), "")

    @property
    def age_months(self) -> int | None:
        try:
            number = float(self.cell(self._mapping.columns.age))
        except ValueError:
            return None
        months = number * {"years": 12.0, "months": 1.0, "days": 12 / 365.25}[self._mapping.age_unit]
        return int(months) if 0 <= months <= 120 * 12 else None

    @property
    def date(self) -> str:
        """ISO 8601 as the table has it; "" where it is written in another way."""
        written = self.cell(self._mapping.columns.date)[:10]
        return written if re.fullmatch(r"\d{4}-\d{2}-\d{2}", written) else ""

    @property
    def report(self) -> str:
        text = self.cell(self._mapping.columns.report)
        for pattern in self._mapping.strip:
            text = re.sub(pattern, "", text, flags=re.DOTALL)
        return text.strip()

    @property
    def language(self) -> str:
        return self.cell(self._mapping.columns.language) or self.part.language

    def labels(self) -> tuple[dict[str, float], int]:
        """The row's labels, and how many values were out of range."""
        found: dict[str, float] = {}
        wrong = 0
        for name, rule in {**self._mapping.default.labels, **self.part.labels}.items():
            if any(str(self.json.get(key, "")) != value for key, value in rule.where.items()):
                continue
            written = self.json.get(rule.key) if rule.key else self.cell(rule.column)
            if written is None or written == "":
                continue
            value, fits = _value(name, written, rule)
            if value is not None:
                found[name] = value
            wrong += not fits
        return found, wrong


def _value(name: str, written: Any, rule: LabelRule) -> tuple[float | None, bool]:
    """The label that a cell states (None: it states nothing), and whether what it states is possible."""
    if rule.values is not None:
        items = written if isinstance(written, list) else [written]
        stated = [rule.values[str(item)] for item in items if str(item) in rule.values]
        return (max(stated) if stated else None), True
    number = label_value(name, written)
    return number, number is not None
