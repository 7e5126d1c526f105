"""Small real files of every format and transfer syntax, for ``fuzz_inputs.py`` to mutate."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

LARGEST = 40_000  # bytes of a source
_J2K, _HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"


@dataclass(frozen=True)
class Source:
    """One file to mutate."""

    name: str
    kind: str  # dicom, png, jpeg, tiff, npy
    data: bytes


def sources() -> list[Source]:
    """pydicom's own small files with pixels, films in every transfer syntax, and pictures in every format."""
    return [*_pydicom_files(), *_films(), *_pictures()]


def _pydicom_files() -> list[Source]:
    found = []
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        data = path.read_bytes()
        if len(data) <= LARGEST and b"\xe0\x7f\x10\x00" in data:
            found.append(Source(path.stem, "dicom", data))
    return found


def _film(bits: int, shape: tuple[int, int] = (48, 40)) -> npt.NDArray[np.uint16]:
    rows, columns = np.indices(shape)
    noise = np.random.default_rng(bits).normal(0, 0.01, shape)
    blob = np.exp(-(((rows - 24) / 14) ** 2 + ((columns - 20) / 9) ** 2))
    return ((0.1 + 0.7 * blob + noise).clip(0, 1) * (2**bits - 1)).astype(np.uint16)


def _films() -> list[Source]:
    found = []
    codecs: dict[str, Callable[[npt.NDArray[np.uint16], int], bytes]] = {
        "1.2.840.10008.1.2.4.50": lambda p, b: imagecodecs.jpeg8_encode(p.astype(np.uint8)),
        "1.2.840.10008.1.2.4.51": lambda p, b: imagecodecs.jpeg8_encode(p, bitspersample=12),
        "1.2.840.10008.1.2.4.57": lambda p, b: imagecodecs.ljpeg_encode(p, bitspersample=b),
        "1.2.840.10008.1.2.4.70": lambda p, b: imagecodecs.ljpeg_encode(p, bitspersample=b),
        "1.2.840.10008.1.2.4.80": lambda p, b: imagecodecs.jpegls_encode(p),
        "1.2.840.10008.1.2.4.81": lambda p, b: imagecodecs.jpegls_encode(p, level=3),
        _J2K: lambda p, b: imagecodecs.jpeg2k_encode(p, codecformat="J2K", reversible=True, bitspersample=b),
        _HTJ2K: lambda p, b: imagecodecs.htj2k_encode(p, reversible=True),
    }
    for bits in (8, 12, 16):
        pixels = _film(bits)
        for syntax, encode in codecs.items():
            if (syntax.endswith(".50") and bits != 8) or (syntax.endswith(".51") and bits != 12):
                continue
            frame = bytes(encode(pixels, bits))
            frames = [frame, frame, frame] if bits == 16 else [frame]
            ds = _object(pixels, bits, syntax, len(frames))
            ds.PixelData = encapsulate(frames, has_bot=bits == 12)
            ds["PixelData"].is_undefined_length = True
            found.append(Source(f"film-{syntax}-{bits}", "dicom", _content(ds)))
        for syntax in (str(ExplicitVRLittleEndian), str(DeflatedExplicitVRLittleEndian), str(RLELossless)):
            ds = _object(pixels, bits, str(ExplicitVRLittleEndian), 1)
            ds.PixelData = pixels.astype("<u2").tobytes() if bits > 8 else pixels.astype(np.uint8).tobytes()
            if syntax == RLELossless:
                ds.compress(RLELossless, generate_instance_uid=False)
            ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
            found.append(Source(f"film-{syntax}-{bits}", "dicom", _content(ds)))
    return found


def _object(pixels: npt.NDArray[np.uint16], bits: int, syntax: str, frames: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.7"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID, ds.Modality = "2.25.8", "2.25.9", "P1", "DX"
    ds.PatientName, ds.StudyDate, ds.AccessionNumber = "TEST^FUZZ", "20240102", "A1"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1" if bits == 12 else "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8 if bits == 8 else 16, bits, bits - 1, 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.ImagerPixelSpacing, ds.RescaleSlope, ds.RescaleIntercept = [0.2, 0.2], 1, 0
    if bits == 8:
        lut = Dataset()
        lut.add_new("LUTDescriptor", "US", [256, 0, 16])
        lut.add_new("LUTData", "OW", (np.arange(256) ** 2).astype("<u2").tobytes())
        ds.VOILUTSequence = [lut]
    else:
        ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = [2 ** (bits - 1), 5], [2**bits, 3], "SIGMOID"
        ds.add_new("PixelPaddingValue", "US", 0)
    return ds


def _content(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _pictures() -> list[Source]:
    gray, deep = _film(8).astype(np.uint8), _film(16)
    colour = np.dstack([gray, gray // 2, gray])
    found = []

    def add(kind: str, image: Image.Image, name: str, **options: object) -> None:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        found.append(Source(f"{kind.lower()}-{name}", kind.lower(), stream.getvalue()))

    plain, rgb = Image.fromarray(gray), Image.fromarray(colour)
    for name, image in {
        "gray": plain,
        "deep": Image.fromarray(deep),
        "rgb": rgb,
        "rgba": rgb.convert("RGBA"),
        "palette": rgb.convert("P"),
        "bit": plain.convert("1"),
        "la": plain.convert("LA"),
    }.items():
        add("PNG", image, name)
    for name, image in {"gray": plain, "rgb": rgb, "cmyk": rgb.convert("CMYK")}.items():
        add("JPEG", image, name)
        add("JPEG", image, f"{name}-progressive", progressive=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    add("JPEG", plain, "turned", exif=turned)
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits"):
        for name, image in {"gray": plain, "deep": Image.fromarray(deep), "rgb": rgb}.items():
            add("TIFF", image, f"{name}-{compression}", compression=compression)
    add("TIFF", Image.fromarray(deep.astype(np.float32)), "float")
    add("TIFF", plain, "pages", save_all=True, append_images=[plain])
    add("TIFF", plain.convert("1"), "fax", compression="group4")
    add("TIFF", rgb, "jpeg", compression="jpeg")
    found.append(Source("tiff-cv", "tiff", cv2.imencode(".tif", deep)[1].tobytes()))
    for dtype in ("u1", "<u2", ">u2", "<i2", "<f4", "<f8", "<f2", "?", "<c8"):
        stream = io.BytesIO()
        np.save(stream, np.asfortranarray(deep.astype(dtype)) if dtype == "<f4" else deep.astype(dtype))
        found.append(Source(f"npy-{dtype}", "npy", stream.getvalue()))
    return found
