"""The pointing game against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vlp.corpus.frame import Square, to_square
from vlp.study import Box
from vlp.tasks.grounding import box_in_square, cells_of, pointing_game


def test_a_cell_is_hit_where_it_overlaps_a_box() -> None:
    found = cells_of([(10, 0, 21, 10)], (4, 4), 40)  # cells of 10 pixels: the second column and a pixel of the third
    assert np.argwhere(found).tolist() == [[0, 1], [0, 2]]


def test_hits_chance_and_centre_of_three_images() -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 1, 1] = maps[1, 0, 0] = maps[2, 0, 1] = 1
    boxes = [[(6.0, 6.0, 8.0, 8.0)], [(6.0, 6.0, 8.0, 8.0)], [(0.0, 3.0, 8.0, 5.0)]]
    game = pointing_game(maps, boxes, 8)
    assert game.hit.tolist() == [1, 0, 1]
    assert game.chance.tolist() == [0.25, 0.25, 1]
    assert game.centre.tolist() == [0, 0, 1]


def test_an_image_without_a_box_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a box"):
        pointing_game(np.zeros((1, 2, 2), np.float32), [[]], 8)


@pytest.mark.parametrize("framing", ["pad", "squash"])
def test_a_box_goes_where_its_pixels_go(framing: str) -> None:
    pixels = np.zeros((120, 60), np.uint8)
    pixels[20:100, 10:50] = 100  # the body
    pixels[40:50, 20:30] = 255  # the finding
    square = Square(64, framing)  # pyright: ignore[reportArgumentType]
    box = box_in_square(Box("x", 20 / 60, 40 / 120, 30 / 60, 50 / 120), pixels, square)
    assert box is not None
    rows, columns = np.nonzero(to_square(pixels, square) > 180)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.array(box) - seen).max() <= 1


def test_a_box_beside_the_body_is_not_in_the_square() -> None:
    pixels = np.zeros((120, 60), np.uint8)
    pixels[20:100, 10:50] = 100
    beside = Box("x", 0, 0, 5 / 60, 10 / 120)
    assert box_in_square(beside, pixels, Square(64, "squash")) is None
    assert box_in_square(beside, pixels, Square(64, "pad")) is not None
