"""What a DICOM header says of its stored values' meaning: the gray part of the header, read so that nothing raises.

pydicom's ``apply_modality_lut`` and ``apply_voi`` are not used: they refuse tables of 12-bit entries and packed 8-bit
entries, overflow on 16-bit first values, and wrap indices of 8-bit tables with more than 256 entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A look-up table (PS3.3 C.11.1.1): ``entries[0]`` for values up to ``first``, the last for those beyond its end."""

    first: int
    entries: Values

    def __call__(self, values: Values) -> Values:
        """``values`` mapped, each rounded to the next whole number."""
        place = np.clip(np.round(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[place.astype(np.intp)]


@dataclass(frozen=True)
class Grayscale:
    """The gray part of a header."""

    modality: Table | None
    slope: float  # of the rescale; 1 where there is none or a modality table
    intercept: float
    modality_usable: bool  # False: a rescale or table is there and cannot be read or makes all values equal
    voi: Table | None
    windows: tuple[tuple[float, float], ...]  # centre and width; nan where not a number
    function: str  # VOI LUT Function; LINEAR where there is none
    states_voi: bool  # a VOI table or a window is there, readable or not
    inverse: bool  # the smallest value is white
    padding: tuple[int, int] | None  # the stored values of Pixel Padding, both ends included

    def to_modality(self, values: Values) -> Values:
        """Stored values to the output of the modality transformation."""
        return self.modality(values) if self.modality else values * self.slope + self.intercept


def grayscale(ds: Dataset, signed: bool) -> Grayscale:
    """Read ``ds``; ``signed`` says whether its stored values are.

    An enhanced object of one frame has its rescale and windows in functional groups (C.7.6.16); those of the top level go
    first. Decimal commas are read. The smallest value is white under MONOCHROME1, and under Presentation LUT Shape INVERSE.
    """
    holders = [ds]
    for group in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            item = _item(_item(ds, group), name)
            holders += [item] if item is not None else []
    modality = _table(ds, "ModalityLUTSequence", signed)
    states_rescale = any("RescaleSlope" in h and "RescaleIntercept" in h for h in holders)
    slope, intercept = (_first(holders, name) for name in ("RescaleSlope", "RescaleIntercept"))
    usable = states_rescale and all(map(math.isfinite, (slope, intercept))) and 0 < abs(slope) < 1e9
    if modality is not None or not usable or abs(intercept) > 1e12:
        slope, intercept = 1.0, 0.0
    stated = "ModalityLUTSequence" in ds
    flat = modality is not None and len(np.unique(modality.entries)) < 2
    centres, widths = (next((n for h in holders if (n := _numbers(h, k))), ()) for k in ("WindowCenter", "WindowWidth"))
    return Grayscale(
        modality=None if flat else modality,
        slope=slope,
        intercept=intercept,
        modality_usable=not ((stated and (modality is None or flat)) or (not stated and states_rescale and not usable)),
        voi=_table(ds, "VOILUTSequence", signed),
        windows=tuple(zip(centres, widths, strict=False)),
        function=next((f for h in holders if (f := _text(h, "VOILUTFunction"))), "LINEAR"),
        states_voi="VOILUTSequence" in ds or bool(centres and widths),
        inverse=_text(ds, "PhotometricInterpretation") == "MONOCHROME1"
        or _text(ds, "PresentationLUTShape") == "INVERSE",
        padding=_padding(ds, signed),
    )


def _value(ds: Dataset, keyword: str) -> Any:
    """The element's value; the bytes as they stand where pydicom cannot convert them; None where there is none."""
    try:
        return ds.get(keyword)
    except Exception:  # of pydicom, struct or the VR's own parser
        raw: Any = ds.get_item(keyword)
        return getattr(raw, "value", None)


def _numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    value = _value(ds, keyword)
    if value is None or value == "" or value == b"":
        return ()
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(map(_number, several))


def _number(value: Any) -> float:
    try:
        return float(str(value).strip(" \0").replace(",", "."))
    except (ValueError, OverflowError):
        return math.nan


def _first(holders: list[Dataset], keyword: str) -> float:
    return next((numbers[0] for h in holders if (numbers := _numbers(h, keyword))), math.nan)


def _text(ds: Dataset, keyword: str) -> str:
    value = _value(ds, keyword)
    return value.strip(" \0").upper() if isinstance(value, str) else ""


def _item(ds: Dataset | None, keyword: str) -> Dataset | None:
    found = None if ds is None else _value(ds, keyword)
    try:
        return found[0] if found and isinstance(found[0], Dataset) else None
    except (IndexError, TypeError):
        return None


def _table(ds: Dataset, keyword: str, signed: bool) -> Table | None:
    """The first item's table, or None where it is missing or shorter than its descriptor says."""
    item = _item(ds, keyword)
    if item is None:
        return None
    descriptor, data = _numbers(item, "LUTDescriptor"), _value(item, "LUTData")
    if len(descriptor) != 3 or not all(map(math.isfinite, descriptor)) or data is None:
        return None
    size, first = int(descriptor[0]) & 0xFFFF or 1 << 16, int(descriptor[1])
    if signed and first > 32767:
        first -= 65536  # written as unsigned
    entries = _entries(data, size, _big_endian(ds))
    return None if entries is None else Table(first, entries)


def _entries(data: Any, size: int, big_endian: bool) -> Values | None:
    if isinstance(data, bytes):
        if len(data) >= 2 * size:
            return np.frombuffer(data, ">u2" if big_endian else "<u2", size).astype(np.float64)
        return np.frombuffer(data, np.uint8, size).astype(np.float64) if len(data) >= size else None  # packed 8 bits
    try:
        numbers = np.atleast_1d(np.asarray(data, np.float64))
    except (TypeError, ValueError):
        return None
    return numbers[:size] if numbers.ndim == 1 and len(numbers) >= size and np.isfinite(numbers).all() else None


def _big_endian(ds: Dataset) -> bool:
    return ds.original_encoding[1] is False


def _padding(ds: Dataset, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit (C.7.5.1.1.2), also where their sign is written wrongly."""
    first = _numbers(ds, "PixelPaddingValue")
    last = _numbers(ds, "PixelPaddingRangeLimit") or first
    if not first or not all(map(math.isfinite, (first[0], last[0]))):
        return None
    low, high = sorted(_as_stored(int(v), signed) for v in (first[0], last[0]))
    return low, high


def _as_stored(value: int, signed: bool) -> int:
    if signed and 32767 < value < 65536:
        return value - 65536
    return value + 65536 if not signed and -32769 < value < 0 else value
