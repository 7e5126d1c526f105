"""From working images to squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp.corpus.frame import Square, body_box, content_box, shrunk, to_square, working_image


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


def _film(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Exposed tissue over 0-65535: nowhere flat, nowhere black or white."""
    return np.random.default_rng(seed).integers(9000, 50_000, shape).astype(np.uint16)


@settings(max_examples=60, deadline=None)
@given(
    borders=st.tuples(*[st.integers(0, 200)] * 4),
    levels=st.tuples(*[st.sampled_from([0, 300, 65_535, 65_200])] * 4),
    seed=st.integers(0, 9),
)
def test_borders_go_and_the_exposed_field_stays(borders, levels, seed):
    top, bottom, left, right = borders
    film = _film((700, 600), seed)
    image = np.zeros((700 + top + bottom, 600 + left + right), np.uint16)
    image[:top], image[image.shape[0] - bottom :] = levels[0], levels[1]
    inner = image[top : image.shape[0] - bottom]
    inner[:, :left], inner[:, inner.shape[1] - right :] = levels[2], levels[3]
    inner[:, left : inner.shape[1] - right] = film
    line = 2 * -(-max(image.shape) // 256)  # the search sees lines of a thumbnail, and the edge of a white border goes
    box = content_box(image)
    expected = (top, image.shape[0] - bottom, left, image.shape[1] - right)
    for found, true in zip(box, expected, strict=True):
        assert abs(found - true) <= line


def test_the_border_of_an_inverted_film_goes_as_that_of_a_plain_one():
    """Cropping comes after inversion, so the shutter of MONOCHROME1 is what it looks like: white stored as 0."""
    image = np.zeros((900, 800), np.uint16)
    image[100:800, 120:700] = _film((700, 580))
    plain, inverse = content_box(image), content_box(65_535 - image)
    assert all(abs(a - b) <= 8 for a, b in zip(plain, inverse, strict=True))


@settings(max_examples=40, deadline=None)
@given(y=st.integers(12, 60), x=st.integers(150, 560), level=st.sampled_from([0, 65_535]), size=st.integers(16, 60))
def test_a_lead_marker_in_the_border_stays(y, x, level, size):
    image = np.full((900, 800), level, np.uint16)
    image[150:850, 100:700] = _film((700, 600))
    image[y : y + size, x : x + size] = 65_535 - level
    top, bottom, left, right = content_box(image)
    assert top <= y
    assert left <= x
    assert x + size <= right
    assert bottom >= 840


def test_a_border_is_as_bright_as_the_image_gets_and_its_soft_edge_goes_too():
    """As in the hip and the lower leg of the WG-04 samples: a border of 222 of 255, and one that fades over 60 pixels."""
    image = _film((1000, 900)).astype(np.float64)
    image[:, :100] = 57_000
    fade = np.clip(np.arange(60) / 60, 0, 1)[::-1]
    ground = np.full((1000, 200), 4000.0) + np.random.default_rng(1).normal(0, 200, (1000, 200))
    image[:, 700:] = ground
    image[:, 760:] = 57_000
    image[:, 700:760] = 57_000 * (1 - fade) + 4000 * fade
    top, bottom, left, right = content_box(image.astype(np.uint16))
    assert (top, bottom) == (0, 1000)
    assert 90 <= left <= 110
    assert 700 <= right <= 740


def test_a_marker_near_a_white_border_ends_its_soft_edge():
    image = np.full((1000, 900), 65_535, np.uint16)
    image[:, 200:] = 3000
    image[300:700, 400:800] = _film((400, 400))
    image[100:160, 206:260] = 65_535
    assert content_box(image)[2] <= 206


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_halving_first_is_an_area_mean(dtype):
    most = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, most, (1003, 801)).astype(dtype)
    found = shrunk(image, (100, 125)).astype(float)
    exact = image[:1000, :800].reshape(125, 8, 100, 8).mean(axis=(1, 3))
    assert np.abs(found - exact).max() <= 0.02 * most
    assert abs(found.mean() - exact.mean()) <= 0.004 * most


@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([64, 224]))
@settings(max_examples=40, deadline=None)
def test_the_working_image_keeps_its_aspect(height, width, size):
    pixels = np.random.default_rng(0).integers(0, 65_536, (height, width)).astype(np.uint16)
    out, spacing, _ = working_image(pixels, 0.2, size, crop=False)
    assert max(out.shape) == min(size, max(height, width))
    scale = min(1.0, size / max(height, width))
    assert abs(out.shape[0] - height * scale) <= 1
    assert abs(out.shape[1] - width * scale) <= 1
    assert spacing == pytest.approx(0.2 / scale)
