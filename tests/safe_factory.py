"""A miniature safe export on disk for tests: DICOM files with real headers, an image index and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from anonymize.files import write_table

INDEX = {
    "image_id": "",
    "patient": "",
    "study": "",
    "series": "1",
    "path": "",
    "modality": "DX",
    "body_part": "KNEE",
    "view": "AP",
    "laterality": "R",
    "photometric": "MONOCHROME2",
    "rows": 80,
    "columns": 60,
    "bits_stored": 12,
    "spacing_mm": 0.2,
    "age_months": 600,
    "sex": "F",
    "date": "2020-01-05",
    "manufacturer": "Maker",
    "model": "One",
    "burned_in": "none",
    "description": "",
}
REPORT = {
    "report_id": "",
    "patient": "",
    "study": "",
    "date": "2020-01-05",
    "age_months": 600,
    "sex": "F",
    "language": "fr",
    "exam": "Radiographie du genou droit",
    "indication": "Gonalgies.",
    "technique": "Face en charge.",
    "comparison": "",
    "results": "Pincement fémoro-tibial interne.",
    "conclusion": "",
    "text": "Pincement fémoro-tibial interne.",
}


def dicom_image(seed: int = 0, shape: tuple[int, int] = (80, 60), bits: int = 12, **tags: Any) -> Dataset:
    """A DX object with a bright disc on a dark, noisy ground; ``tags`` are set (or, given None, deleted)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    disc = (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < (min(shape) / 3) ** 2
    pixels = (disc * 0.6 + 0.1 + rng.uniform(0, 0.2, shape)) * (2**bits - 1)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str((seed, shape, bits))])
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "DX", "MONOCHROME2", 1
    ds.Rows, ds.Columns = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.ImagerPixelSpacing = [0.2, 0.2]
    ds.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def make_safe(folder: Path, studies: int = 6) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """A clean safe export: one knee image and one report a study, two studies a patient."""
    images, reports = [], []
    for n in range(studies):
        patient, study, image = f"P{n // 2:03d}", f"S{n:03d}", f"I{n:03d}"
        path = f"{patient}/{study}/{image}.dcm"
        save(dicom_image(n), folder / "images" / path)
        images.append({**INDEX, "image_id": image, "patient": patient, "study": study, "path": path})
        text = f"Pincement fémoro-tibial interne, stade {n}."
        reports.append(
            {**REPORT, "report_id": f"R{n:03d}", "patient": patient, "study": study, "results": text, "text": text}
        )
    write_safe(folder, images, reports)
    return folder, images, reports


def write_safe(folder: Path, images: list[dict[str, Any]], reports: list[dict[str, Any]]) -> None:
    """Write (again) the index and the reports."""
    write_table(folder / "images" / "index" / "part-00000.parquet", images)
    write_table(folder / "reports" / "part-00000.parquet", reports)
