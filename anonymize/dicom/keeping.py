"""The keep-list profile: a new dataset that receives only what a rule of keep.yaml names.

Nothing is copied by default. Private elements, unknown attributes, overlays, curves, icons, signatures, free text and everything
nested in them are never looked at again.
"""

from __future__ import annotations

from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from anonymize.dicom.codes import standard_code
from anonymize.dicom.parts import Parts, tidy
from anonymize.dicom.private import put_safe_elements
from anonymize.dicom.profile import Keep, keep_list, rules
from anonymize.dicom.values import NUMBER_VRS, is_numeric, is_valid, joined, values_of

_IMAGE_TYPE = 0x00080008
_BY_OPTION = frozenset(("retain_device_identity", "retain_institution"))


class KeepListCleaner:
    """Direction of the keep-list, at every depth."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.config = parts, parts.config
        self.keep: Keep = keep_list()
        self.rules = rules()
        self.options = parts.enabled & _BY_OPTION

    def dataset(self, ds: Dataset) -> Dataset:
        """``ds`` or an item of a sequence as it may stay."""
        safe = Dataset()
        for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset yields elements
            number = int(tag)
            if tag.is_private or not dictionary_has_tag(number) or tag.group in (0x0000, 0x0002, 0x7FE0):
                continue
            vr = dictionary_VR(number)
            try:
                value = self._value(number, vr, ds[tag])
            except Exception:  # malformed elements cannot be judged
                value = None
            if value is not None:
                safe.add(DataElement(number, plain_vr(number, vr, ds), value))
            elif number in self.keep.required:
                safe.add(DataElement(number, vr, [] if vr == "SQ" else None))
        tidy(safe)
        put_safe_elements(ds, safe, self.parts)
        return safe

    def _value(self, tag: int, vr: str, element: DataElement) -> Any:
        """What ``element`` becomes; None where it does not stay."""
        keep, value = self.keep, element.value
        if tag in keep.uids:
            return self.parts.uid(value)
        if tag in keep.dates or tag in keep.times:
            return self._moment(tag, vr, value)
        if tag in keep.patient:
            return self.parts.sex(value) if tag == 0x00100040 else None  # the age is written from the birth date
        if tag in keep.descriptors:
            return self.parts.plain(value) if self.config.clean_descriptors else None
        rule = self.rules.get(tag)
        if rule is not None:
            is_named = self.options and "K" in {rule.options.get(name) for name in self.options}
            return self.parts.kept(tag, vr, value) if is_named and vr != "SQ" else None
        return self._unprofiled(tag, vr, value)

    def _moment(self, tag: int, vr: str, value: Any) -> Any:
        moved = self.parts.moment(vr, value)
        if moved is None and vr == "TM" and self.config.times == "zero":
            return "000000"  # a time says nothing then, whatever stood there
        return moved

    def _unprofiled(self, tag: int, vr: str, value: Any) -> Any:
        """Attributes that table E.1-1 does not name: only what the keep-list names."""
        keep = self.keep
        if tag in keep.standard_uids:
            return self.parts.standard_uid(value)
        if tag in keep.closed:
            values = [str(part).strip() for part in values_of(value)]
            if tag == _IMAGE_TYPE:  # a device's own third or later value becomes empty; the first two are of type 1
                values = [*values[:2], *(part if part in keep.closed[tag] else "" for part in values[2:])]
            return joined(values) if values and all(part in keep.closed[tag] for part in values) else None
        if tag in keep.vocabulary:
            return self.parts.plain(value)
        if tag in keep.device:
            return self.parts.as_it_is(value) if self.config.retain_device_identity != "none" else None
        if tag in keep.code_sequences:
            return self._codes(value)
        if tag in keep.sequences:
            return [self.dataset(item) for item in value] or None
        if tag in keep.bytes or tag in keep.pointers:
            return value
        is_number = any(part in NUMBER_VRS for part in vr.split(" or "))
        if is_number and ((tag >> 16) in keep.number_groups or tag in keep.numbers):
            return value if is_numeric(value) and (vr not in ("DS", "IS") or is_valid(vr, value)) else None
        return None

    def _codes(self, items: Any) -> list[Dataset] | None:
        clean = []
        for item in items:
            code = standard_code(item, self.keep.schemes)
            if code is not None:
                for tag in self.keep.code_sequences:
                    if tag in item:
                        code.add(DataElement(tag, "SQ", self._codes(item[tag].value) or []))
                clean.append(code)
        return clean or None


def plain_vr(tag: int, vr: str, ds: Dataset) -> str:
    """One VR where the dictionary offers several (pixel-dependent attributes, PS3.5 annex A)."""
    if " or " not in vr:
        return vr
    actual = ds[tag].VR
    return actual if actual in vr.split(" or ") else ("OW" if "OW" in vr else vr.split(" or ")[0])
