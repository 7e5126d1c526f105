"""From a decoded image to the working image (borders cut, 8 bits), and from there to a model's square."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vlp.corpus.codec import Gray, to_8bit

Framing = Literal["pad", "squash"]
Part = tuple[float, float, float, float]
"""``x0, y0, x1, y1`` as fractions of an image's width and height."""
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


class Working(NamedTuple):
    """A working image and where it comes from."""

    pixels: Gray  # [h, w]
    spacing_mm: float | None
    shown: Part  # of the image that it was made from: what lies there fills the working image


class Square(NamedTuple):
    """How an image becomes a square of ``side`` pixels.

    ``pad``: aspect kept, long side fits, centred on 0. ``squash``: cut to the body (see :func:`body_box`), then
    stretched to fill the square, so that a slender limb is not a third of what a model sees.
    """

    side: int
    framing: Framing = "pad"


_THUMBNAIL = 256  # border search runs on an image this large
_FLAT = 10.0  # of 255: the range within a line that counts as flat (noise of an area-averaged border)
_NEAR = 14.0  # of 255: how near a border line must be to the darkest or to the brightest of the image
_PENUMBRA = 0.1  # of a side: the widest soft edge of a white border
_NOISE = 4.0  # of 255: by how much a pixel of a soft edge may be brighter than its neighbour on the border's side
_BODY_LINE = 0.05  # of a line that must be bright for it to be body
_KEPT_BODY = 0.05  # of the area: less than this is no body but a spot
_KEPT_PART = 0.2  # of the area: less left than this, and the "border" was the image


def content_box(pixels: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """The image without flat border: ``top, bottom, left, right`` as slice ends.

    A border line is flat from end to end and as dark or as bright as the image gets, as shutter, collimator or unexposed
    film leave it. A line that a lead marker crosses is not flat, so markers stay. Lines are taken off the four sides in
    turn until none is flat; nothing is cut where hardly anything would be left. Only whole lines of a thumbnail are cut,
    and with a white border its soft edge, which would frame the image.
    """
    height, width = pixels.shape
    step = max(1.0, max(height, width) / _THUMBNAIL)
    small = shrunk(pixels, (max(1, round(width / step)), max(1, round(height / step)))).astype(np.float32)
    small *= 255.0 / (65535.0 if pixels.dtype == np.uint16 else 255.0)
    ends = float(small.min()), float(small.max())
    top, bottom, left, right = 0, small.shape[0], 0, small.shape[1]
    moved = True
    while moved and bottom - top > 2 and right - left > 2:
        moved = False
        inside = small[top:bottom, left:right]
        counts = (
            _border_lines(inside, ends),
            _border_lines(inside[::-1], ends),
            _border_lines(inside.T, ends),
            _border_lines(inside.T[::-1], ends),
        )
        for side, count in enumerate(counts):
            # one side at a time: its border can hide that of the others
            if count:
                top, bottom = top + count * (side == 0), bottom - count * (side == 1)
                left, right = left + count * (side == 2), right - count * (side == 3)
                moved = True
                break
    if (bottom - top) * (right - left) < _KEPT_PART * small.size:
        return 0, height, 0, width
    scale_y, scale_x = height / small.shape[0], width / small.shape[1]
    return (
        int(top * scale_y),
        min(height, int(np.ceil(bottom * scale_y))),
        int(left * scale_x),
        min(width, int(np.ceil(right * scale_x))),
    )


def _border_lines(image: npt.NDArray[np.float32], ends: tuple[float, float]) -> int:
    """How many rows from the first on are border; ``ends`` are the darkest and the brightest of the whole image.

    Where a black border meets a white one, the area mean makes one flat gray row between them; it counts too.
    """
    inner = image[:, 2:-2] if image.shape[1] > 4 else image  # in its corners a border meets those of other sides
    low, high = inner.min(axis=1), inner.max(axis=1)
    flat = high - low <= _FLAT
    border = flat & ((high <= ends[0] + _NEAR) | (low >= ends[1] - _NEAR))
    between = flat[1:-1] & border[:-2] & border[2:]
    border[1:-1] |= between
    count = int(np.argmin(border)) if not border.all() else 0
    return count + (_soft_edge(image, count) if count and low[count - 1] > 127 else 0)


def _soft_edge(image: npt.NDArray[np.float32], first: int) -> int:
    """How many rows from ``first`` on fade from white: most of it darker than the row before and nothing brighter."""
    widest = min(len(image) - 1, first + max(1, round(_PENUMBRA * len(image))))
    for row in range(first, widest):
        before, line = image[row - 1], image[row]
        fall = float(np.median(before - line))
        if fall < 0.5 or (line > before + _NOISE).any():
            return row - first
        if line.mean() < 127:  # down to middle gray
            return row - first + (fall > 2 * _FLAT)  # the row in which a sharp edge lies
    return widest - first


def working_image(
    pixels: npt.NDArray[Any], spacing_mm: float | None, size: int, crop: bool = True, depth: int = 8
) -> Working:
    """[h, w] with long side ``size`` (smaller images keep their size), aspect kept, its spacing in mm, and its part.

    Args:
        pixels: uint8 or uint16 (over 0-65535) [H, W]. Area mean, so that thin fracture lines are dimmed, not skipped.
        depth: 8 gives uint8; 16 gives uint16 where ``pixels`` are, for what comes with 8 bits gains none.
    """
    whole_height, whole_width = pixels.shape
    top, left = 0, 0
    if crop:
        top, bottom, left, right = content_box(pixels)
        pixels = pixels[top:bottom, left:right]
    height, width = pixels.shape
    scale = min(1.0, size / max(height, width))
    if scale < 1:
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        step = 1 << _halvings(height, width, shape)
        height, width = height // step * step, width // step * step
        pixels = shrunk(pixels, shape)
    if depth == 8:
        pixels = to_8bit(pixels)
    shown = left / whole_width, top / whole_height, (left + width) / whole_width, (top + height) / whole_height
    return Working(np.ascontiguousarray(pixels), None if spacing_mm is None else spacing_mm / scale, shown)


def shrunk(pixels: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """``pixels`` [H, W] at (width, height) ``shape``, not larger: the area mean, first by halves as often as they fit.

    OpenCV takes means of two by two pixels ten times as fast as over parts of pixels. A last line without a partner at
    the right or the lower edge is left out.
    """
    height, width = pixels.shape
    for _ in range(_halvings(height, width, shape)):
        height, width = height // 2, width // 2
        pixels = cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA))


