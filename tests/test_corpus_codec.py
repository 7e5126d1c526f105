from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from vlp.corpus.codec import decode, encode, to_8bit, to_16bit
from vlp.corpus.frame import working_image

images = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
)


@settings(max_examples=150, deadline=None)
@given(pixels=images, codec=st.sampled_from(["tiff", "png"]))
def test_what_is_stored_is_read_again_by_us_and_by_pillow(pixels, codec):
    data = encode(pixels, codec)
    assert data == encode(np.asfortranarray(pixels), codec)
    found = decode(data)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(np.asarray(picture), pixels)


def test_a_large_image_gives_the_same_bytes_again():
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8), (501, 611))
    assert len({encode(pixels) for _ in range(5)}) == 1
    assert len(encode(pixels)) < pixels.size / 3


@settings(max_examples=200, deadline=None)
@given(data=st.data(), codec=st.sampled_from(["tiff", "png"]))
def test_broken_bytes_are_refused_or_read_never_worse(data, codec):
    stored = bytearray(encode(np.arange(600, dtype=np.uint16).reshape(20, 30), codec))
    if data.draw(st.booleans()):
        del stored[data.draw(st.integers(0, len(stored) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if stored:
            stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(stored))
    except ValueError:
        return
    assert found.ndim == 2


@pytest.mark.parametrize(("codec", "at"), [("tiff", 21), ("tiff", 33), ("png", 16), ("png", 20)])
def test_a_header_that_claims_too_much_takes_no_memory(codec, at):
    """A changed byte made the decoder ask for 42 GiB."""
    stored = bytearray(encode(np.zeros((20, 30), np.uint16), codec))
    stored[at] = 68
    with pytest.raises(ValueError, match="gray"):
        decode(bytes(stored))


def test_what_is_no_gray_image_is_refused():
    for wrong in (np.zeros((0, 3), np.uint8), np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3), np.float32)):
        with pytest.raises(ValueError, match="gray"):
            encode(wrong)
    colour = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    for data in (b"", b"II*\0", b"GIF89a", colour):
        with pytest.raises(ValueError, match="gray"):
            decode(data)


def test_eight_bits_come_back_from_sixteen():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(to_8bit(to_16bit(levels)), levels)
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.abs(to_8bit(deep) / 255 - deep / 65535).max() <= 0.5 / 255 + 1e-9


def test_depth_keeps_what_the_source_has():
    deep = cv2.resize(np.random.default_rng(0).integers(0, 65536, (9, 7), dtype=np.uint16), (80, 100))
    kept, *_ = working_image(deep, None, 50, crop=False, depth=16)
    flat, *_ = working_image(deep, None, 50, crop=False)
    assert (kept.dtype, flat.dtype) == (np.uint16, np.uint8)
    assert np.array_equal(to_8bit(kept), flat)
    assert working_image(to_8bit(deep), None, 50, crop=False, depth=16)[0].dtype == np.uint8
