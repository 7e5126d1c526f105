"""What both profiles do with a value once they have decided that something of it stays."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from anonymize.dates import whole_weeks
from anonymize.dicom import values
from anonymize.dicom.codes import standard_code
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.profile import rules, terms
from anonymize.dicom.texts import Patient, Texts, patient_of, texts_of
from anonymize.dicom.words import identity_tokens, is_plain, tokens, vocabulary
from anonymize.keys import Keys, normalise_identifier

_AGE = re.compile(r"(\d{3})([DWMY])")
TIME_ZONE = 0x00080201
_UNIT = re.compile(r"[A-Za-z%µ0-9./*^{}\[\]'()-]{1,16}")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def offset_days(config: DicomConfig, keys: Keys, patient: str) -> int:
    """The days by which the dates of ``patient`` (identifier) move."""
    offset = keys.date_offset_days(patient)
    return whole_weeks(offset) if config.keep_weekdays else offset


class Parts:
    """Values of one instance, cleaned by kind. Every method gives None where nothing may stay."""

    def __init__(self, ds: Dataset, config: DicomConfig, keys: Keys) -> None:
        self.source, self.config, self.keys = ds, config, keys
        self.offset = offset_days(config, keys, normalise_identifier(str(ds.get("PatientID", "") or "")))
        self.identity = identity_tokens(ds)
        self.words = vocabulary(tuple(config.languages))
        self.enabled = config.options()

    @cached_property
    def patient(self) -> Patient:
        """What free text is searched for."""
        return patient_of(self.source)

    @cached_property
    def texts(self) -> Texts:
        """The report engine of this process."""
        return texts_of(tuple(self.config.languages), self.keys, self.config.keep_weekdays)

    def uid(self, value: Any) -> Any:
        """UIDs of the standard as they are, all others keyed (PS3.15 E.3.9: kept under Retain UIDs)."""
        found = [text for part in values.values_of(value) if (text := str(part).strip(" \0"))]
        if not all(_UID.fullmatch(text) for text in found):
            found = [self.keys.uid(text) for text in found]  # not even a UID: never as it is
        elif not self.config.retain_uids:
            found = [text if text in UID_dictionary else self.keys.uid(text) for text in found]
        return values.joined(found) if found else None

    def standard_uid(self, value: Any) -> str | None:
        """A UID that the standard itself registers."""
        return str(value) if str(value) in UID_dictionary else None

    def moment(self, vr: str, value: Any) -> Any:
        """DA, DT and TM as ``retain_longitudinal`` says."""
        if self.config.retain_longitudinal == "none":
            return None
        if self.config.retain_longitudinal == "full":
            return values.kept_moment(vr, value)
        return values.moved(vr, value, self.offset, keep_times=self.config.times == "keep")

    def plain(self, value: Any) -> Any:
        """Text of which every word is in the vocabulary; all or nothing."""
        found = [str(part).strip() for part in values.values_of(value)]
        is_safe = any(found) and all(is_plain(text, self.words, self.identity) for text in found)
        return values.joined(found) if is_safe else None

    def descriptor(self, vr: str, value: Any) -> Any:
        """Free text through the engine and the vocabulary: the words that may stay, in a form that is valid for ``vr``."""
        limit = values.TEXT_LENGTH.get(vr)
        found = []
        for part in values.values_of(value):
            text = self.texts.descriptor(str(part), self.patient).replace("\\", " ")
            found.append(text if limit is None else text[:limit].strip())
        return values.joined(found) if any(found) else None

    def as_it_is(self, value: Any) -> Any:
        """Text without a part of a name or identifier of the instance: devices, institutions."""
        found = [str(part).strip()[:64] for part in values.values_of(value)]
        return values.joined(found) if any(found) and not any(self.names(text) for text in found) else None

    def names(self, text: str) -> bool:
        """Whether ``text`` holds a part of a name or identifier of the instance."""
        return not self.identity.isdisjoint(tokens(text))

    def term(self, tag: int, value: Any) -> Any:
        """Code strings that PS3.3 lists for the attribute; another among several becomes empty."""
        allowed = terms().get(tag, frozenset())
        found = [text if (text := str(part).strip()) in allowed else "" for part in values.values_of(value)]
        while found and not found[-1]:
            found.pop()
        return values.joined(found) if any(found) else None

    def number(self, vr: str, value: Any) -> Any:
        """Values that parse as numbers and are not an identifier of the instance."""
        if not values.is_numeric(value) or (vr in ("DS", "IS") and not values.is_valid(vr, value)):
            return None
        return None if any(self.names(str(part)) for part in values.values_of(value)) else value

    def code(self, item: Dataset) -> Dataset:
        """A coded entry with the standard's own meaning; a local code becomes a keyed one, its meaning a descriptor."""
        known = standard_code(item)
        if known is not None:
            return known
        scheme, value = str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", "") or "").strip()
        clean = Dataset()
        if scheme == "UCUM" and _UNIT.fullmatch(value) and not re.search(r"\d{3}", value) and not self.names(value):
            clean.CodeValue, clean.CodingSchemeDesignator, clean.CodeMeaning = value, "UCUM", value
            return clean
        whole = "\0".join(str(item.get(k, "")) for k in ("CodingSchemeDesignator", "CodeValue", "LongCodeValue"))
        clean.CodeValue = self.keys.pseudonym("code", whole)[:16]
        clean.CodingSchemeDesignator = "99VLP"
        meaning = item.get("CodeMeaning") if self.config.clean_descriptors else None
        clean.CodeMeaning = self.descriptor("LO", meaning) or "Local code"
        return clean

    def kept(self, tag: int, vr: str, value: Any) -> Any:
        """A value that an option keeps (K of table E.1-1), as far as it is valid and names nobody."""
        if tag == TIME_ZONE:
            return self.zone(value)
        if vr in values.DATE_VRS:
            return self.moment(vr, value)
        if vr == "UI":
            return self.uid(value)
        if vr in values.NUMBER_VRS:
            return self.number(vr, value)
        if vr == "AS":
            match = _AGE.fullmatch(str(value))
            return ("089Y" if match[2] == "Y" and int(match[1]) > 89 else match[0]) if match else None
        names = self.enabled.intersection(rules()[tag].options)
        is_thing = names & {"retain_device_identity", "retain_institution"}
        if vr in values.TEXT_VRS or vr == "CS":
            if is_thing:
                found = self.as_it_is(value)
                return found if found is not None and values.is_valid(vr, found) else None
            return self.term(tag, value) if vr == "CS" else self.descriptor(vr, value)
        return None

    def zone(self, value: Any) -> str | None:
        """The offset from UTC where times stay."""
        keeps_times = self.config.retain_longitudinal == "full" or self.config.times == "keep"
        return str(value) if keeps_times and re.fullmatch(r"[+-]\d{4}", str(value)) else None

    def sex(self, value: Any) -> str | None:
        """F, M or O."""
        return str(value) if self.config.retain_patient_characteristics and str(value) in ("F", "M", "O") else None


