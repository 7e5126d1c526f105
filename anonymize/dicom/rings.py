"""Rings around lead letters: the ring itself reads as a letter or two, so that a circled R looks like a word."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.dicom.boxes import Box

_LEAST = 10  # px a ring is high and wide at least
_FLATTEST = 2.5  # width to height, of films that were squeezed
_ROUND = 0.1  # share by which the area may differ from the ellipse's
_INK = 0.7  # share of the ellipse above which it is a disc and no ring
_CLOSED = 0.9  # share of the directions in which ink stands on the ellipse
_COVERED = 0.3  # share of the box that the ring must cover: the network's boxes have ground around a mark
_INNER = 0.7  # width and height of what is inside, of the ring's
_RAYS = 64


def inside_ring(gray: npt.NDArray[np.uint8], box: Box) -> Box | None:
    """The inner part of an ellipse drawn around what stands in ``box`` of an 8-bit image [H, W], None where there is none."""
    x0, y0, x1, y1 = box
    if max(x1 - x0, y1 - y0) > 2 * _FLATTEST * min(x1 - x0, y1 - y0):
        return None
    margin = max(4, min(x1 - x0, y1 - y0) // 4)
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    part = np.ascontiguousarray(gray[top : y1 + margin, left : x1 + margin])
    _, light = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    for ink in (light, 255 - light):
        outlines, _ = cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            x, y, w, h = cv2.boundingRect(outline)
            if w * h >= _COVERED * (x1 - x0) * (y1 - y0) and _is_ring(ink, outline):
                across, down = round(w * (1 - _INNER) / 2), round(h * (1 - _INNER) / 2)
                return left + x + across, top + y + down, left + x + w - across, top + y + h - down
    return None


def _is_ring(ink: cv2.typing.MatLike, outline: cv2.typing.MatLike) -> bool:
    """Whether an outer outline is an ellipse along the axes, nearly closed and not filled, that lies in the part."""
    x, y, w, h = cv2.boundingRect(outline)
    if min(w, h) < _LEAST or max(w, h) > _FLATTEST * min(w, h):
        return False
    if x == 0 or y == 0 or x + w == ink.shape[1] or y + h == ink.shape[0]:
        return False
    hull = np.zeros_like(ink)
    cv2.fillConvexPoly(hull, cv2.convexHull(outline), 255)
    area = np.count_nonzero(hull)
    if abs(area / (np.pi / 4 * w * h) - 1) > _ROUND or np.count_nonzero(cv2.bitwise_and(ink, hull)) > _INK * area:
        return False
    thick = cv2.dilate(ink, np.ones((3, 3), np.uint8))  # thin strokes pass between the points that are looked at
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    lit = np.zeros(_RAYS, bool)
    for share in (0.85, 0.9, 0.95, 1.0):
        across = (x + (w - 1) / 2 * (1 + share * np.cos(angles))).round().astype(int)
        down = (y + (h - 1) / 2 * (1 + share * np.sin(angles))).round().astype(int)
        lit |= thick[down, across] > 0
    return bool(lit.mean() >= _CLOSED)
