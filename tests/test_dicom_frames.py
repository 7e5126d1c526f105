"""Frames by imagecodecs are those of pydicom's plug-ins, and what it refuses is still read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from dicom_factory import device, film, instance
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from test_phantom_dicom import SYNTAXES

from anonymize.dicom.frames import stored_frame


def _files() -> list[str]:
    """The test files inside pydicom's package that are encapsulated gray images (nothing is fetched)."""
    found = []
    for name in sorted(map(str, (Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))):
        try:
            ds = pydicom.dcmread(name, stop_before_pixels=True)
            gray = int(ds.get("SamplesPerPixel") or 0) == 1 and ds.file_meta.TransferSyntaxUID.is_encapsulated
        except Exception:  # the set holds broken files on purpose
            continue
        if gray:
            found.append(name)
    return found


def _reference(ds: Dataset) -> npt.NDArray[np.generic] | None:
    signed = int(ds.get("PixelRepresentation") or 0) == 1
    try:
        return np.asarray(pixel_array(ds, index=0, raw=True, correct_unused_bits=signed))
    except Exception:
        return None


@pytest.mark.parametrize("name", _files(), ids=lambda name: Path(name).stem)
def test_values_are_those_of_pydicom(name: str) -> None:
    ds = pydicom.dcmread(name)
    expected = _reference(ds)
    if expected is None:
        pytest.skip("pydicom cannot read it either way")
    found, _ = stored_frame(ds, count=int(ds.get("NumberOfFrames", 1) or 1))
    assert np.array_equal(found.astype(np.int64), expected.astype(np.int64))


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_phantom_films_come_back_as_they_were_drawn(syntax: str) -> None:
    pixels = film()
    ds = instance(with_device=device(transfer_syntax=syntax, photometric="MONOCHROME2"), pixels=pixels)
    found, _ = stored_frame(ds)
    assert np.array_equal(found, pixels)


def test_a_signed_frame_keeps_its_sign() -> None:
    import imagecodecs

    values = np.array([[-5, 7], [2047, -2048]], np.int16)
    ds = instance(pixels=film((2, 2)))
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit, ds.Rows, ds.Columns = 1, 12, 11, 2, 2
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    ds.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode((values & 0xFFF).astype(np.uint16)))])
    found, decoder = stored_frame(ds)
    assert decoder == "imagecodecs"
    assert np.array_equal(found, values)


def test_a_damaged_frame_raises() -> None:
    ds = instance(with_device=device(transfer_syntax=pydicom.uid.JPEG2000Lossless))
    ds.PixelData = ds.PixelData[:40] + b"\0" * (len(ds.PixelData) - 40)
    with pytest.raises(Exception):  # noqa: B017, PT011 - any type: see the docstring
        stored_frame(ds)
