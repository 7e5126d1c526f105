"""Frames by imagecodecs are those of a second decoder, what it refuses is still read, and no file takes time or memory."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import io
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from dicom_factory import device, film, instance
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from test_phantom_dicom import SYNTAXES

from anonymize.dicom import frames
from anonymize.dicom.codestream import CodedSize, bare_stream, coded_size
from anonymize.dicom.frames import BadFrame, TooLarge, stored_frame, stored_frames, transfer_syntax
from anonymize.dicom.watched import TookTooLong, within

JPEGLS, J2K, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
# CharLS counts to 2^31 on it: a film of 48 x 40 pixels, near-lossless, cut off and flipped by scripts/fuzz_decode.py
SPINS = base64.b64decode(
    "/9j/6AAgU1BJRkYAAgAAAQAAADAAAAAoChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQADAAKAEBEQD/+AANAf//ABsAUgEpAED/2gAIAQEAAwAA"
    "QWAQECBDAoYCDCgghihgjKEIQhCEIqGqhiIRUowKXkDAQGAQEGAwKCQYKAgMsgyhLkBg2BhgwIhkQwEMCFBAQoYEUEBYYYECBAYZIIIKFIRDAYCK"
    "CKEMEIEFGCFGUKMIQxUEEEEFGIgEBCGMIoQghNUYwpQhRgMBGMvYMRAQJRYMIQQQsIUEIIQgQQqUJQEZQoyowRkMJEoMpFRhKME1EohKBCFQqJMK"
    "EIQRYJEEYRGCOEohGIRIoRUVUVEwwoZUmImKImCpiKhgrRmIqKkiKoiYZYqmDTCREwjMRERUWCQVUURSJxNsUGUwKIiI5BGIkwiaioQgjIU="
)


def _own(folder: Path) -> list[Path]:
    """Files with Pixel Data below ``folder`` that say their transfer syntax (nothing is fetched)."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            if "PixelData" in pydicom.dcmread(path) and pydicom.dcmread(path).file_meta.TransferSyntaxUID:
                found.append(path)
        except Exception:  # the set holds broken files on purpose, and files of other kinds
            continue
    return found


def _files() -> list[Path]:
    package = importlib.util.find_spec("data_store")  # pydicom-data, where it is installed
    more = package.submodule_search_locations or [] if package else []
    return [p for place in (Path(pydicom.__file__).parent / "data", *map(Path, more)) for p in _own(place)]


# the set holds them on purpose: cut off, without a transfer syntax or sizes, with a value that is no number
BROKEN = {"JPEG2000-embedded-sequence-delimiter", "MR_truncated", "badVR", "nested_priv_SQ", "meta_missing_tsyntax"}


def _second(ds: Dataset) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """The first frame by every other decoder that reads it."""
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        if int(ds.BitsAllocated) > 1 and ds.PhotometricInterpretation != "YBR_FULL_422":
            yield "numpy", _native(ds)
        return
    for plugin in get_decoder(syntax).available_plugins:
        try:
            signed = int(ds.get("PixelRepresentation") or 0) == 1
            yield plugin, pixel_array(ds, index=0, raw=True, correct_unused_bits=signed, decoding_plugin=plugin)
        except Exception:  # not every plug-in reads every file
            continue


def _native(ds: Dataset) -> npt.NDArray[np.generic]:
    order = "<" if ds.file_meta.TransferSyntaxUID.is_little_endian else ">"
    kind = "ui"[int(ds.get("PixelRepresentation") or 0)]
    shape = [int(ds.Rows), int(ds.Columns)]
    samples = int(ds.get("SamplesPerPixel") or 1)
    if samples > 1:
        shape = [samples, *shape] if ds.PlanarConfiguration == 1 else [*shape, samples]
    data = ds.PixelData
    if ds.BitsAllocated == 8 and order == ">":  # bytes in words
        data = (
            np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
            if ds["PixelData"].VR == "OW"
            else data
        )
    array = np.frombuffer(data, f"{order}{kind}{int(ds.BitsAllocated) // 8}", int(np.prod(shape))).reshape(shape)
    return np.moveaxis(array, 0, -1) if samples > 1 and ds.PlanarConfiguration == 1 else array


