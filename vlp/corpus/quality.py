"""Images that teach nothing or falsehoods: blank, noise, saturated, partly missing, no radiograph at all.

What is refused stands far outside of what 1,872 real radiographs show (none of them is refused); what is nearer is a
flag in the table ``decoded/``, which a user can filter by. ``benchmarks/quality.py`` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FLAGS = ("saturated", "low_contrast", "partly_missing", "extreme_aspect")
_LEAST_SIDE = 24  # pixels
_LEAST_RANGE = 12  # of 255, between the 1st and 99th percentile
_LOOK = 224  # pixels: the long side at which an image is looked at, so that limits hold for any working size
_TEXT_SIDE = 160  # pixels: below, a page of text cannot be told from a noisy hand
_REMEDIES = {
    "image_too_small": f"The image is less than {_LEAST_SIDE} pixels wide or high after its borders are cut.",
    "blank_image": "The image is of one shade; look at the exposure or the window of the original.",
    "noise_image": "The image shows noise without any structure; look at the original.",
    "saturated_image": "More than half of the image is pure white; look at the exposure or the window of the original.",
    "missing_part": "A large part of the image is one even gray, as after a broken transfer; export it again.",
    "not_a_radiograph": "The image looks like a page of text or a captured screen; leave it out of the export.",
}


@dataclass(frozen=True)
class Look:
    """What an image looks like, each a share of its pixels or lines unless said otherwise."""

    span: float  # gray levels of 255 between the 1st and 99th percentile
    white: float  # 254 or 255
    even: float  # equal to all neighbours, neither black nor white
    even_lines: float  # rows or columns (the more) of one shade, neither black nor white
    ground: float  # within one level of the commonest
    neighbours: float  # correlation of pixels side by side, the lower of the two directions
    coarse: float  # variance of the means over 8 x 8 pixels, as a part of the variance of the pixels
    aspect: float  # long side over short side
    long_side: int  # pixels, at most 224
    short_side: int  # pixels of the working image


def look(pixels: npt.NDArray[np.uint8]) -> Look:
    """The figures of a working image, uint8 [h, w]."""
    height, width = pixels.shape
    scale = _LOOK / max(height, width)
    small = pixels
    if scale < 1:
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA), np.uint8)
    counts = cv2.calcHist([small], [0], None, [256], [0, 256]).ravel() / small.size
    cumulated = np.cumsum(counts)
    low, high = np.searchsorted(cumulated, (0.01, 0.99))
    mode = int(counts.argmax())
    kernel = np.ones((3, 3), np.uint8)
    same = cv2.compare(cv2.dilate(small, kernel), cv2.erode(small, kernel), cv2.CMP_EQ)
    even = cv2.countNonZero(cv2.bitwise_and(same, cv2.inRange(small, 15, 249))) / small.size  # pyright: ignore
    variance = _variance(small)
    return Look(
        span=float(high - low),
        white=float(counts[254:].sum()),
        even=even,
        even_lines=max(_even_lines(small), _even_lines(np.ascontiguousarray(small.T))),
        ground=float(counts[max(0, mode - 1) : mode + 2].sum()),
        neighbours=min(_alike(small[:, :-1], small[:, 1:], variance), _alike(small[:-1], small[1:], variance)),
        coarse=_coarse(small, variance),
        aspect=max(height, width) / min(height, width),
        long_side=max(small.shape),
        short_side=min(height, width),
    )


def fault(seen: Look) -> tuple[str, str] | None:
    """Reason and remedy where the image is not worth keeping; else None."""
    reason = _wrong(seen)
    return (reason, _REMEDIES[reason]) if reason else None


def flags(seen: Look) -> tuple[str, ...]:
    """Which of :data:`FLAGS` hold for an image that is kept."""
    found = (seen.white > 0.2, seen.span < 24, seen.even_lines > 0.1, seen.aspect > 4.5)
    return tuple(flag for flag, holds in zip(FLAGS, found, strict=True) if holds)


def _wrong(seen: Look) -> str:
    if seen.short_side < _LEAST_SIDE:
        return "image_too_small"
    if seen.span < _LEAST_RANGE:
        return "blank_image"
    if seen.coarse < 0.1:
        return "noise_image"
    text = seen.ground >= 0.5 and seen.neighbours <= 0.78 and seen.span >= 50 and seen.long_side >= _TEXT_SIDE
    if text:
        return "not_a_radiograph"
    if seen.even_lines > 0.4:
        return "missing_part"
    if seen.even > 0.55:  # the windows of a screen
        return "not_a_radiograph"
    return "saturated_image" if seen.white > 0.5 else ""


def _even_lines(small: npt.NDArray[np.uint8]) -> float:
    """Share of the columns that are of one shade."""
    low, high = (cv2.reduce(small, 0, kind).ravel().astype(int) for kind in (cv2.REDUCE_MIN, cv2.REDUCE_MAX))
    return float(((high - low <= 1) & (low > 14) & (high < 241)).mean())


def _variance(values: npt.NDArray[Any]) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0]) ** 2


def _alike(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], variance: float) -> float:
    """Correlation of neighbours, from the variance of their differences."""
    if not first.size or variance == 0:
        return 1.0
    return 1 - _variance(cv2.subtract(first, second, dtype=cv2.CV_16S)) / (2 * variance)


def _coarse(small: npt.NDArray[np.uint8], variance: float) -> float:
    height, width = (side // 8 for side in small.shape)
    if not height or not width or variance == 0:
        return 1.0
    whole = small[: height * 8, : width * 8].astype(np.float32)
    return _variance(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)) / variance
