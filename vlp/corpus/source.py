"""What every source of a corpus yields, whatever it was read from: studies with images still in their files."""

from __future__ import annotations

from dataclasses import dataclass, field

from anonymize.quarantine import Quarantined

STAGE = "prepare"


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A box as its source gives it, unchecked (vlp.corpus.boxes)."""

    label: str
    corners: tuple[float, float, float, float]  # x0, y0, x1, y1; NaN for what is no number
    size: tuple[float, float] | None = (
        None  # width and height that the corners are counted in; None: pixels of the file
    )
    reader: str = ""
    position: int = 0  # row or line of its table, or its number in its file


@dataclass(frozen=True)
class ImageFile:
    """One image to be decoded."""

    image_id: str
    file: str  # absolute path
    view: str  # PA, AP, LAT, OBL or ""
    laterality: str  # R, L, B or ""
    spacing_mm: float | None = None  # where the index knows it; the file's own spacing goes first
    box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 in pixels: only this part of a picture is the image
    view_source: str = "table"  # counts where ``view`` is known
    boxes: tuple[DrawnBox, ...] = ()  # in the file's image as it is looked at; in its part ``box`` where that is given


@dataclass(frozen=True)
class PlannedStudy:
    """A study before its images are read. Fields as in :class:`vlp.study.Study`."""

    study_id: str
    patient_id: str  # "" where not known: studies with near-duplicate images then count as one patient
    anatomy: str
    images: tuple[ImageFile, ...]
    date: str = ""
    age_months: int | None = None
    sex: str = ""
    language: str = ""
    indication: str = ""
    technique: str = ""
    comparison: str = ""
    results: str = ""
    conclusion: str = ""
    report: str = ""
    report_id: str = ""  # names the report in the quarantine where the study falls out
    report_source: str = ""
    site: str = ""
    original: str = ""  # studies of unknown patients with the same value here count as one patient
    split: str = ""  # train, validation or test of the set's authors; used with split.official=true only
    labels: dict[str, float] = field(default_factory=dict)
    anatomy_source: str = "table"  # counts where ``anatomy`` is known
    pairing: str = "table"  # counts where there is a report


@dataclass(frozen=True)
class Origin:
    """Where a public set comes from, and on which terms; goes into the corpus card and corpus.json."""

    name: str
    title: str
    licence: str
    use: str
    where: str


@dataclass(frozen=True)
class Source:
    """All that was read, and what was refused before any image was opened.

    ``images_read`` is the number of images planned and refused; ``reports_read`` likewise for reports.
    """

    studies: list[PlannedStudy]
    refused_images: list[Quarantined]
    refused_reports: list[Quarantined]
    images_read: int
    reports_read: int
    notes: dict[str, int] = field(default_factory=dict)  # counts worth showing, such as paired_by_date
    origin: Origin | None = None
    boxes_read: int = 0  # those of refused images among them


def refuse(ref: str, position: int, reason: str, remedy: str) -> Quarantined:
    """One refused item of this stage."""
    return Quarantined(STAGE, ref, position, reason, remedy)