def _check_values(path: Path) -> None:
    ds = pydicom.dcmread(path)
    if path.stem in BROKEN:
        with pytest.raises(BadFrame):
            stored_frame(ds)
        return
    found, _ = stored_frame(ds, count=int(ds.get("NumberOfFrames") or 1))
    whole = stored_frames(ds)
    assert np.array_equal(whole[0], found)
    assert len(whole) == int(ds.get("NumberOfFrames") or 1)
    assert found.dtype.isnative
    mask = (1 << int(ds.BitsStored)) - 1
    for name, expected in _second(ds):
        assert np.array_equal(found.astype(np.int64) & mask, expected.astype(np.int64) & mask), name


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_values_are_those_of_a_second_decoder(path: Path) -> None:
    _check_values(path)


@pytest.mark.filterwarnings("ignore")
def test_real_films_have_the_values_of_a_second_decoder(shared: Path) -> None:
    paths = _own(shared / "data" / "dicom")
    assert len(paths) == 11
    for path in paths:
        _check_values(path)


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_phantom_films_come_back_as_they_were_drawn(syntax: str) -> None:
    pixels = film()
    ds = instance(with_device=device(transfer_syntax=syntax, photometric="MONOCHROME2"), pixels=pixels)
    found, _ = stored_frame(ds)
    assert np.array_equal(found, pixels)


def encapsulated(syntax: str, pieces: list[bytes], shape: tuple[int, int], bits: int = 12, **tags: object) -> Dataset:
    ds = instance(pixels=film((2, 2)))
    ds.Rows, ds.Columns = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    if len(pieces) > 1:
        ds.NumberOfFrames = len(pieces)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.PixelData = encapsulate(pieces, has_bot=False)
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


ENCODERS = {
    "1.2.840.10008.1.2.4.57": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    "1.2.840.10008.1.2.4.70": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    JPEGLS: imagecodecs.jpegls_encode,
    J2K: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", reversible=True),
    "1.2.840.10008.1.2.4.201": lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}


@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda syntax: UID(syntax).name)
def test_many_frames_come_in_one_walk(syntax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [film((40, 36), seed=seed) for seed in range(5)]
    ds = encapsulated(syntax, [bytes(ENCODERS[syntax](pixels)) for pixels in drawn], (40, 36))
    walks = []
    monkeypatch.setattr(frames, "generate_frames", lambda *a, **k: walks.append(1) or generate_frames(*a, **k))
    assert np.array_equal(stored_frames(ds), np.stack(drawn))
    assert len(walks) == 1
    assert np.array_equal(stored_frame(ds, 3, count=5)[0], drawn[3])
    ds.NumberOfFrames = 6
    with pytest.raises(ValueError, match="frames"):
        stored_frames(ds)


def test_a_signed_frame_keeps_its_sign() -> None:
    values = np.array([[-5, 7], [2047, -2048]], np.int16)
    frame = bytes(imagecodecs.jpegls_encode((values & 0xFFF).astype(np.uint16)))
    found, decoder = stored_frame(encapsulated(JPEGLS, [frame], (2, 2), PixelRepresentation=1))
    assert decoder == "imagecodecs"
    assert np.array_equal(found, values)


def test_a_damaged_frame_raises() -> None:
    ds = instance(with_device=device(transfer_syntax=pydicom.uid.JPEG2000Lossless))
    ds.PixelData = ds.PixelData[:40] + b"\0" * (len(ds.PixelData) - 40)
    with pytest.raises(Exception):  # noqa: B017, PT011 - any type: see the docstring
        stored_frame(ds)


def test_a_file_without_meta_information_is_read_by_its_encoding() -> None:
    stream = io.BytesIO()
    ds = instance(pixels=film())
    expected = stored_frame(ds)[0]
    del ds.file_meta
    pydicom.dcmwrite(stream, ds, implicit_vr=True, little_endian=True, enforce_file_format=False)
    bare = pydicom.dcmread(io.BytesIO(stream.getvalue()), force=True)
    assert not bare.file_meta
    assert transfer_syntax(bare) == ImplicitVRLittleEndian
    assert np.array_equal(stored_frame(bare)[0], expected)


def test_single_bits_run_on_from_frame_to_frame() -> None:
    """Three frames of 5 x 5 bits are 75 bits: 10 bytes, not 12."""
    bits = np.random.default_rng(0).integers(0, 2, (3, 5, 5)).astype(np.uint8)
    ds = instance(pixels=film((5, 5)))
    ds.NumberOfFrames, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 3, 1, 1, 0
    ds.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    assert len(ds.PixelData) == 10
    assert np.array_equal(stored_frames(ds), bits)


def test_a_frame_states_its_size() -> None:
    pixels = film((30, 26))
    for encode in ENCODERS.values():
        assert coded_size(bytes(encode(pixels))) == CodedSize(30, 26, 1)
    colour = np.dstack([pixels.astype(np.uint8)] * 3)
    assert coded_size(imagecodecs.jpeg8_encode(colour)) == CodedSize(30, 26, 3)
    boxed = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="JP2", reversible=True))
    assert coded_size(bare_stream(boxed)) == CodedSize(30, 26, 1)
    for n in range(60):
        for encode in ENCODERS.values():
            assert coded_size(bytes(encode(pixels))[:n]) in (None, CodedSize(30, 26, 1))


