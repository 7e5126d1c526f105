"""Text burned into pixels: find lines of characters, fill them, keep side marks.

What tells console text from anatomy: strokes of one brightness, edges of one pixel, and characters of a line that
stand on one base line with like heights. Side and view marks (R, L, AP, LAT) have up to three characters and stay.
No learned model is used; ``pixels: ocr`` adds one (anonymize/dicom/ocr.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

Gray = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 excluded

WORKING_SIDE = 2400  # px; larger films are searched at this size
SMALL_SIDE = 800  # px; smaller films are searched at twice their own size, where letters of 6 px come apart
MINIMUM_CHARACTERS = 4
INNER_CHARACTERS = 6
_KERNELS = (9, 17, 35)  # px of the top-hat: strokes up to about half of it stand out
_MOST = 1200  # components a search looks at, the sharpest first


@dataclass(frozen=True)
class Finding:
    """What a search of one frame found."""

    boxes: tuple[Box, ...]  # lines of text, padded, in pixels of the frame


@dataclass(frozen=True)
class _Line:
    """A group of components in working pixels, with the median contrast of its strokes."""

    box: Box
    contrast: float


@dataclass(frozen=True)
class _Parts:
    """Components that could be characters; arrays [n] in working pixels."""

    x: npt.NDArray[np.float64]
    top: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    peak: npt.NDArray[np.float64]  # 0-255, brightest pixel
    contrast: npt.NDArray[np.float64]  # 0-255, of the strokes against what lies around them

    @property
    def bottom(self) -> npt.NDArray[np.float64]:
        return self.top + self.height

    def __len__(self) -> int:
        return len(self.x)


def find_text(frame: npt.NDArray[np.generic]) -> Finding:
    """Search one frame, [H, W] of any integer type, for lines of text, light on dark and dark on light.

    Lines seldom stand alone: where one is found, what lies a line above and below is taken on weaker signs.
    """
    gray, scale = to_gray(frame)
    lines: list[_Line] = []
    weak: list[_Line] = []
    for image in (gray, 255 - gray):
        for kernel in _KERNELS:
            strong, maybe = _lines(*_components(image, kernel, least=9 if scale > 1 else 7))
            lines += strong
            weak += maybe
    lines += _beside(lines, weak)
    return Finding(scaled(merge([pad(line.box, gray.shape) for line in lines]), scale, frame.shape))


def mask(frame: npt.NDArray[np.generic], boxes: tuple[Box, ...], *, photometric: str) -> None:
    """Fill ``boxes`` of ``frame`` in place with what is shown as black: the least value, or the largest in MONOCHROME1.

    A flat fill and not an invented background, so that a person sees what was taken away.
    """
    value = frame.max() if photometric == "MONOCHROME1" else frame.min()
    for x0, y0, x1, y1 in boxes:
        frame[y0:y1, x0:x1] = value


def to_gray(frame: npt.NDArray[np.generic]) -> tuple[Gray, float]:
    """The frame in 8 bits over its whole range, at working size, and the scale factor."""
    image = np.ascontiguousarray(frame).astype(np.float32)
    side = max(image.shape)
    scale = WORKING_SIDE / side if side > WORKING_SIDE else 2.0 if side < SMALL_SIDE else 1.0
    if scale != 1.0:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
    low, high = float(image.min()), float(image.max())
    return ((image - low) * (255.0 / max(high - low, 1.0))).round().clip(0, 255).astype(np.uint8), scale


def _components(image: Gray, size: int, least: int) -> tuple[_Parts, Gray]:
    """Sharp components at least ``least`` pixels high, and the top-hat that they stand out in."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (size, size))
    hat: Any = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    # half of the local height: letters come apart at small sizes, and faint text has its own level
    local = cv2.dilate(hat, cv2.getStructuringElement(cv2.MORPH_RECT, (2 * size + 1, 2 * size + 1)))
    ink = ((hat >= 20) & (hat >= local // 2 + 1)).astype(np.uint8)
    labels: Any
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    x, y, w, h, area = (stats[1:, i].astype(np.float64) for i in range(5))
    good = (
        (h >= 6)
        & (h <= 3 * size)
        & (w <= 6 * h)
        & (area >= 8)
        & (area >= 0.12 * w * h)
        & (area <= 0.85 * w * h + 4 * h)
    )
    chosen = np.flatnonzero(good) + 1
    if not len(chosen):
        return _Parts(*(np.zeros(0) for _ in range(6))), hat
    peak, contrast = _maximum(image, labels, count)[chosen], _maximum(hat, labels, count)[chosen]
    sharp = _sharpness(image, labels, count)[chosen] / np.maximum(contrast, 1)
    keep = np.flatnonzero(sharp > 0.42)
    if len(keep) > _MOST:
        keep = keep[np.argsort(-contrast[keep] * sharp[keep], kind="stable")[:_MOST]]
    index = chosen[keep] - 1
    return _Parts(x[index], y[index], w[index], h[index], peak[keep], contrast[keep]), hat


def _maximum(image: Gray, labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.float64]:
    """Largest value of ``image`` in each component, [count]."""
    found = np.zeros(count, np.uint8)
    inked = labels > 0
    np.maximum.at(found, labels[inked], image[inked])
    return found.astype(np.float64)


def _sharpness(image: Gray, labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.float64]:
    """Mean step across the edge of each component within three pixels, [count] in gray levels."""
    step = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    ink = (labels > 0).astype(np.uint8)
    inked = (ink - cv2.erode(ink, np.ones((3, 3), np.uint8))) > 0  # the rim: strokes of any width have one
    sums = np.bincount(labels[inked], step[inked], minlength=count)
    return sums / np.maximum(1, np.bincount(labels[inked], minlength=count))


def _lines(parts: _Parts, hat: Gray) -> tuple[list[_Line], list[_Line]]:
    """Hulls of groups that read as a line of text, and of those that would only do so beside one."""
    strong: list[_Line] = []
    weak: list[_Line] = []
    if len(parts) < 2:
        return strong, weak
    _, group = connected_components(_neighbours(parts), directed=False)
    for label in np.unique(group):
        members = np.flatnonzero(group == label)
        contrast = float(np.median(parts.contrast[members]))
        if len(members) >= 2 and _is_text(parts, members, hat.shape) and _stands_out(parts, members, hat):
            strong.append(_Line(_hull(parts, _absorb(parts, members)), contrast))
        elif len(members) >= 2 or parts.width[members[0]] >= 2 * parts.height[members[0]]:
            weak.append(_Line(_hull(parts, members), contrast))
    return strong, weak


def _beside(lines: list[_Line], weak: list[_Line]) -> list[_Line]:
    """Weak groups as high and as strong as a line, at most one and a half of its height above or below it."""
    taken = []
    for group in weak:
        for line in lines:
            height, own = line.box[3] - line.box[1], group.box[3] - group.box[1]
            apart = max(group.box[1] - line.box[3], line.box[1] - group.box[3])
            across = max(group.box[0] - line.box[2], line.box[0] - group.box[2])
            alike = 0.5 * height <= own <= 1.8 * height and group.contrast >= 0.6 * line.contrast
            if alike and apart <= 1.5 * height and across <= height:
                taken.append(group)
                break
    return taken


def _neighbours(p: _Parts) -> npt.NDArray[np.bool_]:
    """[n, n]: stand side by side on one line, alike in height and brightness."""
    h = np.maximum(p.height[:, None], p.height[None])
    alike = np.minimum(p.height[:, None], p.height[None]) >= 0.6 * h
    slack = np.maximum(1.5, 0.12 * h)
    level = (np.abs(p.bottom[:, None] - p.bottom[None]) <= slack) | (np.abs(p.top[:, None] - p.top[None]) <= slack)
    gap = p.x[None] - (p.x + p.width)[:, None]
    close = (gap >= -0.3 * h) & (gap <= 1.3 * h) & (p.x[None] > p.x[:, None])
    contrast = np.minimum(p.contrast[:, None], p.contrast[None])
    bright = np.abs(p.peak[:, None] - p.peak[None]) <= np.maximum(10, 0.3 * contrast)
    return alike & level & close & bright


def _is_text(p: _Parts, members: npt.NDArray[np.int64], shape: tuple[int, ...]) -> bool:
    """Enough characters, on one base line, of like height and brightness.

    Consoles write near the border; in the inner three fifths of the film a short line needs more characters, because
    trabeculae, screws and phalanges stand there.
    """
    height = float(np.median(p.height[members]))
    characters = float(np.maximum(1, np.round(p.width[members] / (0.75 * height))).sum())
    box = _hull(p, members)
    middle = (box[0] + box[2]) / 2 / shape[1], (box[1] + box[3]) / 2 / shape[0]
    inner = all(0.2 < place < 0.8 for place in middle)
    if characters < (INNER_CHARACTERS if inner else MINIMUM_CHARACTERS):
        return False
    if len(members) < MINIMUM_CHARACTERS:  # words whose letters touch: long, and strong
        return characters >= INNER_CHARACTERS and float(np.median(p.contrast[members])) >= 100
    slack = max(1.5, 0.08 * height)
    on_base = np.abs(p.bottom[members] - np.median(p.bottom[members])) <= slack
    on_top = np.abs(p.top[members] - np.median(p.top[members])) <= slack
    uneven = float(np.std(p.peak[members])) / float(np.median(p.contrast[members]))
    if len(members) >= 5 and float(on_base.mean()) >= 0.8 and float(on_top.mean()) >= 0.7:
        return uneven <= 0.25  # thin strokes of small letters differ; alignment this good needs no second sign
    even = uneven <= 0.1 or float(np.std(p.peak[members])) <= 5
    if len(members) >= 6:
        return even and float(on_base.mean()) >= 0.6
    return even and float(on_base.mean()) >= 0.75 and float(on_top.mean()) >= 0.6


def _stands_out(p: _Parts, members: npt.NDArray[np.int64], hat: Gray) -> bool:
    """Strokes far above what else stands out around them. Ink covers less than half of a text, so the median is ground:

    quiet behind console text, and nearly as strong as the "strokes" where noise or trabeculae only look like text.
    """
    x0, y0, x1, y1 = _hull(p, members)
    reach = 2 * (y1 - y0)
    ground = float(np.median(hat[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach]))
    return float(np.median(p.contrast[members])) >= 14 + 4 * ground


def _absorb(p: _Parts, members: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The line with what stands on it up to three characters away: initials, numbers, words after a wide gap."""
    chosen = set(members.tolist())
    height, base = float(np.median(p.height[members])), float(np.median(p.bottom[members]))
    on_line = np.abs(p.bottom - base) <= 0.35 * height
    while True:
        left = min(p.x[i] for i in chosen)
        right = max(p.x[i] + p.width[i] for i in chosen)
        near = on_line & (p.x <= right + 3 * height) & (p.x + p.width >= left - 3 * height) & (p.height <= 1.8 * height)
        more = set(np.flatnonzero(near).tolist()) - chosen
        if not more:
            return np.array(sorted(chosen))
        chosen |= more


def _hull(p: _Parts, members: npt.NDArray[np.int64]) -> Box:
    return (
        int(p.x[members].min()),
        int(p.top[members].min()),
        int((p.x + p.width)[members].max()),
        int(p.bottom[members].max()),
    )


def pad(box: Box, shape: tuple[int, ...]) -> Box:
    """Wider by two characters to each side (I and l are easily missed), half a line up and down (accents, tails)."""
    height = box[3] - box[1]
    x, y = 2 * height, int(0.4 * height) + 2
    return max(0, box[0] - x), max(0, box[1] - y), min(shape[1], box[2] + x), min(shape[0], box[3] + y)


def merge(boxes: list[Box]) -> list[Box]:
    """Boxes that mostly cover each other become one; others stay apart, so that a fill does not grow over the film."""
    merged: list[Box] = []
    for box in sorted(boxes, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])):
        for index, other in enumerate(merged):
            across = min(box[2], other[2]) - max(box[0], other[0])
            down = min(box[3], other[3]) - max(box[1], other[1])
            if across > 0 and down > 0.5 * min(box[3] - box[1], other[3] - other[1]):
                merged[index] = (
                    min(box[0], other[0]),
                    min(box[1], other[1]),
                    max(box[2], other[2]),
                    max(box[3], other[3]),
                )
                break
        else:
            merged.append(box)
    return sorted(merged)


def scaled(boxes: list[Box], scale: float, shape: tuple[int, ...]) -> tuple[Box, ...]:
    """Boxes of the working size in pixels of the frame, rounded outwards."""
    return tuple(
        (
            int(x0 / scale),
            int(y0 / scale),
            min(shape[1], int(np.ceil(x1 / scale))),
            min(shape[0], int(np.ceil(y1 / scale))),
        )
        for x0, y0, x1, y1 in boxes
    )
