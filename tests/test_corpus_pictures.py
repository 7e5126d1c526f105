"""PNG, JPEG, TIFF and NPY as they come: right, turned, transparent, cut off, many in one, and lying about their size."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlp.corpus.decode import Undecodable, decode, decode_bytes
from vlp.corpus.window import FULL, spread

GRAY = (np.add.outer(np.arange(60), np.arange(50)) * 2).astype(np.uint8)
DEEP = GRAY.astype(np.uint16) * 200


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(array: npt.NDArray[np.generic], **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_bytes(data)
    return caught.value.reason


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"compression": "packbits"}),
    ],
)
def test_lossless_pictures_keep_their_values(kind: str, options: dict[str, str]) -> None:
    eight = decode_bytes(written(Image.fromarray(GRAY), kind, **options))
    assert np.array_equal(eight.pixels, GRAY)
    assert (eight.window_path, eight.decoder, eight.bits) == ("stored", "pillow", 8)
    sixteen = decode_bytes(written(Image.fromarray(DEEP), kind, **options))
    assert np.array_equal(sixteen.pixels, spread(DEEP))
    assert sixteen.window_path == "percentile"
    gray_like = decode_bytes(written(Image.fromarray(np.dstack([GRAY] * 3)), kind, **options))
    assert np.array_equal(gray_like.pixels, GRAY)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_of_gray_and_of_gray_in_colour(options: dict[str, bool]) -> None:
    for image in (Image.fromarray(GRAY), Image.fromarray(np.dstack([GRAY] * 3))):
        found = decode_bytes(written(image, "JPEG", quality=95, **options)).pixels
        assert np.abs(found.astype(int) - GRAY).max() <= 6
    colour = np.dstack([GRAY, 255 - GRAY, GRAY])
    assert refused(written(Image.fromarray(colour), "JPEG")) == "colour_image"


@pytest.mark.parametrize(("orientation", "turns", "mirror"), [(1, 0, 0), (3, 2, 0), (6, 3, 0), (8, 1, 0), (2, 0, 1)])
def test_a_picture_stands_as_its_exif_says(orientation: int, turns: int, mirror: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.rot90(GRAY[:, ::-1] if mirror else GRAY, turns)
    assert np.array_equal(decode_bytes(written(Image.fromarray(GRAY), "PNG", exif=exif)).pixels, expected)
    found = decode_bytes(written(Image.fromarray(GRAY), "JPEG", exif=exif, quality=95)).pixels
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 6


def test_transparency_and_palettes_are_gone() -> None:
    clear = np.dstack([GRAY] * 3 + [np.full_like(GRAY, 9)])
    for image in (Image.fromarray(clear), Image.fromarray(GRAY).convert("LA"), Image.fromarray(GRAY).convert("P")):
        assert np.array_equal(decode_bytes(written(image, "PNG")).pixels, GRAY)
    bilevel = decode_bytes(written(Image.fromarray(GRAY > 100), "PNG")).pixels
    assert set(np.unique(bilevel)) == {0, 255}


def test_fractions_are_spread_and_keep_their_order() -> None:
    for dtype in (np.float32, np.float64, np.float16):
        values = GRAY.astype(dtype) / 7 - 3
        found = decode_bytes(saved(values))
        assert found.window_path == "percentile"
        assert found.bits == values.dtype.itemsize * 8
        order = np.argsort(values, axis=None, kind="stable")
        assert (np.diff(found.pixels.ravel()[order].astype(int)) >= 0).all()
        assert (found.pixels.min(), found.pixels.max()) == (0, FULL)
    picture = Image.fromarray(GRAY.astype(np.float32))
    assert decode_bytes(written(picture, "TIFF")).window_path == "percentile"


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i1", "<i2", ">i4", "<u4", "<i8", "<u8"])
def test_whole_numbers_of_any_kind(dtype: str) -> None:
    values = (GRAY // 2).astype(dtype)
    expected = GRAY // 2 if dtype == "u1" else spread(GRAY // 2)
    assert np.array_equal(decode_bytes(saved(values)).pixels, expected)
    assert np.array_equal(decode_bytes(saved(np.asfortranarray(values))).pixels, expected)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((40, 30), np.nan), "undecodable"),
        (np.full((40, 30), 1j), "undecodable"),
        (GRAY > 9, "undecodable"),
        (np.array([[-1.7e308, 1.7e308]] * 4), "undecodable"),
        (np.zeros((3, 40, 30), np.uint8), "multi_frame"),
        (np.zeros(40, np.uint8), "multi_frame"),
        (np.zeros((0, 4), np.uint8), "truncated_image"),
        (np.array("text"), "truncated_image"),
        (np.array([{}], object), "truncated_image"),
    ],
    ids=str,
)
def test_arrays_that_are_no_image(array: npt.NDArray[np.generic], reason: str) -> None:
    assert refused(saved(array, allow_pickle=True)) == reason


def test_several_pictures_in_one_file() -> None:
    one = Image.fromarray(GRAY)
    assert refused(written(one, "TIFF", save_all=True, append_images=[one])) == "multi_frame"
    other = Image.fromarray(255 - GRAY)
    assert refused(written(one, "PNG", save_all=True, append_images=[other])) == "multi_frame"


WHOLE = {
    "png": written(Image.fromarray(GRAY), "PNG"),
    "png16": written(Image.fromarray(DEEP), "PNG"),
    "jpeg": written(Image.fromarray(GRAY), "JPEG"),
    "progressive": written(Image.fromarray(GRAY), "JPEG", progressive=True),
    "tiff": written(Image.fromarray(DEEP), "TIFF"),
    "lzw": written(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
    "deflate": written(Image.fromarray(GRAY), "TIFF", compression="tiff_deflate"),
    "npy": saved(DEEP),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_cut_off_is_refused_by_name(name: str) -> None:
    """At every place but the last bytes, which no pixel needs."""
    data = WHOLE[name]
    assert decode_bytes(data).pixels.shape == GRAY.shape
    for place in range(1, len(data) - 30, max(1, len(data) // 150)):
        assert refused(data[:place]) in ("truncated_image", "undecodable", "not_an_image")


def test_a_wrong_ending_is_of_no_matter(tmp_path: Path) -> None:
    for name, data in WHOLE.items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(data)
        assert decode(path).pixels.shape == GRAY.shape


def _png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims ``width`` x ``height`` and whose data are those of GRAY."""
    data = WHOLE["png"]
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _tiff_of(height: int) -> bytes:
    """A TIFF whose directory claims ``height`` rows and names the strips of GRAY."""
    data = bytearray(written(Image.fromarray(GRAY), "TIFF"))
    at = struct.unpack("<I", data[4:8])[0]
    for n in range(struct.unpack("<H", data[at : at + 2])[0]):
        entry = at + 2 + 12 * n
        if struct.unpack("<H", data[entry : entry + 2])[0] == 257:  # ImageLength
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, height)
    return bytes(data)


