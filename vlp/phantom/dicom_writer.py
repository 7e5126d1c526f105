"""A finished film as a DICOM file: stored values, tone, transfer syntax, and the header around them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from anonymize.files import open_atomic
from vlp.phantom.devices import DEVICES, Device, voi_lut
from vlp.phantom.dicom_headers import Header, build_header
from vlp.phantom.facts import Exam, Radiograph, View

__all__ = ["Header", "build_dataset", "write_dicom"]

IMPLEMENTATION_UID = "2.25.281464963310962246163527453153297130153"


def write_dicom(
    path: Path, radiograph: Radiograph, exam: Exam, view: View, header: Header, seed: int
) -> dict[str, Any]:
    """Write one film as the exam's device stores it (:data:`vlp.phantom.devices.DEVICES`), atomically.

    Returns:
        what a truth table needs: ``sop_uid, series_uid, study_uid, rows, columns, modality, photometric, bits,
        transfer_syntax, voi_style, burned_in`` (what the pixels hold), ``burned_in_attribute`` (what the header says;
        it is wrong in a fifth of the burned films, as on real consoles), ``charset``.
    """
    device = DEVICES[exam.device]
    ds = build_dataset(radiograph, exam, view, header, device, seed)
    with open_atomic(path) as stream:
        ds.save_as(stream, enforce_file_format=True)
    return {
        "sop_uid": header.sop_uid,
        "series_uid": header.series_uid,
        "study_uid": header.study_uid,
        "rows": int(ds.Rows),
        "columns": int(ds.Columns),
        "modality": device.modality,
        "photometric": device.photometric,
        "bits": radiograph.bits,
        "transfer_syntax": str(ds.file_meta.TransferSyntaxUID),
        "voi_style": device.voi_style,
        "burned_in": bool(radiograph.burned_in),
        "burned_in_attribute": ds.BurnedInAnnotation,
        "charset": ds.SpecificCharacterSet,
    }


def build_dataset(
    radiograph: Radiograph,
    exam: Exam,
    view: View,
    header: Header,
    device: Device,
    seed: int,
    *,
    for_processing: bool = False,
) -> Dataset:
    """The complete instance with file meta information, ready for ``save_as``.

    Raises:
        ValueError: pixels not [H, W] uint16 within the stored bits, or a VOI LUT asked for 16 bits (a LUT holds at
            most 65,535 entries, PS3.3 C.11.2.1.1).
    """
    pixels = radiograph.pixels
    if pixels.ndim != 2 or pixels.dtype != np.uint16 or not 10 <= radiograph.bits <= 16:
        raise ValueError("pixels must be [H, W] uint16 with 10 to 16 stored bits")
    if int(pixels.max()) >> radiograph.bits:
        raise ValueError(f"pixel values exceed {radiograph.bits} bits")
    ds = build_header(exam, view, header, device, seed, for_processing=for_processing)
    _image(ds, radiograph, device, random.Random(seed + 1))
    if not for_processing:
        _tone(ds, radiograph, device)
    top = 2**radiograph.bits - 1
    stored = np.ascontiguousarray(top - pixels if device.photometric == "MONOCHROME1" else pixels)
    _encode(ds, stored, device.transfer_syntax, radiograph.bits)
    return ds


def _image(ds: Dataset, radiograph: Radiograph, device: Device, rng: random.Random) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY"] + ([""] if device.modality == "DX" else [])
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = device.photometric
    ds.Rows, ds.Columns = radiograph.pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, radiograph.bits, radiograph.bits - 1, 0
    if device.modality == "DX":  # sign: whether a larger stored value means more dose at the detector (C.8.11.3.1.2)
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = 1 if device.photometric == "MONOCHROME1" else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "INVERSE" if device.photometric == "MONOCHROME1" else "IDENTITY"
    ds.LossyImageCompression = "00"
    spacing = f"{radiograph.spacing_mm:.6g}"
    ds.ImagerPixelSpacing = [spacing, spacing]
    if device.modality == "CR" and rng.random() < 0.5:
        ds.PixelSpacing = [spacing, spacing]
    ds.BurnedInAnnotation = "YES" if radiograph.burned_in and rng.random() < 0.8 else "NO"


def _tone(ds: Dataset, radiograph: Radiograph, device: Device) -> None:
    """VOI: one window, several windows or a LUT (PS3.3 C.11.2), in stored values."""
    top = 2**radiograph.bits - 1
    inverted = device.photometric == "MONOCHROME1"
    centre, width = radiograph.window
    stored_centre = top - centre if inverted else centre
    if device.voi_style == "lut_sequence":
        if radiograph.bits > 15:
            raise ValueError("a VOI LUT cannot hold 65,536 entries; use windows for 16 stored bits")
        table = voi_lut(device, radiograph.window)
        if len(table) != top + 1:
            raise ValueError(f"the device's VOI LUT has {len(table)} entries for {radiograph.bits} stored bits")
        if inverted:
            table = 65535 - table[::-1]
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [len(table), 0, 16])
        item.LUTExplanation = "NORMAL"
        item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
        ds.VOILUTSequence = [item]
    elif device.voi_style == "multi_window":
        ds.WindowCenter = [_decimal(stored_centre), _decimal(stored_centre + (-0.1 if inverted else 0.1) * width)]
        ds.WindowWidth = [_decimal(width), _decimal(0.6 * width)]
        ds.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
    else:
        ds.WindowCenter, ds.WindowWidth = _decimal(stored_centre), _decimal(width)


def _decimal(value: float) -> str:
    return f"{value:.6g}"


def _encode(ds: Dataset, stored: npt.NDArray[np.uint16], syntax: str, bits: int) -> None:
    """Pixel data in ``syntax``; JPEG lossless by libjpeg-turbo, the others by pydicom's encoders."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "VLP_PHANTOM"
    meta.SourceApplicationEntityTitle = ds.StationName[:16].upper()
    ds.file_meta = meta
    if syntax == JPEGLosslessSV1:
        frame = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=bits)
        ds.PixelData = encapsulate([bytes(frame)])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    elif syntax in (JPEG2000Lossless, RLELossless):
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.PixelData = stored.astype("<u2").tobytes()
        ds.compress(UID(syntax), generate_instance_uid=False)
    elif syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        ds.PixelData = stored.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
    else:
        raise ValueError(f"no writer for transfer syntax {syntax}")
