"""The Basic Application Level Confidentiality Profile (PS3.15 E.2) with its options, in the direction of table E.1-1.

What the table names is treated by its action under the options. What it does not name stays when its value is of a kind
that can be checked: a number, a term that PS3.3 lists, a date (moved), a UID (keyed), a code (rewritten); text goes through
the report engine and the vocabulary. Private and unknown attributes, bytes, overlays, curves, icons and group lengths go.
"""

from __future__ import annotations

from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from anonymize.dicom import values
from anonymize.dicom.keeping import plain_vr
from anonymize.dicom.parts import TIME_ZONE, Parts, tidy
from anonymize.dicom.private import put_safe_elements
from anonymize.dicom.profile import Keep, keep_list, rules

DROP = object()
"""An element that goes; None is one that stays empty."""
_GOES = frozenset((0x00880200, 0x00080110))  # icon image; names of coding schemes, as local ones are rewritten
_GROUPS = frozenset((0x0000, 0x0002, 0x0004, 0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE))
_CODE = frozenset(range(0x00080100, 0x00080130))  # attributes of a coded entry (PS3.3 tables 8.8-1 to 8.8-3)
_CODED = ("CodeValue", "LongCodeValue", "URNCodeValue", "CodeMeaning")


class BasicCleaner:
    """Direction of the table, at every depth."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.config = parts, parts.config
        self.rules = rules()
        self.keep: Keep = keep_list()

    def dataset(self, ds: Dataset) -> Dataset:
        """``ds`` or an item of a sequence as it may stay."""
        is_coded = any(keyword in ds for keyword in _CODED)
        safe = self.parts.code(ds) if is_coded else Dataset()
        for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset yields elements
            number = int(tag)
            if _is_outside(tag) or (is_coded and number in _CODE):
                continue
            vr = dictionary_VR(number)
            try:
                value = self.element(number, vr, ds[tag])
                vr = plain_vr(number, vr, ds)
            except Exception:  # malformed elements cannot be judged
                value = DROP
            if vr == "SQ" and not value:
                value = DROP  # no items: valid for type 2 only
            if value is not DROP:
                safe.add(DataElement(number, vr, value))
            elif number in self.keep.required:
                safe.add(DataElement(number, vr, [] if vr == "SQ" else None))
        tidy(safe)
        put_safe_elements(ds, safe, self.parts)
        return safe

    def element(self, tag: int, vr: str, element: DataElement) -> Any:
        """What the value of ``element`` becomes, None for empty, or :data:`DROP`."""
        rule, value = self.rules.get(tag), element.value
        if rule is None:
            return self._unlisted(tag, vr, value)
        action = rule.resolved(self.parts.enabled)
        if action in ("K", "C"):
            stays = self._stays(tag, vr, value, action)
            if stays is not None:
                return stays
            action = rule.resolved(frozenset())
        if action == "U":
            if vr == "SQ":
                return self._items(value)
            return None if (found := self.parts.uid(value)) is None else found
        if action == "D":
            return self._dummy(vr, value)
        return None if action == "Z" else DROP

    def _stays(self, tag: int, vr: str, value: Any, action: str) -> Any:
        """What an option leaves of a listed attribute; None where the profile's own action takes over."""
        if vr == "SQ":
            return self._items(value) or None
        if action == "K" or tag == TIME_ZONE:
            return self.parts.kept(tag, vr, value)
        if vr in values.TEXT_VRS:
            return self.parts.descriptor(vr, value)
        if vr in values.DATE_VRS:
            return self.parts.moment(vr, value)
        if vr == "UI":
            return self.parts.uid(value)
        if vr == "CS":
            return self.parts.term(tag, value)
        return self.parts.number(vr, value) if vr in values.NUMBER_VRS else None

    def _dummy(self, vr: str, value: Any) -> Any:
        if vr == "SQ":
            return [values.dummy_code()] if any("CodeMeaning" in item for item in value) else []
        return values.dummy(vr)

    def _unlisted(self, tag: int, vr: str, value: Any) -> Any:
        """An attribute that the table does not name."""
        if vr == "SQ":
            return DROP if tag in _GOES else self._items(value)
        if values.values_of(value) in ([], [""]):
            return None
        found = self._checked(tag, vr, value)
        return DROP if found is None else found

    def _checked(self, tag: int, vr: str, value: Any) -> Any:
        parts = self.parts
        if tag in self.keep.device:
            return parts.as_it_is(value) if self.config.retain_device_identity != "none" else None
        if tag in self.keep.vocabulary:
            return parts.plain(value)
        if tag in self.keep.closed:  # some are of VR LO
            return parts.term(tag, value)
        if vr in values.TEXT_VRS:
            return parts.descriptor(vr, value) if self.config.clean_descriptors else None
        if vr == "UI":
            return parts.uid(value)
        if vr == "CS":
            return parts.term(tag, value)
        if vr in values.DATE_VRS:
            return parts.moment(vr, value)
        if vr == "AT":
            tags = [BaseTag(part) for part in values.values_of(value)]
            return value if all(dictionary_has_tag(part) and not part.is_private for part in tags) else None
        if tag in self.keep.bytes:
            return value
        if any(part in values.NUMBER_VRS for part in vr.split(" or ")):
            return parts.number(vr, value)
        return None  # PN, AE, UR, AS and bytes

    def _items(self, items: Any) -> list[Dataset]:
        """Items without those of which nothing is left."""
        return [clean for item in items if len(clean := self.dataset(item)) or not len(item)]


def _is_outside(tag: BaseTag) -> bool:
    """Private, unknown, group length, file structure, pixels, overlay and curve groups."""
    return (
        tag.is_private
        or tag.element == 0
        or tag.group in _GROUPS
        or 0x5000 <= tag.group <= 0x50FF
        or 0x6000 <= tag.group <= 0x60FF
        or not dictionary_has_tag(int(tag))
    )
