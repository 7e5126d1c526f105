"""Pixel data without passengers: comments inside compressed frames, bytes behind them, entries behind those of a table."""

from __future__ import annotations

import struct
from itertools import pairwise

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, RLELossless

_JPEG_DROP = {0xFE, *range(0xE0, 0xF0)}  # comments and application data
_COLOUR = {
    0xEE: (b"Adobe", 12),
    0xE8: (b"mrfx", 5),
}  # of those, what says how colour is coded: marker -> beginning, length
_JPEG_ALONE = {0x01, *range(0xD0, 0xD8)}


class CorruptFrame(ValueError):
    """A compressed frame whose marker segments do not parse."""


def clean_encapsulated(ds: Dataset, transfer_syntax: str) -> bytes:
    """Encapsulated pixel data with a fresh offset table, its frames cleaned by :func:`clean_frame`."""
    count = int(ds.get("NumberOfFrames", 1) or 1)
    frames = generate_frames(ds.PixelData, number_of_frames=count)
    pixels = int(ds.Rows) * int(ds.Columns)
    return encapsulate([clean_frame(frame, transfer_syntax, pixels) for frame in frames])


def clean_frame(frame: bytes, transfer_syntax: str, pixels: int) -> bytes:
    """One compressed frame without comment and application segments and without bytes after its end.

    JPEG and JPEG-LS (ISO 10918-1 B.1.1, ISO 14495-1 C), JPEG 2000 (ISO 15444-1 A.4, A.9.2), RLE (PS3.5 annex G; each segment
    is cut where it has given a byte for each of ``pixels``).

    Raises:
        CorruptFrame: it does not parse, or what should go cannot be cut out.
    """
    name = UID(transfer_syntax).name
    if name.startswith("JPEG 2000") or name.startswith("High-Throughput"):
        return _clean_j2k(frame)
    if name.startswith("JPEG"):
        return _clean_jpeg(frame)
    if UID(transfer_syntax) == RLELossless:
        return _clean_rle(frame, pixels)
    raise CorruptFrame("not a known format")


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
        elif marker in _COLOUR:
            beginning, size = _COLOUR[marker]
            data = frame[place + 4 : place + 4 + size]
            if data.startswith(beginning) and place + 4 + size <= end:
                out += bytes((0xFF, marker)) + (size + 2).to_bytes(2, "big") + data
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
    return bytes(out) + frame[place : _j2k_end(frame, place)]


def _j2k_end(frame: bytes, place: int) -> int:
    """Behind the end of code stream (ISO 15444-1 A.4): tile-parts are walked by their lengths."""
    while frame[place : place + 2] == b"\xff\x90":
        length = int.from_bytes(frame[place + 6 : place + 10], "big")
        if length == 0:  # the last tile-part, up to the end of code stream
            end = frame.rfind(b"\xff\xd9")
            return end + 2 if end >= place else len(frame)
        header = place + 12
        while frame[header : header + 2] != b"\xff\x93":  # SOD ends the header of a tile-part
            size = int.from_bytes(frame[header + 2 : header + 4], "big")
            if frame[header : header + 1] != b"\xff" or frame[header + 1 : header + 2] == b"\x64" or size < 2:
                raise CorruptFrame("a comment, or no marker, in the header of a tile-part")
            header += 2 + size
        place += length
    if frame[place : place + 2] != b"\xff\xd9":
        raise CorruptFrame("no end of code stream")
    return place + 2


def _clean_rle(frame: bytes, pixels: int) -> bytes:
    offsets = struct.unpack("<16L", frame[:64].ljust(64, b"\0"))
    count = offsets[0]
    if not 0 < count <= 15 or offsets[1] != 64:
        raise CorruptFrame("no RLE header")
    bounds = [*offsets[1 : count + 1], len(frame)]
    segments = []
    for start, stop in pairwise(bounds):
        segment = frame[start : _rle_end(frame, start, stop, pixels)]
        segments.append(segment + b"\0" * (len(segment) % 2))
    places = [64 + sum(map(len, segments[:number])) for number in range(count)]
    return struct.pack("<16L", count, *places, *[0] * (15 - count)) + b"".join(segments)


def _rle_end(frame: bytes, place: int, stop: int, left: int) -> int:
    """Behind the packet that completes a segment of ``left`` bytes (PackBits)."""
    while left > 0:
        if place >= stop:
            raise CorruptFrame("a segment ends before its pixels do")
        head = frame[place]
        if head < 128:
            place, left = place + head + 2, left - head - 1
        elif head > 128:
            place, left = place + 2, left - (257 - head)
        else:
            place += 1
    if left or place > stop:
        raise CorruptFrame("a segment holds more than its pixels")
    return place
