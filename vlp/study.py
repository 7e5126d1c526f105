"""The vocabulary of ``vlp``: one study is what a report describes, with its images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

ANATOMIES = ("hand", "wrist", "forearm", "knee", "lower_leg", "ankle", "chest", "spine", "extremity", "unknown")
SPLITS = ("train", "validation", "test")
LABELS = (
    "fracture",
    "effusion",
    "consolidation",
    "cardiomegaly",
    "pneumothorax",
    "cast",
    "hardware",
    "scoliosis",
    "abnormal",
    "kl_grade",  # 0-4, the worse knee where both are shown (Kellgren & Lawrence 1957)
    "kl_right",
    "kl_left",
    "bone_age_months",  # Greulich & Pyle
)
"""Label names a corpus may hold. 1.0 and 0.0 for present and absent; absent key = not known for this study."""
BINARY_LABELS = LABELS[: LABELS.index("abnormal") + 1]
"""Those that are present or absent."""


@dataclass(frozen=True)
class Box:
    """Where a reader saw something in a stored image: fractions of its width (x) and height (y), from the upper left.

    ``0 <= x0 < x1 <= 1`` and ``0 <= y0 < y1 <= 1``; times width and height they are edges of pixels.
    """

    label: str  # as the source names it
    x0: float
    y0: float
    x1: float
    y1: float
    reader: str = ""  # who drew it, where the source tells readers apart


@dataclass(frozen=True)
class ImageRef:
    """One image of a study, and where its pixels are: row ``row`` of ``images/shard-{shard:05d}.parquet``."""

    image_id: str
    shard: int
    row: int
    height: int  # pixels at the corpus's working size
    width: int
    view: str  # PA, AP, LAT, OBL or "" where not known
    laterality: str  # R, L, B (both) or ""
    spacing_mm: float | None  # at the working size
    view_source: str = ""  # header, description, report, table, image (told by its look) or "" where not known
    boxes: tuple[Box, ...] = ()  # what the source marks; none says nothing about what the image shows

    @staticmethod
    def from_row(row: dict[str, Any]) -> ImageRef:
        """An image as the manifest holds it; corpora without a column of boxes have none."""
        return ImageRef(**{**row, "boxes": tuple(Box(**box) for box in row.get("boxes") or ())})


@dataclass(frozen=True)
class Study:
    """One row of the manifest. Identifiers are pseudonyms, dates are shifted."""

    study_id: str
    patient_id: str
    split: str
    anatomy: str
    date: str  # ISO 8601, shifted; "" where not known
    age_months: int | None  # at the examination
    sex: str  # F, M or ""
    language: str  # of the report, ISO 639-1; "" without report
    images: tuple[ImageRef, ...]
    indication: str
    technique: str
    comparison: str
    results: str
    conclusion: str
    report: str  # the whole safe report
    report_hash: str  # equal for reports that say the same, whatever their date and surrogates
    report_source: str  # "report", "described" (written from labels) or ""
    site: str  # source of the study: hospital, data set part or device family
    labels: dict[str, float] = field(default_factory=dict)
    anatomy_source: str = ""  # report, description, header, table, image (told by its look) or "" where not known
    pairing: str = (
        ""  # how the report was found: study, day, day_anatomy, day_time, later_day, table; "" without report
    )

    def row(self) -> dict[str, Any]:
        """The study as one Parquet row."""
        row = dataclasses.asdict(self)
        row["images"] = list(row["images"])
        row["labels"] = sorted(self.labels.items())
        return row

    @staticmethod
    def from_row(row: dict[str, Any]) -> Study:
        """The inverse of :meth:`row`."""
        values = dict(row)
        values["images"] = tuple(ImageRef.from_row(image) for image in row["images"])
        values["labels"] = dict(row["labels"])
        return Study(**values)


_BOX = pa.struct(
    [
        ("label", pa.string()),
        *[(name, pa.float64()) for name in ("x0", "y0", "x1", "y1")],
        ("reader", pa.string()),
    ]
)
_IMAGE = pa.struct(
    [
        ("image_id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("view", pa.string()),
        ("laterality", pa.string()),
        ("spacing_mm", pa.float32()),
        ("view_source", pa.string()),
        ("boxes", pa.list_(_BOX)),
    ]
)
_TEXT_FIELDS = ("indication", "technique", "comparison", "results", "conclusion", "report", "report_hash")
MANIFEST_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("study_id", "patient_id", "split", "anatomy", "date")],
        ("age_months", pa.int32()),
        ("sex", pa.string()),
        ("language", pa.string()),
        ("images", pa.list_(_IMAGE)),
        *[(name, pa.string()) for name in _TEXT_FIELDS],
        ("report_source", pa.string()),
        ("site", pa.string()),
        ("labels", pa.map_(pa.string(), pa.float64())),
        ("anatomy_source", pa.string()),
        ("pairing", pa.string()),
    ]
)
