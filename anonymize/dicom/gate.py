"""The cheap gate before the search: which parts of a film hold strokes as thin and sharp as writing has them.

Writing crowds strokes: of 534 lines drawn in 85 fonts (14 to 48 px) on films of 300 px and more each has a window of
32 x 32 px where at least 246 pixels stand out by 34 levels in a top-hat of 9 px and in a gradient of 3 px; lungs and soft
tissue have none. Half of that is asked for, because a gate must lose nothing; the network runs on those parts only. Films
that were enlarged are not gated: enlarging softens strokes, and it did lose lines there.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom.boxes import Box

Gray = npt.NDArray[np.uint8]

CELL = 32  # px
STROKE = 30  # levels of 255 that a stroke stands out by
CROWD = 120  # stroke pixels in a window of one cell's size
_CONTEXT = 1  # cells around a crowded one that the network sees as well
_WHOLE = 0.7  # share of a part above which it is not divided further
_SMALL = np.ones((3, 3), np.uint8)
_WIDE = np.ones((9, 9), np.uint8)


def crowded(gray: Gray) -> list[Box]:
    """Parts of an 8-bit image [H, W] that may hold writing, in its pixels, with some ground around them."""
    height, width = gray.shape
    cells = _crowded_cells(gray)
    grown = cv2.dilate(cells, np.ones((2 * _CONTEXT + 1, 2 * _CONTEXT + 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=4)
    boxes: list[Box] = []
    for index in range(1, count):
        x, y, w, h = (int(v) for v in stats[index, :4])
        boxes += _divided((labels[y : y + h, x : x + w] == index) & (cells[y : y + h, x : x + w] > 0), x, y)
    if sum((x1 - x0 + 2) * (y1 - y0 + 2) for x0, y0, x1, y1 in boxes) >= _WHOLE * cells.size:
        return [(0, 0, width, height)]
    return [
        (
            max(0, (x0 - _CONTEXT) * CELL),
            max(0, (y0 - _CONTEXT) * CELL),
            min(width, (x1 + _CONTEXT) * CELL),
            min(height, (y1 + _CONTEXT) * CELL),
        )
        for x0, y0, x1, y1 in boxes
    ]


def _divided(cells: npt.NDArray[np.bool_], x: int, y: int) -> list[Box]:
    """Boxes in cells around the true ones; a box that is mostly empty is cut across its longer side."""
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    cells = cells[top : rows[-1] + 1, left : columns[-1] + 1]
    x, y = x + left, y + top
    h, w = cells.shape
    if max(h, w) <= 8 or cells.mean() >= _WHOLE:
        return [(x, y, x + w, y + h)]
    if h >= w:
        return _divided(cells[: h // 2], x, y) + _divided(cells[h // 2 :], x, y + h // 2)
    return _divided(cells[:, : w // 2], x, y) + _divided(cells[:, w // 2 :], x + w // 2, y)


def _crowded_cells(gray: Gray) -> Gray:
    """1 for each cell [ceil(H/32), ceil(W/32)] that a crowded window of one cell's size touches."""
    hat = np.maximum(cv2.morphologyEx(gray, cv2.MORPH_TOPHAT, _WIDE), cv2.morphologyEx(gray, cv2.MORPH_BLACKHAT, _WIDE))
    sharp = np.minimum(hat, cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, _SMALL))
    height, width = gray.shape
    strokes = (sharp >= STROKE).astype(np.float32)
    half = CELL // 2  # sums over half cells, then over each window of two by two of them: windows at every 16 px
    strokes = cv2.copyMakeBorder(strokes, 0, -height % CELL, 0, -width % CELL, cv2.BORDER_CONSTANT, value=(0.0,))
    rows, columns = strokes.shape[0] // half, strokes.shape[1] // half
    sums = cv2.resize(strokes, (columns, rows), interpolation=cv2.INTER_AREA) * (half * half)
    windows = sums[:-1, :-1] + sums[1:, :-1] + sums[:-1, 1:] + sums[1:, 1:]
    full = (windows >= CROWD).astype(np.uint8)
    touched = np.zeros((rows, columns), np.uint8)
    for down in (0, 1):
        for right in (0, 1):
            touched[down : rows - 1 + down, right : columns - 1 + right] |= full
    return touched.reshape(rows // 2, 2, columns // 2, 2).max((1, 3))
