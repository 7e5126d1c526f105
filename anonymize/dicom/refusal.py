"""Why an instance goes to quarantine, and what a person can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anonymize.dicom.judge import Judgement

REMEDIES = {
    "truncated_dicom": "the file ends before its data does; export it again",
    "not_dicom": "the file is no DICOM file, whatever its name; remove it from the folder",
    "no_pixels": "the instance holds no image; leave presentation states out of the export",
    "unsupported_sop_class": "not of a kind that was asked for; add secondary-capture, reports or documents to objects, or the "
    "class of an image to sop_classes",
    "unsupported_colour": "an image in colour whose coding is not known; export it as RGB",
    "missing_identifier": "patient, study or instance identifier is empty; mend the header at the source",
    "corrupt_pixels": "the pixels cannot be decoded; export it again",
    "duplicate_instance": "another file has the same SOP Instance UID; the first in sorted order was kept",
    "burned_in_unsure": "the header says burned in and no text was found; look at it, then set on_unsure=write",
    "burned_in_doubtful": "a place may hold text; look at pixel-review/index.html in the private folder and decide",
    "structured_content": "a structured report is only cleaned with clean_structured_content=true",
    "no_content": "a structured report without a content tree; export it again",
    "no_text_layer": "the PDF has no text to be cleaned: scanned, encrypted or damaged; leave it out, or recognise its text first",
    "unreadable_file": "the file cannot be opened; check its permissions",
}


class Refused(ValueError):
    """An instance that goes to quarantine; the argument is a reason of :data:`REMEDIES`."""

    def __init__(self, reason: str, judged: Judgement | None = None) -> None:
        super().__init__(reason)
        self.judged = judged  # what was found in the pixels, where that is the reason
