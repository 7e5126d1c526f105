"""Lossless coding of a working image, 8 or 16 bits: TIFF for speed, PNG for the last byte of reach.

``tiff`` is one strip of horizontal differences (TIFF 6.0, section 14) compressed with Zstandard (libtiff's scheme
50000). Pillow, imagecodecs, tifffile and libtiff open it: ``Image.open(io.BytesIO(data))``. It takes a
quarter of the time of PNG to decode and a quarter more space (docs/prepare.md). ``png`` opens everywhere.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt

Codec = Literal["tiff", "png"]
Gray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
SUFFIXES: dict[Codec, str] = {"tiff": "tif", "png": "png"}
MEDIA_TYPES: dict[Codec, str] = {"tiff": "image/tiff", "png": "image/png"}

_TIFF, _PNG = b"II*\0", b"\x89PNG"
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_ZSTD_LEVEL = 3  # level 9 saves 2 % and triples the time
_MOST = 2**26  # pixels of an image; `vlp prepare` refuses larger ones
# of the one directory that `encode` writes, in its order: tags, and where width and height stand in the file
_TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 296, 317)
_WIDTH, _HEIGHT, _BITS, _SAMPLES = (18 + 12 * _TAGS.index(tag) for tag in (256, 257, 258, 277))


def encode(pixels: Gray, codec: Codec = "tiff") -> bytes:
    """``pixels`` uint8 or uint16 [H, W] as a file of their own; the same pixels give the same bytes.

    Raises:
        ValueError: other pixels, or none.
    """
    if pixels.ndim != 2 or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"no gray image of 8 or 16 bits: {pixels.dtype} {pixels.shape}")
    return _tiff(pixels) if codec == "tiff" else _png(pixels)


def decode(data: bytes) -> Gray:
    """The inverse of :func:`encode`, by what the bytes are: uint8 or uint16 [H, W].

    Raises:
        ValueError: the bytes are no such image.
    """
    start = data[:4]
    pixels: npt.NDArray[Any] | None = None
    claimed = _png_pixels(data) if start == _PNG else _tiff_pixels(data) if start == _TIFF else 0
    if not 0 < claimed <= _MOST:  # the decoders take the memory that a broken header asks for
        pass
    elif start == _PNG:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    elif start == _TIFF:
        try:
            pixels = imagecodecs.tiff_decode(data)
        except (ArithmeticError, IndexError, RuntimeError, ValueError):  # what libtiff's wrapper raises on broken files
            pixels = None
    if pixels is None or pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError("a shard holds bytes that are no gray image; run `vlp prepare` again")
    return pixels


def to_8bit(pixels: Gray) -> npt.NDArray[np.uint8]:
    """uint16 over 0-65535 to uint8 over 0-255, rounded to the nearest; uint8 passes."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def to_16bit(pixels: Gray) -> npt.NDArray[np.uint16]:
    """uint8 over 0-255 to uint16 over 0-65535; uint16 passes. :func:`to_8bit` undoes it exactly."""
    return pixels.astype(np.uint16) * np.uint16(257) if pixels.dtype == np.uint8 else np.asarray(pixels, np.uint16)


def _png_pixels(data: bytes) -> int:
    """How many pixels the header claims; 0 where there is none."""
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") if len(data) > 24 else 0


def _tiff_pixels(data: bytes) -> int:
    """How many pixels the directory claims; 0 where it is none of :func:`encode`'s."""
    end = 10 + 12 * len(_TAGS)
    if len(data) < end + 4 or struct.unpack_from("<IH", data, 4) != (8, len(_TAGS)) or any(data[end : end + 4]):
        return 0
    if tuple(tag for tag, _, _, _ in struct.iter_unpack("<HHII", data[10:end])) != _TAGS:
        return 0
    width, height, bits, samples = (struct.unpack_from("<I", data, at)[0] for at in (_WIDTH, _HEIGHT, _BITS, _SAMPLES))
    return width * height if bits in (8, 16) and samples == 1 else 0


def _png(pixels: Gray) -> bytes:
    # run lengths after PNG's filters: on radiographs smaller than level 6 and written in a quarter of its time
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    ok, data = cv2.imencode(".png", pixels, how)
    if not ok:
        raise ValueError(f"an image of shape {pixels.shape} cannot be written as PNG")
    return data.tobytes()


def _tiff(pixels: Gray) -> bytes:
    """Written here because imagecodecs' writer leaves a byte between strip and directory undefined."""
    height, width = pixels.shape
    steps = np.array(pixels, dtype=pixels.dtype.newbyteorder("<"), order="C")
    steps[:, 1:] -= pixels[:, :-1]
    strip = imagecodecs.zstd_encode(steps.tobytes(), level=_ZSTD_LEVEL)
    entries = [  # tag, type, value; sorted by tag
        (256, _LONG, width),
        (257, _LONG, height),
        (258, _SHORT, 8 * pixels.itemsize),
        (259, _SHORT, 50000),  # Zstandard
        (262, _SHORT, 1),  # black is zero
        (273, _LONG, 0),  # where the strip starts, below
        (277, _SHORT, 1),
        (278, _LONG, height),
        (279, _LONG, len(strip)),
        (282, _RATIONAL, 0),
        (283, _RATIONAL, 0),
        (296, _SHORT, 1),  # no unit: the spacing stands in the manifest
        (317, _SHORT, 2),  # horizontal differences
    ]
    ratio = 8 + 2 + 12 * len(entries) + 4
    places = {273: ratio + 8, 282: ratio, 283: ratio}
    fields = [struct.pack("<HHII", tag, kind, 1, places.get(tag, value)) for tag, kind, value in entries]
    head = [_TIFF, struct.pack("<I", 8), struct.pack("<H", len(entries)), *fields, struct.pack("<III", 0, 1, 1)]
    return b"".join([*head, strip])
