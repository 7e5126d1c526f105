"""A short line laid straight: lead marks are put on the cassette by hand, and a tilted LAT reads as four letters."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom.boxes import Box

Gray = npt.NDArray[np.uint8]

_STEEPEST = 25.0  # degrees
_MOST_INK = 0.5  # share of the part that letters cover
_HIGH = 0.5  # height of a letter, of the highest one's
_LEAST = 5  # px a letter is high
_WIDE = 0.65  # width of the letters, of the box's: less may be the clear part of a longer line
_LOST = 0.2  # share of the ink in the box that need not be letters


@dataclass(frozen=True)
class Straight:
    """A line turned level: the image it lies in, its box there, and how many separate letters it has."""

    gray: Gray
    box: Box
    letters: int


def straight(gray: Gray, box: Box) -> Straight | None:
    """The line in ``box`` of an 8-bit image [H, W] turned level; None where it does not stand free on its ground.

    Letters are what is lighter (or darker) by Otsu's threshold, covers less than half and touches no edge; they have to be
    nearly all of the ink in the box, and nearly as wide as the box.
    """
    height = box[3] - box[1]
    margin = max(3, height // 4)
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    part = np.ascontiguousarray(gray[top : box[3] + margin, left : box[2] + margin])
    if min(part.shape) < 2 * _LEAST:
        return None
    _, light = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    ink = np.asarray(light if (light > 0).mean() <= _MOST_INK else 255 - light, np.uint8)
    kept, letters = _letters(ink)
    within = np.s_[box[1] - top : box[3] - top, box[0] - left : box[2] - left]
    if not letters or np.count_nonzero(kept[within]) < (1 - _LOST) * np.count_nonzero(ink[within]):
        return None
    ys, xs = np.nonzero(kept)
    points = np.stack([xs, ys], 1).astype(np.float32)
    (x, y), (w, h), angle = cv2.minAreaRect(points)
    turns = round(angle / 90.0)  # OpenCV's versions differ in which side the angle is of
    angle = angle - 90.0 * turns
    if turns % 2:
        w, h = h, w
    if abs(angle) > _STEEPEST or w < _WIDE * (box[2] - box[0]):
        return None
    rows, columns = part.shape
    turn = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    turned = cv2.warpAffine(part, turn, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    level = (
        max(0, int(x - w / 2) - 1),
        max(0, int(y - h / 2) - 1),
        min(columns, int(np.ceil(x + w / 2)) + 2),
        min(rows, int(np.ceil(y + h / 2)) + 2),
    )
    return Straight(np.asarray(turned, np.uint8), level, letters)


def _letters(ink: Gray) -> tuple[npt.NDArray[np.bool_], int]:
    """Where the high pieces of ink that touch no edge are, [H, W], and how many pieces."""
    rows, columns = ink.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    free = [
        index
        for index, (x, y, w, h, _area) in enumerate(stats[:count].tolist())
        if index and x > 0 and y > 0 and x + w < columns and y + h < rows and h >= _LEAST
    ]
    high = max((int(stats[index][3]) for index in free), default=0)
    free = [index for index in free if stats[index][3] >= _HIGH * high]
    return np.isin(labels, free), len(free)