def test_headers_that_claim_more_than_there_is_take_no_memory() -> None:
    huge = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000, 7000), }".ljust(117)
        + b"\n"
    )
    files = {
        _png_of(60_000, 60_000): "image_too_large",
        _png_of(20_000, 20_000): "image_too_large",
        _png_of(8000, 8000): "image_too_large",
        _tiff_of(500_000): "image_too_large",
        _tiff_of(2000): "truncated_image",
        huge: "truncated_image",
        huge.replace(b"9000", b"9" * 4 + b"9" * 9): "truncated_image",
    }
    tracemalloc.start()
    reasons = [refused(data) for data in files]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons[:-1] == list(files.values())[:-1]
    assert reasons[-1] in ("truncated_image", "image_too_large")
    assert peak < 20_000_000


def test_a_large_image_of_fractions_is_spread_in_bounded_time() -> None:
    """More pixels than the sample of the percentiles holds."""
    rows = np.linspace(-5, 5, 1500, dtype=np.float32)
    found = spread(np.repeat(rows[:, None], 1001, axis=1))
    assert (found.min(), found.max()) == (0, FULL)
    assert abs(float(found[750, 0]) / FULL - 0.5) < 0.01


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from(
        [b"", *(d[:n] for d in WHOLE.values() for n in (4, 8, 40)), b"\0" * 128 + b"DICM", b"\x93NUMPY"]
    ),
    rest=st.binary(max_size=300),
)
def test_any_bytes_are_an_image_or_are_refused_by_name(start: bytes, rest: bytes) -> None:
    try:
        found = decode_bytes(start + rest)
    except Undecodable:
        return
    assert found.pixels.ndim == 2
    assert found.pixels.size


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_changed_bytes_are_an_image_or_are_refused_by_name(name: str, data: st.DataObject) -> None:
    whole = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_bytes(bytes(whole))
    except Undecodable:
        return
    assert found.pixels.dtype in (np.uint8, np.uint16)
