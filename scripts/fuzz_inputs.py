"""Mutations of ``fuzz_decode.py``: what an attacker, a bad disk or a bad exporter does to a file.

An input is a function of ``(seed, index)`` alone, so a finding is made again from its two numbers.
"""

from __future__ import annotations

import io
import random
import struct
import zlib

import pydicom
from fuzz_sources import LARGEST, Source
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

LONGEST = 400_000  # bytes of an input
_SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 92, 201, 202, 203)),
    "1.2.840.10008.1.2.4.100",
    "1.2.3.4",
]
_PICTURES = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "PALETTE COLOR", "")
_NUMBERS = ("0", "1", "-1", "0.5", "1e9", "-4096", "1e-30", "nan", "inf", "4,5", "", "1\\2", "65536", "1e400", "x")
_SHORTS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 64, 255, 256, 4096, 32767, 32768, 65535)
_LONGS = (0, 1, 2, 7, 255, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def make(all_sources: list[Source], seed: int, index: int) -> tuple[Source, bytes]:
    """Input ``index`` of the run with ``seed``."""
    rng = random.Random(f"{seed}/{index}")
    source = rng.choice(all_sources)
    data = source.data
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            data = rng.choice(_WAYS[source.kind])(data, rng, all_sources)
        except (struct.error, ValueError):  # the mutation before left nothing for this one to change
            continue
    return source, data[:LONGEST]


# --- mutations: (data, rng, all sources) to data ---


def _flip(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if len(out) > first:
            out[rng.randrange(first, len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _overwrite(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    """A byte, a 16-bit or a 32-bit number that breaks programs, in either byte order."""
    order = rng.choice("<>")
    value = rng.choice(
        (
            bytes([rng.randrange(256)]),
            struct.pack(order + "H", rng.choice(_SHORTS)),
            struct.pack(order + "I", rng.choice(_LONGS)),
        )
    )
    if len(data) <= first + 4:
        return data + value
    at = rng.randrange(first, len(data) - 4)
    return data[:at] + value + data[at + len(value) :]


def _cut(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    return data[: rng.randrange(first, len(data) + 1)] if len(data) >= first else data


def _remove(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    at = rng.randrange(first, len(data)) if len(data) > first else first
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 64, 1000)) :]


def _repeat(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    at = rng.randrange(first, len(data)) if len(data) > first else first
    piece = data[at : at + rng.choice((1, 2, 4, 8, 64, 1000))]
    return data[:at] + piece * rng.choice((2, 2, 3, 50)) + data[at + len(piece) :]


def _noise(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    at = rng.randrange(first, len(data)) if len(data) > first else first
    piece = rng.randbytes(rng.choice((1, 4, 16, 200)))
    return data[:at] + piece + data[at + len(piece) * rng.randrange(2) :]


def _splice(data: bytes, rng: random.Random, others: list[Source], first: int = 0) -> bytes:
    other = rng.choice(others).data
    at = rng.randrange(first, len(data)) if len(data) > first else first
    return data[:at] + other[rng.randrange(len(other)) :][: rng.choice((16, 300, LARGEST))]


_BYTES = (_flip, _overwrite, _cut, _remove, _repeat, _noise, _splice)


def _in_pixels(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    """Inside the pixel data only, so that the decoders see it."""
    at = data.rfind(b"\xe0\x7f\x10\x00")
    if at < 0:
        return _flip(data, rng, others)
    return rng.choice(_BYTES)(data, rng, others, at + rng.choice((0, 12, 28, 28)))


def _short_tag(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    """A US element of the Image Pixel Module."""
    element = rng.choice((0x02, 0x06, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103))
    for form in (b"US\x02\x00", b"\x02\x00\x00\x00"):
        at = data.find(struct.pack("<HH", 0x28, element) + form)
        if at >= 0:
            return data[: at + 8] + struct.pack("<H", rng.choice(_SHORTS)) + data[at + 10 :]
    return _overwrite(data, rng, others)


def _syntax(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return _overwrite(data, rng, others)
    (length,) = struct.unpack("<H", data[at + 6 : at + 8])
    name = rng.choice(_SYNTAXES).encode()
    name += b"\0" * (len(name) % 2)
    return data[: at + 6] + struct.pack("<H", len(name)) + name + data[at + 8 + length :]


def _elements(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    """Elements set, emptied or taken away, through pydicom."""
    try:
        ds = pydicom.dcmread(io.BytesIO(data), force=True)
        for _ in range(rng.randrange(1, 4)):
            _element(ds, rng, others)
        stream = io.BytesIO()
        ds.save_as(stream)
        return stream.getvalue()
    except Exception:  # what cannot be written is no input
        return _overwrite(data, rng, others)


def _element(ds: Dataset, rng: random.Random, others: list[Source]) -> None:
    way = rng.randrange(8)
    if way == 0:
        names = [e.tag for e in ds]
        del ds[rng.choice(names)]
    elif way == 1:
        ds.PhotometricInterpretation = rng.choice(_PICTURES)
    elif way == 2:
        tags = (0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00280030, 0x00181164, 0x00280008)
        ds.add_new(rng.choice(tags), "LO", rng.choice(_NUMBERS))
    elif way == 3:
        ds.VOILUTFunction = rng.choice(("LINEAR", "LINEAR_EXACT", "SIGMOID", "sigmoid", "CUBIC"))
    elif way == 4:
        item = Dataset()
        item.add_new("LUTDescriptor", rng.choice(("US", "SS")), [rng.choice((0, 1, 2, 256)), rng.choice((0, 9)), 16])
        item.add_new("LUTData", rng.choice(("OW", "OB")), rng.randbytes(rng.choice((0, 1, 2, 512, 513))))
        if rng.randrange(2):
            item.ModalityLUTType = "US"
        setattr(ds, rng.choice(("VOILUTSequence", "ModalityLUTSequence")), [item][: rng.randrange(2) + 1])
    elif way == 5:
        ds.add_new(rng.choice((0x00280120, 0x00280121, 0x60000102, 0x00280004)), "US", rng.choice(_SHORTS))
    elif way == 6:
        frames = list(generate_frames(ds.PixelData, number_of_frames=1))
        ds.PixelData = encapsulate(frames * rng.choice((1, 2, 5)), has_bot=rng.random() < 0.5)
    else:
        other = pydicom.dcmread(io.BytesIO(rng.choice(others).data), force=True)
        ds.PixelData = other.PixelData


def _png_chunk(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    """A chunk changed with a right checksum; without it nothing behind the checksum is ever reached."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    if not chunks:
        return data
    chosen = rng.choice(chunks)
    if chosen[0] == b"IDAT" and rng.randrange(2):
        try:
            plain = rng.choice(_BYTES)(zlib.decompress(chosen[1])[:LARGEST], rng, others)
            chosen[1] = zlib.compress(plain * rng.choice((1, 1, 100)), 1)
        except zlib.error:
            pass
    else:
        chosen[1] = rng.choice((_flip, _overwrite, _cut))(chosen[1], rng, others)
    return data[:8] + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )


def _directory(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    """A field of the TIFF directory."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8:
        return data
    (at,) = struct.unpack(order + "I", data[4:8])
    if at + 14 > len(data):
        return _overwrite(data, rng, others)
    (fields,) = struct.unpack(order + "H", data[at : at + 2])
    entry = at + 2 + 12 * rng.randrange(max(1, min(fields, 40)))
    if rng.randrange(2):
        value = struct.pack(order + "I", rng.choice((*_LONGS, *_SHORTS)))
        return data[: entry + 8] + value + data[entry + 12 :]
    return _flip(data[: entry + 12], rng, others, entry) + data[entry + 12 :]


def _npy_header(data: bytes, rng: random.Random, others: list[Source]) -> bytes:
    pieces = {
        b"48": (b"0", b"-1", b"9" * 4, b"9" * 9, b"9" * 18, b"1"),
        b"40": (b"40, 1", b"2**30", b"9" * 10),
        b"'<": (b"'|", b"'>"),
        b"u2": (b"O8", b"V9", b"u9", b"U99", b"M8"),
        b"False": (b"True", b"None"),
    }
    old = rng.choice(list(pieces))
    return data[:128].replace(old, rng.choice(pieces[old])) + data[128:]


_WAYS = {
    "dicom": (*_BYTES, _in_pixels, _in_pixels, _in_pixels, _short_tag, _short_tag, _syntax, _elements, _elements),
    "png": (*_BYTES, _png_chunk, _png_chunk, _png_chunk, _png_chunk),
    "jpeg": _BYTES,
    "tiff": (*_BYTES, _directory, _directory, _directory),
    "npy": (*_BYTES, _npy_header, _npy_header),
}
