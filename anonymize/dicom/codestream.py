"""What a compressed frame says of its own size, read before a decoder allocates memory for it.

A damaged or hostile frame can claim 65535 x 65535 pixels in a few bytes; the header around it need not agree.
"""

from __future__ import annotations

from typing import NamedTuple

_FRAME_STARTS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}  # SOF0-15 without DHT, JPG, DAC; JPEG-LS SOF55
_ALONE = {0x01, *range(0xD0, 0xD9)}
_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ
_MOST_TILES = 65535  # ISO 15444-1 A.5.1


class CodedSize(NamedTuple):
    """Size of a compressed frame as its own header states it."""

    rows: int
    columns: int
    samples: int


def coded_size(frame: bytes) -> CodedSize | None:
    """The size in the first frame header of JPEG, JPEG-LS or the SIZ segment of JPEG 2000; None where there is none."""
    return _siz(frame, 4) if frame[:4] == _J2K_START else _sof(frame)


def bare_stream(frame: bytes) -> bytes:
    """``frame`` without the JP2 boxes around JPEG 2000, which DICOM forbids (PS3.5 A.4.4) and some exporters write."""
    return frame[max(0, frame.find(_J2K_START)) :] if frame[4:8] == b"jP  " else frame


def _siz(frame: bytes, at: int) -> CodedSize | None:
    """ISO 15444-1 A.5.1. Tiles beyond the standard's number, or no area, are no size."""
    if at + 38 > len(frame):
        return None
    right, bottom, left, top, tile_x, tile_y, first_x, first_y = (
        int.from_bytes(frame[at + 4 + 4 * n : at + 8 + 4 * n], "big") for n in range(8)
    )
    if right <= left or bottom <= top or not tile_x or not tile_y or first_x > left or first_y > top:
        return None
    if -(-(right - first_x) // tile_x) * -(-(bottom - first_y) // tile_y) > _MOST_TILES:
        return None
    return CodedSize(bottom - top, right - left, int.from_bytes(frame[at + 36 : at + 38], "big"))


def _sof(frame: bytes) -> CodedSize | None:
    """ISO 10918-1 B.2.2."""
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 10 <= len(frame):
        if frame[place] != 0xFF:
            return None
        marker = frame[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAME_STARTS:
            rows, columns = (int.from_bytes(frame[place + n : place + n + 2], "big") for n in (5, 7))
            return CodedSize(rows, columns, frame[place + 9]) if columns else None
        else:
            place += 2 + max(2, int.from_bytes(frame[place + 2 : place + 4], "big"))
    return None
