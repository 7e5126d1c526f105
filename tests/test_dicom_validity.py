"""``dciodvfy`` finds no error in the output that the input did not have, under each profile and many options."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_factory import KEYS_FOR_TESTS as KEYS
from dicom_factory import device, instance, save
from pydicom.dataset import Dataset
from test_phantom_dicom import errors_of

from anonymize.dicom.config import DicomConfig
from anonymize.dicom.instance import process
from anonymize.dicom.refusal import Refused

pytestmark = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (package dicom3tools) is not installed"
)
OBJECTS = ["images", "secondary-capture", "reports", "documents"]
SWITCHES: list[dict[str, Any]] = [
    {},
    {"profile": "basic"},
    {
        "profile": "basic",
        "retain_longitudinal": "none",
        "clean_descriptors": False,
        "retain_patient_characteristics": False,
    },
    {"profile": "basic", "retain_longitudinal": "full", "retain_device_identity": "full", "retain_institution": True},
    {"profile": "basic", "retain_uids": True, "clean_structured_content": True, "clean_graphics": True},
    {"retain_longitudinal": "none", "retain_device_identity": "none", "clean_descriptors": False},
    {"retain_longitudinal": "full", "retain_device_identity": "full", "retain_institution": True, "retain_uids": True},
]


def new_errors(source: Path, folder: Path, switches: dict[str, Any]) -> dict[str, int]:
    """Errors of the output beyond those of ``source``."""
    config = DicomConfig(**{"objects": OBJECTS, "on_unsure": "write", **switches})
    process(source, folder / "images", "part-1.tmp", config, KEYS)
    (made,) = folder.rglob("part-1.tmp")
    before, after = (Counter(re.sub(r"(UID )[\d.]+$", r"\1", e) for e in errors_of(path)) for path in (source, made))
    return dict(after - before)


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: ",".join(f"{k}={v}" for k, v in s.items()) or "default")
@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_no_option_makes_a_radiograph_invalid(tmp_path: Path, modality: str, switches: dict[str, Any]) -> None:
    for number, voi in enumerate(("window", "lut_sequence")):
        made = device(modality=modality, voi_style=voi)
        ds = instance(number, with_device=made, for_processing=modality == "DX" and number == 1)
        source = save(ds, tmp_path / f"{number}.dcm")
        assert errors_of(source) == []
        assert new_errors(source, tmp_path / str(number), switches) == {}


PYDICOM = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
_SMALLEST = 200_000  # bytes: the test looks at many kinds, not at many pixels


def of_our_kind(path: Path) -> Dataset | None:
    """A film, capture, report or PDF of pydicom's own test files, with the identifiers that some of them lack."""
    ds = pydicom.dcmread(path, force=True)
    name = str(ds.get("SOPClassUID", "")).removeprefix("1.2.840.10008.5.1.4.1.1.")
    if (
        path.stat().st_size > _SMALLEST
        or not name.startswith(("1", "7", "88", "104"))
        or name.startswith(("12", "128"))
    ):
        return None
    ds.PatientID = str(ds.get("PatientID") or "IPP1")
    return ds if "file_meta" in ds.__dict__ and ds.get("SOPInstanceUID") and ds.get("StudyInstanceUID") else None


@pytest.mark.parametrize("profile", ["keep-list", "basic"])
def test_pydicoms_own_files_gain_no_error(tmp_path: Path, profile: str) -> None:
    refused, tried, gained = Counter(), 0, {}
    for path in PYDICOM:
        try:
            ds = of_our_kind(path)
            if ds is None:
                continue
            source = save(ds, tmp_path / path.name)
            if any("read failed" in error for error in errors_of(source)):
                continue  # dciodvfy itself cannot read it (deflated, for one), so that nothing is known of the input
        except Exception:  # pydicom's broken files cannot be written again
            continue
        tried += 1
        try:
            found = new_errors(source, tmp_path / path.stem, {"profile": profile, "clean_structured_content": True})
        except Refused as refusal:
            refused[str(refusal)] += 1
            continue
        if found:
            gained[path.name] = found
    assert gained == {}
    assert tried >= 20
    assert tried - sum(refused.values()) >= 15, refused
