"""From a decoded image to the working image: borders cut, long side at the working size, 8 bits."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

_THUMBNAIL = 256  # border search runs on an image this large
_FLAT = 10.0  # of 255: the range within a line that counts as flat (noise of an area-averaged border)
_NEAR = 14.0  # of 255: how near a border line must be to black, to white or to the outermost line
_KEPT_PART = 0.2  # of the area: less left than this, and the "border" was the image


def content_box(pixels: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """The image without flat border: ``top, bottom, left, right`` as slice ends.

    A border line is flat from end to end and black or white as the shutter, collimator or unexposed film leave it. A line
    that a lead marker crosses is not flat, so markers stay. Lines are taken off the four sides in turn until none is
    flat; nothing is cut where hardly anything would be left. Cuts are whole thumbnail lines, rounded outwards.
    """
    height, width = pixels.shape
    step = max(1.0, max(height, width) / _THUMBNAIL)
    small = cv2.resize(
        pixels, (max(1, round(width / step)), max(1, round(height / step))), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    small *= 255.0 / (65535.0 if pixels.dtype == np.uint16 else 255.0)
    top, bottom, left, right = 0, small.shape[0], 0, small.shape[1]
    moved = True
    while moved and bottom - top > 2 and right - left > 2:
        moved = False
        if _border(small[top, left:right]):
            top, moved = top + 1, True
        if _border(small[bottom - 1, left:right]):
            bottom, moved = bottom - 1, True
        if _border(small[top:bottom, left]):
            left, moved = left + 1, True
        if _border(small[top:bottom, right - 1]):
            right, moved = right - 1, True
    if (bottom - top) * (right - left) < _KEPT_PART * small.size:
        return 0, height, 0, width
    scale_y, scale_x = height / small.shape[0], width / small.shape[1]
    return (
        max(0, int((top - 1) * scale_y)) if top else 0,
        min(height, int(np.ceil((bottom + 1) * scale_y))) if bottom < small.shape[0] else height,
        max(0, int((left - 1) * scale_x)) if left else 0,
        min(width, int(np.ceil((right + 1) * scale_x))) if right < small.shape[1] else width,
    )


def _border(line: npt.NDArray[np.float32]) -> bool:
    low, high = float(line.min()), float(line.max())
    return high - low <= _FLAT and (high <= _NEAR or low >= 255 - _NEAR)


def working_image(
    pixels: npt.NDArray[Any], spacing_mm: float | None, size: int, crop: bool = True
) -> tuple[npt.NDArray[np.uint8], float | None]:
    """uint8 [h, w] with long side ``size`` (smaller images keep their size), aspect kept, and its spacing in mm.

    Args:
        pixels: uint8 or uint16 (over 0-65535) [H, W]. Area mean, so that thin fracture lines are dimmed, not skipped.
    """
    if crop:
        top, bottom, left, right = content_box(pixels)
        pixels = pixels[top:bottom, left:right]
    height, width = pixels.shape
    scale = min(1.0, size / max(height, width))
    if scale < 1:
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.ascontiguousarray(pixels, np.uint8), None if spacing_mm is None else spacing_mm / scale
