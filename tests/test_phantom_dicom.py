"""The phantom's DICOM files: valid, lossless, and as the device stores them."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import HEADER, device, film, instance, save
from pydicom.pixels import apply_voi_lut

from vlp.phantom.dicom_writer import write_dicom
from vlp.phantom.facts import Exam, Radiograph, View

SYNTAXES = {
    "raw": "1.2.840.10008.1.2.1",
    "jpeg": "1.2.840.10008.1.2.4.70",
    "j2k": "1.2.840.10008.1.2.4.90",
    "rle": "1.2.840.10008.1.2.5",
}
COMBINATIONS = list(
    itertools.product(("CR", "DX"), ("MONOCHROME1", "MONOCHROME2"), ("window", "multi_window", "lut_sequence"))
)


def errors_of(path: Path) -> list[str]:
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")]


needs_validator = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


@needs_validator
@pytest.mark.parametrize(("modality", "photometric", "voi"), COMBINATIONS)
def test_every_combination_passes_dciodvfy(tmp_path: Path, modality: str, photometric: str, voi: str) -> None:
    for name, syntax in SYNTAXES.items():
        made = device(modality=modality, photometric=photometric, voi_style=voi, transfer_syntax=syntax)
        for processing in (False, True) if modality == "DX" else (False,):
            path = save(instance(with_device=made, for_processing=processing), tmp_path / f"{name}{processing}.dcm")
            assert errors_of(path) == []


@needs_validator
@pytest.mark.parametrize("modality", ["CR", "DX"])
@pytest.mark.parametrize(
    ("anatomy", "projection", "side"),
    [("chest", "PA", ""), ("knee", "AP", "B"), ("ankle", "LAT", "R"), ("wrist", "OBL", "R"), ("lower_leg", "AP", "L")],
)
def test_every_view_passes_dciodvfy(tmp_path: Path, modality: str, anatomy: str, projection: str, side: str) -> None:
    ds = instance(anatomy=anatomy, view=View(projection, side, 1), with_device=device(modality=modality))
    assert errors_of(save(ds, tmp_path / "a.dcm")) == []


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
@pytest.mark.parametrize("bits", [10, 14, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_pixels_come_back(syntax: str, bits: int, photometric: str) -> None:
    pixels = film((65, 51), bits)
    made = device(bits=bits, transfer_syntax=syntax, photometric=photometric)
    stream = io.BytesIO()
    instance(with_device=made, pixels=pixels).save_as(stream, enforce_file_format=True)
    read = pydicom.dcmread(io.BytesIO(stream.getvalue()))
    expected = 2**bits - 1 - pixels.astype(int) if photometric == "MONOCHROME1" else pixels
    assert np.array_equal(read.pixel_array, expected)
    assert read.BitsStored == bits


def test_inverted_film_looks_the_same() -> None:
    """What a viewer shows of the MONOCHROME1 film is what it shows of the MONOCHROME2 film."""
    for voi in ("window", "lut_sequence"):
        shown = []
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            ds = instance(with_device=device(photometric=photometric, voi_style=voi))
            values = apply_voi_lut(ds.pixel_array, ds).astype(float)
            top = 65535 if voi == "lut_sequence" else 2**12 - 1
            shown.append(top - values if photometric == "MONOCHROME1" else values)
        assert np.abs(shown[0] - shown[1]).max() <= 0.002 * top


def test_header_holds_an_identity_in_every_usual_place() -> None:
    ds = instance()
    assert str(ds.PatientName) == "LEFÈVRE-NGUYEN^Zoé"
    assert "LEFÈVRE" in ds.private_block(0x0029, "VLP PHANTOM IDENT")[0x01].value
    assert (
        ds.ReferringPhysicianIdentificationSequence[0].PersonIdentificationCodeSequence[0].CodeMeaning == "MARTIN Paul"
    )
    assert ds.OtherPatientIDsSequence[0].PatientID
    assert ds.RequestAttributesSequence[0].RequestedProcedureID == HEADER.accession


def test_charset_that_cannot_hold_the_name_becomes_utf8() -> None:
    ds = instance(family_name="WÓJCIKOWSKA-ŁUCZAK")
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert instance().SpecificCharacterSet == "ISO_IR 100"


def test_write_is_deterministic_and_refuses_wrong_pixels(tmp_path: Path) -> None:
    view = View("PA", "L", 1)
    exam = Exam("E1", 0, "hand", 140, "F", 1, 1, "L", (view,), "esker_dx", "easy")
    radiograph = Radiograph(film(), 12, 0.15, (2000, 1500), ())
    row = write_dicom(tmp_path / "a.dcm", radiograph, exam, view, HEADER, 7)
    write_dicom(tmp_path / "b.dcm", radiograph, exam, view, HEADER, 7)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert (row["rows"], row["columns"]) == (240, 200)
    with pytest.raises(ValueError, match="exceed 10 bits"):
        write_dicom(tmp_path / "c.dcm", Radiograph(film(), 10, 0.15, (500, 300), ()), exam, view, HEADER, 7)
    assert not (tmp_path / "c.dcm").exists()
