"""Bytes to pixels: DICOM, PNG, JPEG, TIFF and NPY. What a file is follows from its content, not from its name.

Compressed DICOM goes to imagecodecs first, then to pydicom's plug-ins; see :mod:`anonymize.dicom.frames` and docs/prepare.md
for figures. Sizes are checked against the data before anything is allocated.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom.dataset import FileDataset

from anonymize.dicom.frames import MAX_PIXELS, BadFrame, TooLarge, stored_frame, transfer_syntax
from vlp.corpus.window import display, spread

_SMALL = 1 << 20  # samples that any file may hold
# samples that one byte may stand for: deflate makes 1,032 bytes of one and a JPEG block needs two bits; LZW runs are longer
_MOST_PER_BYTE = {"TIFF": 4096}
_MOST_PER_BYTE_ELSE = 1100
_COLOUR_STEP = 24  # difference between channels that compression of a gray image does not make
_COLOUR_PART = 0.02  # of the pixels: more is a colour image, less a coloured mark on a radiograph


class Undecodable(Exception):
    """A file that is not one gray image. The text is the remedy and holds nothing of the file's content."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(remedy)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Decoded:
    """One decoded image in MONOCHROME2 sense: air is 0."""

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # [H, W]; uint8 as stored, uint16 over 0-65535
    spacing_mm: float | None  # of a pixel in the plane of the object where the file says so, else of the detector
    photometric: str  # as in the file
    window_path: str  # vlp.corpus.window.display, or "stored" for an 8-bit picture without a window
    decoder: str  # pydicom, imagecodecs, pillow, numpy
    bits: int  # of a stored value
    rows: int  # of the file's image as it is looked at, before pixels are made square
    columns: int