def tidy(safe: Dataset) -> None:
    """Cut the look-up tables of ``safe`` to the number of entries that their descriptors state (PS3.3 C.7.6.3.1.5, C.11.1), and
    take away a pointer to an attribute that went."""
    if "FrameIncrementPointer" in safe:
        pointed = values.values_of(safe.FrameIncrementPointer)
        if not pointed or not all(tag in safe for tag in pointed):
            del safe.FrameIncrementPointer
    for name, descriptor in _TABLES.items():
        stated = values.values_of(safe.get(descriptor))
        if name not in safe:
            continue
        if len(stated) != 3:
            del safe[name]
            continue
        count, bits = (int(stated[0]) & 0xFFFF) or 65536, int(stated[2])
        data = safe[name].value
        safe[name].value = (
            data[: _table_size(data, count, bits)]
            if isinstance(data, bytes)
            else values.joined(values.values_of(data)[:count])
        )


def _table_size(data: bytes, entries: int, bits: int) -> int:
    """Bytes of a look-up table (PS3.3 C.11.1.1); tables of 8 bits may hold two entries in a word."""
    size = 2 * entries
    if bits <= 8 and (len(data) < size or (any(data[:size:2]) and any(data[1:size:2]))):
        return entries + entries % 2
    return size


_TABLES = {
    "LUTData": "LUTDescriptor",
    "RedPaletteColorLookupTableData": "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableData": "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableData": "BluePaletteColorLookupTableDescriptor",
}
