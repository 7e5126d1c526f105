"""Pixel data without passengers: comments inside compressed frames, bytes behind them, entries behind those of a table."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, RLELossless

_JPEG_DROP = {0xFE, *range(0xE0, 0xF0)} - {0xEE, 0xE8}  # comments and application data; Adobe and SPIFF colour stay
_JPEG_ALONE = {0x01, *range(0xD0, 0xD8)}


class CorruptFrame(ValueError):
    """A compressed frame whose marker segments do not parse."""


def clean_encapsulated(ds: Dataset, transfer_syntax: str) -> bytes:
    """Encapsulated pixel data with a fresh offset table, its frames cleaned by :func:`clean_frame`."""
    count = int(ds.get("NumberOfFrames", 1) or 1)
    frames = generate_frames(ds.PixelData, number_of_frames=count)
    if transfer_syntax == RLELossless:
        return encapsulate([_clean_rle(frame, int(ds.Rows), int(ds.Columns)) for frame in frames])
    return encapsulate([clean_frame(frame, transfer_syntax) for frame in frames])


def clean_frame(frame: bytes, transfer_syntax: str) -> bytes:
    """One compressed frame without comment and application segments and without bytes after its end.

    JPEG and JPEG-LS (ISO 10918-1 B.1.1, ISO 14495-1 C) and JPEG 2000 main header (ISO 15444-1 A.9.2).
    """
    name = UID(transfer_syntax).name
    if name.startswith("JPEG 2000") or name.startswith("High-Throughput"):
        return _clean_j2k(frame)
    if name.startswith("JPEG"):
        return _clean_jpeg(frame)
    return frame


def trim_tables(ds: Dataset) -> None:
    """Cut every look-up table of ``ds``, at any depth, to the entries that its descriptor counts (PS3.3 C.11.1.1).

    A table without a usable descriptor goes.
    """
    for element in list(ds):
        if element.VR == "SQ":
            for item in element.value or []:
                trim_tables(item)
        elif (descriptor := _DESCRIPTORS.get(int(element.tag))) is not None:
            counts = ds[descriptor].value if descriptor in ds else None
            try:
                entries, bits = (int(counts[0]) & 0xFFFF or 65536), int(counts[2])  # pyright: ignore[reportOptionalSubscript]
            except (TypeError, ValueError, IndexError):
                del ds[element.tag]
                continue
            element.value = _first_entries(element.value, entries, bits)


_DESCRIPTORS = {0x00283006: 0x00283002, 0x00281201: 0x00281101, 0x00281202: 0x00281102, 0x00281203: 0x00281103}


def _first_entries(value: Any, entries: int, bits: int) -> Any:
    if not isinstance(value, bytes):
        return list(value)[:entries] if hasattr(value, "__iter__") else value
    size = 2 * entries
    if bits <= 8 and (len(value) < size or (any(value[:size:2]) and any(value[1:size:2]))):  # two entries in a word
        size = entries + entries % 2
    return value[:size]


def _clean_rle(frame: bytes, rows: int, columns: int) -> bytes:
    """The frame coded anew (PS3.5 annex G): unused offsets, gaps between segments and what follows the last row go."""
    count, *offsets = struct.unpack_from("<16L", frame) if len(frame) >= 64 else (0,)
    if not 1 <= count <= 15:
        raise CorruptFrame("no RLE header")
    ends = [*offsets[1:count], len(frame)]
    segments = []
    for start, end in zip(offsets[:count], ends, strict=True):
        try:
            plane = np.frombuffer(imagecodecs.packbits_decode(frame[start:end]), np.uint8)[: rows * columns]
        except RuntimeError:  # whatever the codec says
            raise CorruptFrame("segment that does not end where it should") from None
        if plane.size < rows * columns:
            raise CorruptFrame("segment shorter than the image")
        coded = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in plane.reshape(rows, columns))
        segments.append(coded + b"\0" * (len(coded) % 2))
    starts = np.cumsum([64, *map(len, segments)])[:-1].tolist()
    return struct.pack("<16L", count, *starts, *[0] * (15 - count)) + b"".join(segments)


def _clean_jpeg(frame: bytes) -> bytes:
    if frame[:2] != b"\xff\xd8":
        raise CorruptFrame("no SOI marker")
    out, place = bytearray(b"\xff\xd8"), 2
    while place + 1 < len(frame):
        if frame[place] != 0xFF:
            raise CorruptFrame("marker expected")
        marker = frame[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0xD9:
            return bytes(out + b"\xff\xd9")
        if marker in _JPEG_ALONE:
            out += frame[place : place + 2]
            place += 2
            continue
        length = int.from_bytes(frame[place + 2 : place + 4], "big")
        end = place + 2 + length
        if length < 2 or end > len(frame):
            raise CorruptFrame("segment longer than the frame")
        if marker not in _JPEG_DROP:
            out += frame[place:end]
        place = end
        if marker == 0xDA:
            stop = _entropy_end(frame, place)
            out += frame[place:stop]
            place = stop
    return bytes(out) + b"\xff\xd9"  # the end marker is missing: decoders accept that, so it is written


def _entropy_end(frame: bytes, place: int) -> int:
    """Where entropy-coded data ends: the next marker that is no restart (JPEG stuffs 00, JPEG-LS a bit below 80)."""
    while True:
        place = frame.find(b"\xff", place)
        if place < 0 or place + 1 >= len(frame):
            return len(frame)
        following = frame[place + 1]
        if following >= 0x80 and following not in _JPEG_ALONE and following != 0xFF:
            return place
        if 0x01 < following < 0x80 or following in _JPEG_ALONE or following == 0x00:
            place += 2
        else:
            place += 1


def _clean_j2k(frame: bytes) -> bytes:
    start = frame.find(b"\xff\x4f\xff\x51")  # SOC and SIZ; a JP2 box before them is not allowed in DICOM and goes
    if start < 0:
        raise CorruptFrame("no code stream")
    out, place = bytearray(b"\xff\x4f"), start + 2
    while frame[place : place + 2] != b"\xff\x90":  # SOT ends the main header
        length = int.from_bytes(frame[place + 2 : place + 4], "big")
        end = place + 2 + length
        if frame[place : place + 1] != b"\xff" or length < 2 or end > len(frame):
            raise CorruptFrame("main header does not parse")
        if frame[place + 1] != 0x64:  # COM
            out += frame[place:end]
        place = end
    end = frame.rfind(b"\xff\xd9")
    return bytes(out) + frame[place : end + 2 if end >= place else len(frame)]
