"""Which SOP classes are which kind of object (PS3.4 annex B.5)."""

from __future__ import annotations

from typing import Literal

from anonymize.dicom.config import DicomConfig

Kind = Literal["image", "report", "document"]
_STORAGE = "1.2.840.10008.5.1.4.1.1"
SOP_CLASSES: dict[str, dict[str, Kind]] = {  # a name of DicomConfig.objects -> its classes
    "images": {
        f"{_STORAGE}.1": "image",  # Computed Radiography
        f"{_STORAGE}.1.1": "image",  # Digital X-Ray, for presentation
        f"{_STORAGE}.1.1.1": "image",  # Digital X-Ray, for processing
    },
    "secondary-capture": {
        f"{_STORAGE}.7": "image",
        f"{_STORAGE}.7.1": "image",  # multi-frame, single bit
        f"{_STORAGE}.7.2": "image",  # multi-frame, grayscale byte
        f"{_STORAGE}.7.3": "image",  # multi-frame, grayscale word
        f"{_STORAGE}.7.4": "image",  # multi-frame, true colour
    },
    "reports": {
        f"{_STORAGE}.88.11": "report",  # Basic Text SR
        f"{_STORAGE}.88.22": "report",  # Enhanced SR
        f"{_STORAGE}.88.33": "report",  # Comprehensive SR
        f"{_STORAGE}.88.67": "report",  # X-Ray Radiation Dose SR
    },
    "documents": {f"{_STORAGE}.104.1": "document"},  # Encapsulated PDF
}


def kind_of(sop_class: str, config: DicomConfig) -> Kind | None:
    """What an instance is; None where the configuration does not ask for it."""
    for name in config.objects:
        if sop_class in SOP_CLASSES[name]:
            return SOP_CLASSES[name][sop_class]
    return "image" if sop_class in config.sop_classes else None