def test_jp2_boxes_do_not_make_a_reader_walk_in_circles() -> None:
    """pydicom's get_j2k_parameters follows a box of length 0 for ever."""
    pixels = film((30, 26))
    boxed = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="JP2", reversible=True))
    endless = boxed[:12] + b"\0\0\0\0" + boxed[16:]
    assert np.array_equal(stored_frame(encapsulated(J2K, [endless], (30, 26)))[0], pixels)


BIG = (8000, 8000)


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (J2K, bytes(ENCODERS[J2K](film((30, 26))))),
        (JPEGLS, bytes(imagecodecs.jpegls_encode(film((30, 26))))),
        (RLE, np.array([2, 64, 66, *[0] * 13], "<u4").tobytes() + b"\x81\0\x81\0"),
        ("1.2.840.10008.1.2.4.70", bytes(ENCODERS["1.2.840.10008.1.2.4.70"](film((30, 26))))),
        (str(ExplicitVRLittleEndian), b"\0" * 64),
    ],
)
def test_few_bytes_do_not_take_much_memory(syntax: str, frame: bytes) -> None:
    """The header claims what the frame has not, then both claim it."""
    ds = encapsulated(syntax, [frame], BIG)
    if not UID(syntax).is_encapsulated:
        ds.PixelData = frame
    tracemalloc.start()
    with pytest.raises(BadFrame):
        stored_frames(ds)
    ds.NumberOfFrames = 100_000
    with pytest.raises(TooLarge):
        stored_frames(ds)
    ds.Rows, ds.Columns, ds.NumberOfFrames = 30, 26, 1
    if syntax not in (RLE, str(ExplicitVRLittleEndian)):
        place = (
            frame.find(b"\xff\x51") + 6 if syntax == J2K else max(frame.find(b"\xff\xc3"), frame.find(b"\xff\xf7")) + 5
        )
        claim = (60_000).to_bytes(4, "big") * 2 if syntax == J2K else (60_000).to_bytes(2, "big") * 2
        ds.PixelData = encapsulate([frame[:place] + claim + frame[place + len(claim) :]], has_bot=False)
        with pytest.raises(BadFrame, match="contradicts"):
            stored_frame(ds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_many_tiles_or_components_are_no_size() -> None:
    frame = bytes(ENCODERS[J2K](film((600, 500))))
    one_pixel_tiles = frame[:24] + (1).to_bytes(4, "big") * 2 + frame[32:]
    assert coded_size(one_pixel_tiles) is None
    many = frame[:40] + (16384).to_bytes(2, "big") + frame[42:]
    with pytest.raises(BadFrame, match="contradicts"):
        stored_frame(encapsulated(J2K, [many], (600, 500)))


def test_a_jpeg_ls_frame_that_spins_is_given_up() -> None:
    began = time.thread_time()
    with pytest.raises(TookTooLong):
        stored_frame(encapsulated("1.2.840.10008.1.2.4.81", [SPINS], (48, 40), 8))
    assert time.thread_time() - began < 1
    assert within(1.0, lambda: 7) == 7
    with pytest.raises(KeyError):
        within(1.0, lambda: {}["nothing"])


@pytest.mark.parametrize(
    "starts", [[2, 64, 5000], [2, 64, 64], [2, 70, 66], [2, 3, 66], [1, 64], [15, *range(64, 79)], [2, 64, 2**31], []]
)
def test_rle_segments_out_of_place_are_refused(starts: list[int]) -> None:
    """pylibjpeg-rle panics on them, which no ``except Exception`` catches."""
    frame = np.array([*starts, *[0] * (16 - len(starts))], "<u4").tobytes() + b"\x81\0" * 20
    with pytest.raises(BadFrame):
        stored_frame(encapsulated(RLE, [frame], (30, 26)))


def test_rle_that_is_too_short_is_refused() -> None:
    frame = np.array([2, 64, 66, *[0] * 13], "<u4").tobytes() + b"\x81\0\x81\0"
    with pytest.raises(Exception):  # noqa: B017, PT011 - of the codec's own type
        stored_frame(encapsulated(RLE, [frame], (30, 26)))


def test_nothing_under_the_gpl_and_no_plugin_that_crashes_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("pylibjpeg-libjpeg")
    for name in ("libjpeg", "gdcm", "jpeg_ls", "rle"):
        monkeypatch.setitem(sys.modules, name, None)
    asked: list[str] = []

    def plugin(*args: object, decoding_plugin: str = "", **options: object) -> None:
        asked.append(decoding_plugin)
        raise ValueError

    monkeypatch.setattr(frames, "pixel_array", plugin)
    pixels = film((30, 26))
    broken = b"\xff\xd8" + b"\xff\xc3\0\x0b\x0c\0\x1e\0\x1a\1\1\x11\0" + b"\0" * 40
    for syntax, encode in ENCODERS.items():
        assert np.array_equal(stored_frame(encapsulated(syntax, [bytes(encode(pixels))], (30, 26)))[0], pixels)
        assert not asked
        jpeg_2000 = syntax in (J2K, "1.2.840.10008.1.2.4.201")
        frame = bytes(encode(pixels))[:100] if jpeg_2000 else broken
        with pytest.raises(ValueError):  # noqa: PT011 - of whoever was asked last
            stored_frame(encapsulated(syntax, [frame], (30, 26)))
        assert set(asked) <= ({"pylibjpeg", "pillow"} if jpeg_2000 else {"pillow"})
        asked.clear()


@pytest.mark.parametrize("bits", range(2, 17))
def test_lossless_jpeg_of_every_precision_and_predictor(bits: int) -> None:
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (33, 29)).astype(np.uint8 if bits <= 8 else np.uint16)
    for predictor in range(1, 8):
        frame = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)
        found, decoder = stored_frame(encapsulated("1.2.840.10008.1.2.4.57", [bytes(frame)], (33, 29), bits))
        assert np.array_equal(found, pixels)
        assert decoder == "imagecodecs"


def test_a_lossless_jpeg_with_a_damaged_table_does_not_end_the_process() -> None:
    """liblj92, which imagecodecs asks where libjpeg refuses, writes past its memory on it (scripts/fuzz_decode.py)."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "SC_rgb_jpeg_gdcm.dcm"
    ds = pydicom.dcmread(path)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = encapsulate([frame[:36] + frame[37:]], has_bot=False)
    with pytest.raises(Exception):  # noqa: B017, PT011 - of whoever was asked last
        stored_frame(ds)
