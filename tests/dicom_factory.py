"""Small radiographs as DICOM for the tests of the phantom writer and of ``anonymize dicom``."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from anonymize.keys import Keys
from vlp.phantom.devices import DEVICES, Device
from vlp.phantom.dicom_headers import Header
from vlp.phantom.dicom_writer import build_dataset
from vlp.phantom.facts import Exam, Radiograph, View

KEYS_FOR_TESTS = Keys(b"a secret of thirty-two bytes here")

HEADER = Header(
    patient_id="IPP0012345",
    family_name="LEFÈVRE-NGUYEN",
    given_name="Zoé",
    birth_name="MÜLLER",
    birth_date=dt.date(2012, 5, 4),
    sex="F",
    address="12 rue des Érables",
    postcode="75011",
    city="Paris",
    phone="06 12 34 56 78",
    accession="ACC2024001234",
    study_uid="2.25.1110001",
    series_uid="2.25.1120001",
    sop_uid="2.25.1130001",
    study_time=dt.datetime(2024, 3, 2, 10, 12, 30),
    referring_physician="MARTIN^Paul",
    radiologist="DURAND^Anne",
    operator="PETIT^Luc",
    institution="Hôpital Saint-Éloi",
    station="XR1",
    study_description="Radiographie de la main",
    series_description="Main gauche face",
    charset="ISO_IR 100",
)


def device(**changes: object) -> Device:
    """A 12-bit DX device with ``changes``."""
    return dataclasses.replace(DEVICES["esker_dx"], **changes)


def film(shape: tuple[int, int] = (240, 200), bits: int = 12, seed: int = 0) -> npt.NDArray[np.uint16]:
    """A smooth bright shape on a dark ground with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    blob = np.exp(-(((y - shape[0] / 2) / (0.35 * shape[0])) ** 2 + ((x - shape[1] / 2) / (0.25 * shape[1])) ** 2))
    values = (0.08 + 0.6 * blob) * 2**bits + rng.normal(0, 0.004 * 2**bits, shape)
    return values.clip(0, 2**bits - 1).astype(np.uint16)


def burn(pixels: npt.NDArray[np.uint16], lines: list[str], value: int, scale: float = 0.6) -> list[tuple[int, ...]]:
    """Write lines into the upper left corner; returns their boxes x0, y0, x1, y1."""
    boxes, y = [], 6
    for line in lines:
        (width, height), base = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        y += height + 4
        ink = np.zeros(pixels.shape, np.uint8)
        cv2.putText(ink, line, (8, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_8)
        pixels[ink > 0] = value
        boxes.append((8, y - height, min(8 + width, pixels.shape[1]), y))
        y += base + 4
    return boxes


def instance(
    number: int = 1,
    *,
    anatomy: str = "hand",
    view: View | None = None,
    with_device: Device | None = None,
    pixels: npt.NDArray[np.uint16] | None = None,
    burned: tuple[str, ...] = (),
    for_processing: bool = False,
    **header: object,
) -> Dataset:
    """One instance; ``number`` makes its UID."""
    chosen = view or View("PA", "L", 1)
    stored = film(bits=12) if pixels is None else pixels
    exam = Exam("E1", 0, anatomy, 140, "F", 1, 1, chosen.side, (chosen,), "esker_dx", "easy")
    bits = (with_device or device()).bits
    radiograph = Radiograph(stored, bits, 0.15, (0.5 * 2**bits, 0.4 * 2**bits), (), burned)
    made = dataclasses.replace(HEADER, **{"sop_uid": f"2.25.1130{number:04d}", "instance_number": number, **header})
    return build_dataset(radiograph, exam, chosen, made, with_device or device(), 3, for_processing=for_processing)


def save(ds: Dataset, path: Path) -> Path:
    """Write ``ds``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path
