"""From working images to squares."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlp.corpus.frame import Square, body_box, to_square


def _limb(height: int = 120, width: int = 100, left: int = 40, right: int = 60) -> np.ndarray:
    pixels = np.full((height, width), 4, np.uint8)
    pixels[10:, left:right] = 150
    return pixels


def test_padding_keeps_aspect_and_fills_with_zero():
    out = to_square(np.full((40, 20), 200, np.uint8), Square(32))
    assert out.shape == (32, 32)
    assert (out[:, 8:24] == 200).all()
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    assert to_square(np.full((3, 300), 9, np.uint8), Square(16)).max() == 9


def test_squashing_fills_the_square_with_the_limb():
    pixels = _limb()
    pixels[20:24, 80:84] = 255  # a lead marker beside it
    assert body_box(pixels) == (10, 120, 40, 60)
    assert (to_square(pixels, Square(32, "squash")) == 150).all()
    assert (to_square(pixels, Square(32)) == 150).mean() < 0.25


def test_an_image_without_a_body_stays_whole():
    assert body_box(np.zeros((30, 20), np.uint8)) == (0, 30, 0, 20)
    spot = np.zeros((100, 100), np.uint8)
    spot[50:58, 50:58] = 200
    assert body_box(spot) == (0, 100, 0, 100)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.sampled_from(["pad", "squash"]), st.integers(0, 9)
)
def test_every_image_becomes_a_square(height, width, side, framing, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    out = to_square(pixels, Square(side, framing))
    assert out.shape == (side, side)
    assert out.dtype == np.uint8
