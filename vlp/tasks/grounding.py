"""Pointing game: does the patch that is most like a finding's prompt lie on the finding? (Zhang et al. 2018,
arXiv 1608.00507).

A hit is an image whose most similar cell of the patch grid overlaps a box of the finding; the tolerance is therefore
half a cell. Chance is the share of cells that would be hits, and the centre baseline points at the middle of the image
whatever it shows: organs that lie in the middle, such as the heart, need no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square, body_box
from vlp.encoders.dual import DualEncoder
from vlp.study import Box, ImageRef
from vlp.tasks.features import Array, load_images

PixelBox = tuple[float, float, float, float]
"""``x0, y0, x1, y1`` in pixels; x1 and y1 excluded."""


@dataclass(frozen=True)
class Pointing:
    """The pointing game of n images; every array is [n] float64.

    Attributes:
        hit: 1 or 0.
        chance: the share of cells of the grid that overlap a box.
        centre: 1 where the middle of the image is a hit, 0 else.
    """

    hit: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]


def box_in_square(box: Box, pixels: npt.NDArray[np.uint8], square: Square) -> PixelBox | None:
    """Where ``box`` of a stored image ``pixels`` [H, W] lies in what :func:`vlp.corpus.frame.to_square` makes of it.

    Returns:
        The box in pixels of the square, cut to it; None where nothing of it is left.
    """
    height, width = pixels.shape
    side = square.side
    if square.framing == "squash":
        top, bottom, left, right = body_box(pixels)
        shape, offset = (side, side), (0, 0)
    else:
        top, bottom, left, right = 0, height, 0, width
        scale = side / max(height, width)
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        offset = ((side - shape[0]) // 2, (side - shape[1]) // 2)
    x_scale, y_scale = shape[0] / (right - left), shape[1] / (bottom - top)
    x0, x1 = (offset[0] + min(max((x - left) * x_scale, 0), shape[0]) for x in (box.x0 * width, box.x1 * width))
    y0, y1 = (offset[1] + min(max((y - top) * y_scale, 0), shape[1]) for y in (box.y0 * height, box.y1 * height))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def cells_of(boxes: Sequence[PixelBox], grid: tuple[int, int], side: float) -> npt.NDArray[np.bool_]:
    """Which cells [h, w] of a square of ``side`` pixels overlap one of ``boxes``."""
    rows, columns = np.arange(grid[0]) * side / grid[0], np.arange(grid[1]) * side / grid[1]
    found = np.zeros(grid, bool)
    for x0, y0, x1, y1 in boxes:
        tall = (rows < y1) & (rows + side / grid[0] > y0)
        wide = (columns < x1) & (columns + side / grid[1] > x0)
        found |= tall[:, None] & wide[None, :]
    return found


@torch.no_grad()
def similarity_maps(dual: DualEncoder, corpus: Corpus, refs: Sequence[ImageRef], text: Array, batch: int = 64) -> Array:
    """Cosines [n, h, w] float32 of the patches of the images ``refs`` with the embedding ``text`` [E]."""
    maps = []
    direction = torch.from_numpy(np.asarray(text, np.float32)).to(next(dual.parameters()).device)
    for start in range(0, len(refs), batch):
        patches, grid = dual.patch_embeddings(load_images(corpus, refs[start : start + batch], dual.image))
        maps.append((patches.float() @ direction).unflatten(1, grid).cpu().numpy())
    return np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32)


def pointing_game(maps: Array, boxes: Sequence[Sequence[PixelBox]], side: float) -> Pointing:
    """The game of the similarity maps [n, h, w] of squares of ``side`` pixels, each with the boxes of its finding.

    Raises:
        ValueError: an image without a box.
    """
    hit, chance, centre = (np.zeros(len(maps)) for _ in range(3))
    for row, (similarity, own) in enumerate(zip(maps, boxes, strict=True)):
        if not own:
            raise ValueError("every image of the pointing game needs a box of the finding")
        grid = (similarity.shape[0], similarity.shape[1])
        cells = cells_of(own, grid, side)
        hit[row] = cells.flat[int(similarity.argmax())]
        chance[row] = cells.mean()
        centre[row] = any(x0 <= side / 2 < x1 and y0 <= side / 2 < y1 for x0, y0, x1, y1 in own)
    return Pointing(hit, chance, centre)
