"""What is looked for, what each kind of span becomes, and how an export is read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anonymize.config import Config
from anonymize.engines import Engine
from anonymize.forms import IdentifierForm

Action = Literal["surrogate", "tag", "mask", "generalise", "delete", "keep"]


class Policy(Config):
    """One action per kind of span.

    surrogate: a made-up value of the same form; tag: ``[NOM]``; mask: each letter and digit becomes ``x``;
    generalise: dates to their year, towns and addresses to a tag, ages over 89 to 89; delete: nothing is left.
    """

    name: Action = "surrogate"
    initials: Action = "surrogate"
    birth_date: Action = "surrogate"
    date: Action = "surrogate"
    age: Action = "generalise"
    address: Action = "surrogate"
    postcode: Action = "surrogate"
    town: Action = "surrogate"
    institution: Action = "surrogate"
    phone: Action = "surrogate"
    email: Action = "surrogate"
    url: Action = "surrogate"
    national_id: Action = "surrogate"
    patient_id: Action = "surrogate"
    visit_id: Action = "surrogate"
    professional_id: Action = "surrogate"
    id: Action = "surrogate"


class Columns(Config):
    """Headings of the export's columns; empty = recognised by the aliases of the language pack."""

    patient: str = ""
    surname: str = ""
    birth_name: str = ""
    given_name: str = ""
    sex: str = ""
    birth_date: str = ""
    address: str = ""
    postcode: str = ""
    town: str = ""
    phone: str = ""
    visit: str = ""
    accession: str = ""
    exam_date: str = ""
    exam: str = ""
    prescriber: str = ""
    radiologist: str = ""
    text: str = ""
    staff: str = Field(default="", description="further people named in the record, separated by ; or |")
    numbers: str = Field(default="", description="a further number of the patient, such as a national one")


class Files(Config):
    """How a folder of documents says whose they are, where the documents do not."""

    pattern: str = Field(
        default="",
        description="of file names without ending, such as {patient}_{accession}_{exam_date}; {_} is skipped",
    )
    index: str = Field(default="", description="CSV with one line per file; relative to the folder")
    name_column: str = Field(default="", description="of the index: its column with the file's name; empty = found")
    patient_authority: str = Field(
        default="", description="HL7 assigning authority, FHIR system or CDA root of the patient identifier to use"
    )
    accession_field: str = Field(default="", description="HL7 field with the accession number, such as OBR-3 or OBR-18")


class ReportsConfig(Config):
    """Configuration of ``anonymize reports``."""

    language: str = "fr"
    columns: Columns = Columns()
    files: Files = Files()
    sheet: str = Field(default="", description="of an Excel file: name, or number from 1; empty = the only one")
    encoding: str = Field(default="", description="of a CSV; empty = found from its bytes")
    delimiter: str = Field(default="", description="of a CSV; empty = found from its heading")
    policy: Policy = Policy()
    identifiers: tuple[IdentifierForm, ...] = Field(
        default=(), description="the hospital's own forms of numbers, found without a label"
    )
    keep_weekdays: bool = Field(default=False, description="dates move by whole weeks")
    fuzzy: bool = Field(default=True, description="find known names with one typing error")
    second_pass: bool = Field(default=True, description="search names found once in all reports of the same patient")
    use_export_names: bool = Field(
        default=True, description="search names of the export's staff and patients in all reports"
    )
    ner: str = Field(
        default="",
        description="tagger beside the rules: empty = the language pack's own, 'none', a folder of train-ner or adapt, a "
        "Hugging Face or EDS-Pseudo model (name or folder), or llm:http://localhost:PORT/v1#MODEL",
    )
    shard_mb: float = Field(default=2.0, gt=0, le=512, description="megabytes of source per output shard")
    workers: int = Field(default=0, ge=0, description="processes; 0 = one per core")
    engine: Engine = Field(default="local", description="local processes, or tasks of a Ray cluster")
    vault: bool = Field(
        default=True, description="keep every original, encrypted, in the private folder (anonymize reveal)"
    )