def decode(path: Path) -> Decoded:
    """Read one image file.

    Raises:
        Undecodable: with reason missing_file, empty_file, not_an_image, no_pixels, float_pixels, truncated_image,
            undecodable, multi_frame, colour_image or image_too_large.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise Undecodable("missing_file", "The index names a file that cannot be read; export it again.") from None
    return decode_bytes(data)


def decode_bytes(data: bytes) -> Decoded:
    """:func:`decode` for the content of a file."""
    if not data:
        raise Undecodable("empty_file", "The file has no content; export it again.")
    if data[:6] == b"\x93NUMPY":
        return _numpy(data)
    if data[128:132] == b"DICM":
        return _dicom(data, force=False)
    if data[:8] == b"\x89PNG\r\n\x1a\n" or data[:3] == b"\xff\xd8\xff" or data[:4] in (b"II*\0", b"MM\0*"):
        return _picture(data)
    return _dicom(data, force=True)


def _dicom(data: bytes, force: bool) -> Decoded:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values of the file
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        try:
            return _read_dicom(data, force)
        except (Undecodable, MemoryError):
            raise
        except Exception:  # any access to a damaged element can raise, with types of pydicom's, struct's or numpy's own
            raise Undecodable("undecodable", "The DICOM header is damaged; export the file again.") from None


def _read_dicom(data: bytes, force: bool) -> Decoded:
    ds = pydicom.dcmread(io.BytesIO(data), force=force)
    rows, columns = int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    if force and not ds.get("SOPClassUID") and not rows:
        raise Undecodable("not_an_image", "The file is neither DICOM nor PNG, JPEG, TIFF or NPY.")
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        raise Undecodable("float_pixels", "The pixels are fractions, as of a measured map; leave it out of the export.")
    if "PixelData" not in ds:
        if rows and columns:
            raise Undecodable("truncated_image", "The file has no pixels where its header says so; export it again.")
        raise Undecodable("no_pixels", "The DICOM object holds no image; leave it out of the export.")
    _check_shape(ds, rows, columns)
    stored, decoder = _frame(ds)
    stored, bits = _within_bits(stored, ds)
    pixels, window_path = display(stored, ds, bits)
    pixels, spacing = _square_pixels(pixels, ds)
    photometric = str(ds.get("PhotometricInterpretation", ""))
    return Decoded(pixels, spacing, photometric, window_path, decoder, bits, rows, columns)


def _check_shape(ds: FileDataset, rows: int, columns: int) -> None:
    frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
    if frames > 1:
        raise Undecodable("multi_frame", "The file is a series of frames, not a radiograph; split it or leave it out.")
    if samples != 1 or ds.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise Undecodable("colour_image", "The file is a colour image, not a radiograph; leave it out.")
    if rows < 1 or columns < 1:
        raise Undecodable("undecodable", "The header gives no image size; export the file again.")
    if rows * columns > MAX_PIXELS:
        raise _too_large()


def _frame(ds: FileDataset) -> tuple[npt.NDArray[Any], str]:
    try:
        return stored_frame(ds)
    except TooLarge:
        raise Undecodable("image_too_large", "The header claims more pixels than the data can hold.") from None
    except Exception as error:  # every plug-in raises its own types
        if isinstance(error, BadFrame) and not transfer_syntax(ds).is_encapsulated:
            raise Undecodable("truncated_image", "The file has fewer pixels than it claims; export it again.") from None
        raise Undecodable("undecodable", "No decoder can read the pixels; export the file uncompressed.") from None


def _within_bits(stored: npt.NDArray[Any], ds: FileDataset) -> tuple[npt.NDArray[Any], int]:
    """Stored values within their bits: overlay planes in unused bits are cut off, understated headers corrected."""
    if not np.issubdtype(stored.dtype, np.integer):
        raise Undecodable("undecodable", "The pixels are not whole numbers, which no radiograph in clinical use has.")
    bits = int(ds.get("BitsStored") or stored.dtype.itemsize * 8)
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    shift = int(ds.get("HighBit") or 0) + 1 - bits
    if not signed and 0 < shift < 16 and not (stored & ((1 << shift) - 1)).any():
        stored = stored >> shift  # values at the upper end of the word, as the standard allowed before 1998
    if not signed and _has_embedded_overlay(ds):
        stored = stored & np.array((1 << bits) - 1, stored.dtype)
    high, low = int(stored.max()), int(stored.min())
    needed = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (1 if signed else 0)
    bits = max(1, bits, needed)
    if bits > 16:
        if high - low > 65535:
            raise Undecodable("undecodable", "The pixels need more than 16 bits, which no radiograph has.")
        return (stored.astype(np.int64) - min(low, 0)).astype(np.uint16), 16
    return stored, bits


def _has_embedded_overlay(ds: FileDataset) -> bool:
    """Overlay planes in the unused bits of the pixels (retired, PS3.5 8.1.2): Overlay Bit Position is not 0."""
    return any(
        int(ds[0x6000 + group, 0x0102].value or 0) for group in range(0, 0x20, 2) if (0x6000 + group, 0x0102) in ds
    )


def _square_pixels(pixels: npt.NDArray[np.uint16], ds: FileDataset) -> tuple[npt.NDArray[np.uint16], float | None]:
    """Pixels of equal height and width, and their spacing in millimetres."""
    row, column, known = 1.0, 1.0, False
    for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        try:
            row, column = (float(v) for v in ds[tag].value)
        except (KeyError, TypeError, ValueError):
            continue
        if 0 < row < 100 and 0 < column < 100:
            known = tag != "PixelAspectRatio"
            if tag == "ImagerPixelSpacing":
                row, column = (v / _magnification(ds) for v in (row, column))
            break
        row, column = 1.0, 1.0
    if abs(row / column - 1) > 0.01:
        height, width = pixels.shape
        side = min(row, column)
        shape = (max(1, round(width * column / side)), max(1, round(height * row / side)))
        if max(row, column) / side > 4 or shape[0] * shape[1] > MAX_PIXELS:
            return pixels, None  # no detector has such pixels: the header is wrong
        pixels = np.asarray(cv2.resize(pixels, shape, interpolation=cv2.INTER_LINEAR), np.uint16)
        row = side
    return pixels, row if known else None


def _magnification(ds: FileDataset) -> float:
    try:
        factor = float(ds.EstimatedRadiographicMagnificationFactor)
    except (AttributeError, TypeError, ValueError):
        return 1.0
    return factor if 1 <= factor <= 3 else 1.0


def _picture(data: bytes) -> Decoded:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                if _claims_too_much(image, len(data)):
                    raise _too_large()
                if _has_second_picture(image):
                    raise Undecodable("multi_frame", "The file holds several pictures; split it or leave it out.")
                if image.format == "TIFF" and _covered(image) < image.width * image.height:
                    raise ValueError("strips are missing")  # Pillow would leave them black
                image.load()
                mode = image.mode
                upright = ImageOps.exif_transpose(image)
                if mode in ("P", "PA", "LA", "RGBA", "CMYK", "YCbCr", "1"):
                    upright = upright.convert("L" if mode in ("1", "LA") else "RGB")
                array = np.asarray(upright)
        except (Undecodable, MemoryError):
            raise
        except Image.DecompressionBombError:
            raise _too_large() from None
        except UnidentifiedImageError:
            raise Undecodable("undecodable", "The picture's header is damaged; export it again.") from None
        except Exception:  # Pillow's readers raise OSError and SyntaxError, and on damaged tags whatever they hit first
            raise Undecodable("truncated_image", "The picture is damaged or cut off; export it again.") from None
    return _plain(array, mode, "pillow")


def _too_large() -> Undecodable:
    return Undecodable(
        "image_too_large", f"The header claims more than {MAX_PIXELS} pixels, or than the file can hold."
    )


def _claims_too_much(image: Image.Image, size: int) -> bool:
    """Whether the picture has more pixels than a radiograph, or more than a file of ``size`` bytes can hold."""
    pixels, bands = image.width * image.height, len(image.getbands())
    most = _MOST_PER_BYTE.get(image.format or "", _MOST_PER_BYTE_ELSE)
    return pixels * (1 if bands < 3 else 2) > MAX_PIXELS or pixels * bands > max(_SMALL, most * size)


def _has_second_picture(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _covered(image: Image.Image) -> int:
    """Pixels for which the directory names a place in the file."""
    boxes = [tile[1] for tile in getattr(image, "tile", ())]
    return sum((box[2] - box[0]) * (box[3] - box[1]) for box in boxes if box)


def _numpy(data: bytes) -> Decoded:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(stream)
        count = math.prod(shape)
        if dtype.hasobject or count < 1 or min(shape, default=0) < 1:
            raise ValueError("no plain numbers")
        if count > 3 * MAX_PIXELS:
            raise _too_large()
        array = np.frombuffer(data, dtype, count, stream.tell()).reshape(shape, order="F" if by_column else "C")
    except Undecodable:
        raise
    except Exception:  # the header is Python source, and a damaged one raises what its parser raises
        raise Undecodable("truncated_image", "The NPY file is damaged or holds objects; write plain numbers.") from None
    return _plain(np.ascontiguousarray(array, dtype.newbyteorder("=")), "array", "numpy")


def _plain(array: npt.NDArray[Any], photometric: str, decoder: str) -> Decoded:
    """A picture without DICOM header: gray, or colour whose channels agree."""
    if array.ndim == 3 and array.shape[2] == 3:
        if array.dtype != np.uint8:
            raise Undecodable("colour_image", "The file is a colour image with more than 8 bits; leave it out.")
        difference = array.max(axis=2).astype(np.int16) - array.min(axis=2)
        if (difference > _COLOUR_STEP).mean() > _COLOUR_PART:
            raise Undecodable("colour_image", "The file is a colour image, not a radiograph; leave it out.")
        array = np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2GRAY))
    if array.ndim != 2 or not array.size:
        raise Undecodable("multi_frame", "The file holds no single plane of pixels; split it or leave it out.")
    if array.size > MAX_PIXELS:
        raise _too_large()
    if array.dtype == np.uint8:
        return Decoded(array, None, photometric, "stored", decoder, 8, *array.shape)
    try:
        pixels = spread(array)
    except ValueError:
        raise Undecodable("undecodable", "The file's values are not finite numbers.") from None
    return Decoded(pixels, None, photometric, "percentile", decoder, array.dtype.itemsize * 8, *array.shape)
