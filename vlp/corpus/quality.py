"""Images that teach nothing or falsehoods: blank, noise, saturated, partly missing, no radiograph at all.

What is refused stands far outside of what 1,872 real radiographs show (none of them is refused); what is nearer is a
flag in the table ``decoded/``, which a user can filter by. ``benchmarks/quality.py`` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def look(pixels: npt.NDArray[np.uint8]) -> Look:
    """The figures of a working image, uint8 [h, w]."""
    height, width = pixels.shape
    scale = _LOOK / max(height, width)
    small = pixels
    if scale < 1:
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA), np.uint8)
    counts = np.bincount(small.ravel(), minlength=256) / small.size
    cumulated = np.cumsum(counts)
    low, high = np.searchsorted(cumulated, (0.01, 0.99))
    mode = int(counts.argmax())
    values = small.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    same = cv2.dilate(small, kernel) == cv2.erode(small, kernel)
    return Look(
        span=float(high - low),
        white=float(counts[254:].sum()),
        even=float((same & (small > 14) & (small < 250)).mean()),
        even_lines=max(_even_lines(values), _even_lines(values.T)),
        ground=float(counts[max(0, mode - 1) : mode + 2].sum()),
        neighbours=min(_correlation(values[:, :-1], values[:, 1:]), _correlation(values[:-1], values[1:])),
        coarse=_coarse(values),
        aspect=max(height, width) / min(height, width),
        long_side=max(small.shape),
    )


def fault(pixels: npt.NDArray[np.uint8]) -> tuple[str, str] | None:
    """Reason and remedy where the working image, uint8 [h, w], is not worth keeping; else None."""
    reason = "image_too_small" if min(pixels.shape) < _LEAST_SIDE else _wrong(look(pixels))
    return (reason, _REMEDIES[reason]) if reason else None


def flags(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Which of :data:`FLAGS` hold for a working image that is kept."""
    seen = look(pixels)
    found = (seen.white > 0.2, seen.span < 24, seen.even_lines > 0.1, seen.aspect > 4.5)
    return tuple(flag for flag, holds in zip(FLAGS, found, strict=True) if holds)


def _wrong(seen: Look) -> str:
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


def _even_lines(values: npt.NDArray[np.float32]) -> float:
    low, high = values.min(axis=1), values.max(axis=1)
    return float(((high - low <= 1) & (low > 14) & (high < 241)).mean())


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    if not first.size:
        return 1.0
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 1.0


def _coarse(values: npt.NDArray[np.float32]) -> float:
    height, width = (side // 8 * 8 for side in values.shape)
    if not height or not width:
        return 1.0
    inner = values[:height, :width]
    means = inner.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))
    spread = float(inner.var())
    return float(means.var()) / spread if spread > 0 else 1.0
