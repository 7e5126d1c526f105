"""What ``anonymize dicom`` keeps, and how it treats text in pixels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anonymize.config import Config

STAGE = "anonymize-dicom"


class DicomConfig(Config):
    """Configuration of ``anonymize dicom``. The defaults keep what training needs and nothing else."""

    languages: list[str] = Field(
        default=["fr", "en"], description="packs whose radiology vocabulary a description may use"
    )
    dates: Literal["shift", "remove"] = "shift"  # shift: PS3.15 option 113107, by one offset a patient
    keep_weekdays: bool = False  # dates move by whole weeks; as in the reports of the same export
    times: Literal["zero", "keep"] = "zero"
    age_and_sex: Literal["keep", "remove"] = "keep"  # option 113108; ages above 89 years become 89
    device: Literal["keep", "remove"] = "keep"  # option 113109: manufacturer and model, never a serial number
    descriptions: Literal["clean", "remove"] = "clean"  # option 113105: kept when every word is in the vocabulary
    pixels: Literal["detect", "ocr", "off"] = (
        "detect"  # option 113101; ocr adds the extra dicom-ocr; off trusts the header
    )
    on_doubtful: Literal["mask", "quarantine", "write"] = (
        "mask"  # text is likely, not sure; a person decides in PRIVATE/pixel-review
    )
    regions: str = ""  # a file of templates of your own devices (format: anonymize/dicom/regions.yaml)
    on_unsure: Literal["quarantine", "write"] = "quarantine"  # header says burned in, no text found
    sop_classes: list[str] = Field(
        default=[
            "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
            "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
            "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
        ],
        description="SOP classes that are read; every other is quarantined",
    )
    mappings: bool = False  # write which UID and patient became which into the private folder, to judge a run
    workers: int = Field(default=0, ge=0, description="processes; 0 is one a core")
    shard_size: int = Field(default=512, ge=1, description="files a shard: the unit of resume and of an index part")
