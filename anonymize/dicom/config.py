"""What ``anonymize dicom`` keeps, and how it treats text in pixels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anonymize.config import Config
from anonymize.engines import Engine

STAGE = "anonymize-dicom"


class DicomConfig(Config):
    """Configuration of ``anonymize dicom``. The defaults keep what training needs and nothing else.

    Each switch that is named after an option of PS3.15 E.3 is that option; what it does in either profile: docs/anonymize-dicom.md.
    """

    profile: Literal["keep-list", "basic"] = Field(
        default="keep-list",
        description="keep-list: nothing stays unless a rule names it; basic: table E.1-1 of PS3.15 says what goes",
    )
    objects: list[Literal["images", "secondary-capture", "reports", "documents"]] = Field(
        default=["images"],
        description="images: CR and DX; secondary-capture; reports: structured reports; documents: encapsulated PDF",
    )
    sop_classes: list[str] = Field(default=[], description="further SOP classes of images, by UID")
    languages: list[str] = Field(
        default=["fr", "en"],
        min_length=1,
        description="packs whose radiology vocabulary a description may use; the first also reads short free text",
    )
    retain_longitudinal: Literal["full", "modified", "none"] = Field(
        default="modified", description="dates as they are (113106), moved by one offset a patient (113107), or none"
    )
    keep_weekdays: bool = False  # dates move by whole weeks; as in the reports of the same export
    times: Literal["zero", "keep"] = "zero"  # of moved dates; full dates keep their times
    retain_patient_characteristics: bool = True  # option 113108: age and sex; ages above 89 years become 89
    retain_device_identity: Literal["none", "model", "full"] = Field(
        default="model",
        description="option 113109; model: manufacturer and model only; full: serial number and station too",
    )
    retain_institution: bool = False  # option 113112
    retain_uids: bool = False  # option 113110
    retain_safe_private: bool = False  # option 113111: private elements of PS3.15 table E.3.10-1, others never
    clean_descriptors: bool = True  # option 113105
    clean_structured_content: bool = False  # option 113104: needed for structured reports
    clean_graphics: bool = False  # option 113103: vector graphics stay, their text is cleaned; overlays always go
    pixels: Literal["detect", "ocr", "off"] = (
        "detect"  # option 113101; ocr adds the extra dicom-ocr; off trusts the header
    )
    on_doubtful: Literal["mask", "quarantine", "write"] = (
        "mask"  # text is likely, not sure; a person decides in PRIVATE/pixel-review
    )
    regions: str = ""  # a file of templates of your own devices (format: anonymize/dicom/regions.yaml)
    on_unsure: Literal["quarantine", "write"] = "quarantine"  # header says burned in, no text found
    mappings: bool = False  # write which UID and patient became which into the private folder, to judge a run
    engine: Engine = Field(default="local", description="local processes, or actors of a Ray cluster")
    workers: int = Field(default=0, ge=0, description="processes; 0 is one a core")
    shard_size: int = Field(default=512, ge=1, description="files a shard: the unit of resume and of an index part")

    def options(self) -> frozenset[str]:
        """Columns of table E.1-1 (profile.csv) that are in force.

        The device option counts in full only: manufacturer and model have no row in the table.
        """
        switches = {
            "clean_graphics": self.clean_graphics,
            "clean_structured_content": self.clean_structured_content,
            "clean_descriptors": self.clean_descriptors,
            "retain_full_dates": self.retain_longitudinal == "full",
            "retain_modified_dates": self.retain_longitudinal == "modified",
            "retain_patient_characteristics": self.retain_patient_characteristics,
            "retain_device_identity": self.retain_device_identity == "full",
            "retain_uids": self.retain_uids,
            "retain_institution": self.retain_institution,
        }
        return frozenset(name for name, used in switches.items() if used)