def _halvings(height: int, width: int, shape: tuple[int, int]) -> int:
    """How often both sides can be halved and stay at least (width, height) ``shape``."""
    count = 0
    while width >> (count + 1) >= shape[0] and height >> (count + 1) >= shape[1]:
        count += 1
    return count


def body_box(pixels: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The part of a working image that the body fills: ``top, bottom, left, right`` as slice ends.

    From the first to the last line of which a twentieth is brighter than an eighth of the brightest tissue (99th
    percentile: a metal marker is smaller). A marker beside the body falls outside. Where hardly anything would be left,
    all of it.
    """
    bright = pixels > np.percentile(pixels, 99) / 8
    rows = np.flatnonzero(bright.mean(axis=1) > _BODY_LINE)
    columns = np.flatnonzero(bright.mean(axis=0) > _BODY_LINE)
    height, width = pixels.shape
    if not len(rows) or not len(columns):
        return 0, height, 0, width
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if (bottom - top) * (right - left) < _KEPT_BODY * height * width:
        return 0, height, 0, width
    return top, bottom, left, right


def to_square(pixels: npt.NDArray[np.uint8], square: Square) -> npt.NDArray[np.uint8]:
    """A working image [H, W] as uint8 [side, side]; area mean where it shrinks."""
    size = square.side
    height, width = pixels.shape
    if square.framing == "squash":
        top, bottom, left, right = body_box(pixels)
        pixels, shape = pixels[top:bottom, left:right], (size, size)
    else:
        scale = size / max(height, width)
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    if shape != pixels.shape[::-1]:
        way = cv2.INTER_AREA if shape[0] * shape[1] < pixels.size else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, shape, interpolation=way), np.uint8)
    out = np.zeros((size, size), np.uint8)
    top, left = (size - shape[1]) // 2, (size - shape[0]) // 2
    out[top : top + shape[1], left : left + shape[0]] = pixels
    return out
