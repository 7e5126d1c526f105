"""Retain Safe Private Option (PS3.15 E.3.10): elements of table E.3.10-1 and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from anonymize.dicom.parts import Parts
from anonymize.dicom.profile import safe_private
from anonymize.dicom.values import NUMBER_VRS, joined, values_of

_PLAIN_CODE = re.compile(r"[A-Z_ ]{1,16}|[A-Z_ ]{1,12}\d{0,2}")  # no room for an identifier


def put_safe_elements(ds: Dataset, safe: Dataset, parts: Parts) -> None:
    """Add to ``safe`` what the option lets through of one level of ``ds``; nothing without it."""
    if parts.config.retain_safe_private:
        for element in _safe_elements(ds, parts):
            safe.add(element)


def _safe_elements(ds: Dataset, parts: Parts) -> Iterator[DataElement]:
    """The safe private elements of one level of ``ds`` with their creators; a block without a safe element is left out."""
    creators: set[tuple[int, int]] = set()
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset yields elements
        if not tag.is_private or tag.element < 0x1000:
            continue
        block = tag.element >> 8
        try:
            creator = str(ds[tag.group, block].value).strip()
            vr = safe_private().get((creator, tag.group, tag.element & 0xFF))
            value = _value(vr, ds[tag].value, parts) if vr else None
        except Exception:  # malformed elements cannot be judged
            continue
        if vr is None or value is None:
            continue
        if (tag.group, block) not in creators:
            creators.add((tag.group, block))
            yield DataElement((tag.group, block), "LO", creator)
        yield DataElement(tag, vr, value)


def _value(vr: str, value: Any, parts: Parts) -> Any:
    if vr in NUMBER_VRS:
        return parts.number(vr, value)
    if vr == "CS":
        found = [str(part).strip() for part in values_of(value)]
        is_safe = any(found) and all(not t or (_PLAIN_CODE.fullmatch(t) and not parts.names(t)) for t in found)
        return joined(found) if is_safe else None
    if vr in ("LO", "SH"):
        return parts.plain(value)
    return (
        None  # sequences: the table's two hold items whose elements are in the table themselves, and no film has them
    )
