"""Stored values to display values: one look-up table per image (DICOM PS3.3 C.11.1, C.11.2; PS3.4 N.2).

Order: Modality LUT or rescale, then VOI LUT or window, then inversion of MONOCHROME1. The result is 0 for air and 65535
for the densest, whatever the file's photometric interpretation.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from vlp.corpus.grayscale import Grayscale, Values, grayscale

FULL = 65535
_SAMPLE = 1 << 20  # pixels from which the percentiles of a large image of fractions are taken
PERCENTILES = (0.5, 99.5)
# below this part of the pixels strictly between black and white, a window says nothing about this image
_LEAST_INSIDE = 0.03
_LEAST_RANGE = 0.05  # of black to white: a window that leaves less to all values together was never meant
# one stored value held by more than this part of the pixels is border, shutter or air, not anatomy
_BORDER_PART = 0.03

Stored = npt.NDArray[np.integer[Any]]


def display(stored: Stored, ds: Dataset, bits: int) -> tuple[npt.NDArray[np.uint16], str]:
    """Display values of a decoded frame.

    Args:
        stored: [H, W] integers, the values as stored.
        ds: its data set; only what :func:`vlp.corpus.grayscale.grayscale` names is read.
        bits: of a stored value; values are within them.

    Returns:
        uint16 [H, W] over 0-65535 with air at 0, and the path taken: voi_lut, window_linear, window_linear_exact,
        window_sigmoid, percentile (no window in the file), percentile_bad_window (one that says nothing of this image)
        or percentile_bad_rescale (modality values that cannot be known).
    """
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    gray = grayscale(ds, signed)
    low = -(1 << (bits - 1)) if signed else 0
    index = stored if not signed and bits <= 16 else (stored.astype(np.int32) - low).astype(np.uint16)
    counts = _counts(index, 1 << bits)
    padding = slice(0, 0)
    if gray.padding is not None:
        padding = slice(*(max(0, min(1 << bits, end)) for end in (gray.padding[0] - low, gray.padding[1] - low + 1)))
    counts[padding] = 0
    modality = gray.to_modality(np.arange(low, low + (1 << bits), dtype=np.float64))
    table, path = _voi(modality, gray, counts)
    if table is None:
        table = _percentile(modality, counts)
    if gray.inverse:
        table = 1.0 - table
    table[padding] = 0.0
    return _looked_up(np.round(table * FULL).astype(np.uint16), index), path


def _counts(index: npt.NDArray[Any], size: int) -> npt.NDArray[np.int64]:
    """How often each value below ``size`` stands in ``index`` [H, W] of 8 or 16 bits."""
    if index.size < (1 << 24) and index.dtype == np.uint16:  # OpenCV counts in single precision, exact up to here
        found = cv2.calcHist([np.ascontiguousarray(index)], [0], None, [size], [0, size])
        return found.ravel().astype(np.int64)
    return np.bincount(index.ravel(), minlength=size)


def _looked_up(table: npt.NDArray[np.uint16], index: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """``table[index]`` for ``index`` of 8 or 16 bits within the table."""
    whole = np.zeros(1 << 8 * index.dtype.itemsize, np.uint16)
    whole[: len(table)] = table
    try:
        return np.asarray(cv2.LUT(np.ascontiguousarray(index), whole), np.uint16)
    except cv2.error:  # OpenCV before 5 looks up 8 bits only
        return whole.take(index)


def spread(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Any real-valued image [H, W] without window over 0-65535 by percentiles, borders left out.

    Raises:
        ValueError: not numbers, or some that are not finite or too far apart to subtract.
    """
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        low = int(np.iinfo(pixels.dtype).min)
        index = pixels if not low else (pixels.astype(np.int32) - low).astype(np.uint16)
        size = 1 << 8 * pixels.dtype.itemsize
        table = _percentile(np.arange(low, low + size, dtype=np.float64), _counts(index, size))
        return _looked_up(np.round(table * FULL).astype(np.uint16), index)
    if pixels.dtype.kind not in "iuf" or not np.isfinite(pixels).all():
        raise ValueError("not finite numbers")
    step = max(1, pixels.size // _SAMPLE) | 1  # odd: an even step would see every second column only
    values, counts = np.unique(pixels.ravel()[::step].astype(np.float64), return_counts=True)
    ends = _ends(values, counts)
    if ends is None:
        return np.zeros(pixels.shape, np.uint16)
    with np.errstate(over="ignore"):
        width = ends[1] - ends[0]
        if not math.isfinite(width):
            raise ValueError("numbers too far apart")
        return np.round(np.clip((pixels.astype(np.float64) - ends[0]) / width, 0, 1) * FULL).astype(np.uint16)


def window(values: Values, centre: float, width: float, function: str) -> Values:
    """Window ``values`` into 0-1 after PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID).

    Raises:
        ValueError: width below 1 (LINEAR) or not above 0, or a function that the standard does not know.
    """
    if not (math.isfinite(centre) and math.isfinite(width)):
        raise ValueError("window is not finite")
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise ValueError("window width out of range")
    if function == "LINEAR":
        if width == 1:
            return (values > centre - 0.5).astype(np.float64)
        return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    raise ValueError("unknown window function")


def _voi(modality: Values, gray: Grayscale, counts: npt.NDArray[np.int64]) -> tuple[Values | None, str]:
    """The table in 0-1, or None where the file has no usable VOI: the first that shows something of this image."""
    if not gray.modality_usable:
        return None, "percentile_bad_rescale"
    if gray.voi is not None:
        table = gray.voi(modality)
        # vendors declare 16 bits and fill 12: scale by what the table really holds
        low, high = table.min(), table.max()
        if high > low and _shows(table := (table - low) / (high - low), counts):
            return table, "voi_lut"
    for centre, width in gray.windows:
        try:
            table = window(modality, centre, width, gray.function)
        except ValueError:
            continue
        if _shows(table, counts):
            return table, f"window_{gray.function.lower()}"
    return None, "percentile_bad_window" if gray.states_voi else "percentile"


def _shows(table: Values, counts: npt.NDArray[np.int64]) -> bool:
    """Whether the table tells the values apart, and some of this image's pixels lie between black and white.

    A blank image under a good window stays blank: the range is that of all values, not of those that occur.
    """
    return float(np.ptp(table)) >= _LEAST_RANGE and _inside(table, counts) >= _LEAST_INSIDE


def _inside(table: Values, counts: npt.NDArray[np.int64]) -> float:
    total = counts.sum()
    return float(counts[(table > 0.005) & (table < 0.995)].sum() / total) if total else 0.0


def _percentile(values: Values, counts: npt.NDArray[np.int64]) -> Values:
    """Values to 0-1 between :func:`_ends`."""
    ends = _ends(values, counts)
    return np.zeros(len(values)) if ends is None else np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)


def _ends(values: Values, counts: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    """Two percentiles of the exposed area: runs of equal pixels at both ends do not count. None for one shade."""
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return None
    counts = counts.copy()
    total = counts.sum()
    for end in (used[0], used[-1]):
        if counts[end] > _BORDER_PART * total and np.count_nonzero(counts) > 2:
            counts[end] = 0
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(counts[order]) / counts.sum() * 100
    low, high = (values[order[np.searchsorted(cumulated, p)]] for p in PERCENTILES)
    if high <= low:
        low, high = values[used].min(), values[used].max()
    return (float(low), float(high)) if high > low else None
