"""A header made safe: a new dataset that receives only what may stay (PS3.15 Annex E, keep-list direction).

Nothing is copied by default. An attribute comes across only by a rule below; private elements, unknown attributes,
overlays, curves, icons, signatures, free text and everything nested in them are never looked at again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from anonymize import __version__, dates
from anonymize.dates import whole_weeks
from anonymize.dicom.codes import standard_code
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.profile import Keep, basic_profile, keep_list
from anonymize.dicom.words import identity_tokens, is_plain, vocabulary
from anonymize.keys import Keys, normalise_identifier

IMPLEMENTATION_UID = "2.25.191427338713915474838116226206470512293"
AGE_CAP_MONTHS = 89 * 12  # ages above 89 years count as 89, as in the reports (45 CFR 164.514(b)(2)(i)(C))
_NUMBER_VRS = {"DS", "IS", "FL", "FD", "US", "SS", "UL", "SL"}
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_METHODS = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
}


@dataclass(frozen=True)
class Linked:
    """The pseudonyms and derived facts of one instance."""

    image_id: str
    patient: str
    study: str
    series: str
    date: str  # ISO 8601, shifted; "" where unknown or removed
    age_months: int | None
    sex: str


class MissingIdentifier(ValueError):
    """Patient ID, or both study identifiers, or the SOP Instance UID are missing."""


def link(ds: Dataset, config: DicomConfig, keys: Keys) -> Linked:
    """Pseudonyms of the instance (see docs/architecture.md), its shifted date, age and sex."""
    patient = normalise_identifier(str(ds.get("PatientID", "") or ""))
    study = normalise_identifier(str(ds.get("AccessionNumber", "") or "")) or str(ds.get("StudyInstanceUID", "") or "")
    instance = str(ds.get("SOPInstanceUID", "") or "")
    if not patient or not study or not instance:
        raise MissingIdentifier
    day = _first_date(ds, "StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate")
    keep = config.age_and_sex == "keep"
    months = _age_months(ds, day) if keep else None
    sex = str(ds.get("PatientSex", "") or "").strip().upper()
    shifted = _shift(day, _offset_days(config, keys, patient)) if day and config.dates == "shift" else None
    return Linked(
        image_id=keys.pseudonym("image", instance),
        patient=keys.pseudonym("patient", patient),
        study=keys.pseudonym("study", study),
        series=keys.pseudonym("series", str(ds.get("SeriesInstanceUID", "") or instance)),
        date=shifted.isoformat() if shifted else "",
        age_months=None if months is None else min(months, AGE_CAP_MONTHS),
        sex=sex if keep and sex in ("F", "M") else "",
    )


def _offset_days(config: DicomConfig, keys: Keys, patient: str) -> int:
    offset = keys.date_offset_days(patient)
    return whole_weeks(offset) if config.keep_weekdays else offset


def clean_header(ds: Dataset, linked: Linked, config: DicomConfig, keys: Keys, *, masked: bool) -> Dataset:
    """A new dataset without pixels and file meta information: what may stay, plus the marks of de-identification.

    Args:
        masked: pixels were searched for text (and cleaned where there was some), so option 113101 is claimed.
    """
    offset = _offset_days(config, keys, normalise_identifier(str(ds.PatientID)))
    cleaner = _Cleaner(config, keys, offset, identity_tokens(ds))
    safe = cleaner.dataset(ds)
    safe.SpecificCharacterSet = "ISO_IR 192"
    safe.PatientName, safe.PatientID = f"{linked.patient}^", linked.patient
    safe.AccessionNumber = linked.study[:16]  # VR SH; the index holds the whole pseudonym
    if "StudyID" in ds:
        safe.StudyID = linked.study[:16]
    safe.StudyInstanceUID = keys.uid(str(ds.get("StudyInstanceUID", "") or linked.study))
    safe.SeriesInstanceUID = keys.uid(str(ds.get("SeriesInstanceUID", "") or linked.series))
    if linked.age_months is not None:
        safe.PatientAge = _dicom_age(linked.age_months)
    _declare(safe, config, masked)
    return safe


def clean_meta(safe: Dataset, transfer_syntax: str) -> FileMetaDataset:
    """New file meta information: no application entity titles, this implementation's UID."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = safe.SOPClassUID
    meta.MediaStorageSOPInstanceUID = safe.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "VLP_ANONYMIZE"
    return meta


class _Cleaner:
    def __init__(self, config: DicomConfig, keys: Keys, offset_days: int, identity: frozenset[str]) -> None:
        self.config, self.keys, self.offset, self.identity = config, keys, offset_days, identity
        self.keep: Keep = keep_list()
        self.profile = basic_profile()
        self.words = vocabulary(tuple(config.languages))

    def dataset(self, ds: Dataset) -> Dataset:
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
                safe.add(DataElement(number, _plain_vr(number, vr, ds), value))
            elif number in self.keep.required:
                safe.add(DataElement(number, vr, [] if vr == "SQ" else None))
        return safe

    def _value(self, tag: int, vr: str, element: DataElement) -> Any:
        """What ``element`` becomes; None where it does not stay."""
        keep, value = self.keep, element.value
        if tag in keep.uids:
            return self.keys.uid(str(value)) if value else None
        if tag in keep.dates and self.config.dates == "shift":
            day = _parse_date(value)
            moved = _shift(day, self.offset) if day else None
            return f"{moved:%Y%m%d}" if moved else None
        if tag in keep.times:
            if self.config.times == "zero":
                return "000000"
            return str(value) if re.fullmatch(r"\d{2,6}(\.\d{1,6})?", str(value)) else None
        if tag in keep.patient:
            return self._sex(value) if tag == 0x00100040 else None  # the age is written from the birth date
        if tag in keep.descriptors:
            return self._words(value) if self.config.descriptions == "clean" else None
        if tag in self.profile:
            return None
        return self._unprofiled(tag, vr, value)

    def _unprofiled(self, tag: int, vr: str, value: Any) -> Any:
        """Attributes that table E.1-1 does not name: only what the keep-list names."""
        keep = self.keep
        if tag in keep.standard_uids:
            return str(value) if str(value) in UID_dictionary else None
        if tag in keep.closed:
            values = [str(part).strip() for part in _values(value)]
            return _joined(values) if values and all(part in keep.closed[tag] for part in values) else None
        if tag in keep.vocabulary:
            return self._words(value)
        if tag in keep.device:
            return self._device(value) if self.config.device == "keep" else None
        if tag in keep.code_sequences:
            return self._codes(value)
        if tag in keep.sequences:
            return [self.dataset(item) for item in value] or None
        if tag in keep.bytes:
            return value
        is_number = any(part in _NUMBER_VRS for part in vr.split(" or "))
        if is_number and ((tag >> 16) in keep.number_groups or tag in keep.numbers):
            return value if _numeric(value) else None
        return None

    def _words(self, value: Any) -> Any:
        texts = [str(part).strip() for part in _values(value)]
        return _joined(texts) if any(texts) and all(is_plain(t, self.words, self.identity) for t in texts) else None

    def _device(self, value: Any) -> str | None:
        text = str(value).strip()
        found = set(re.findall(r"\w{3,}", text.casefold()))
        return text[:64] if text and not found & self.identity else None

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

    def _sex(self, value: Any) -> str | None:
        return str(value) if self.config.age_and_sex == "keep" and str(value) in ("F", "M", "O") else None


def _declare(safe: Dataset, config: DicomConfig, masked: bool) -> None:
    """PS3.15 E.1.1 items 6-8 and PS3.3 C.12: what was done, in codes of CID 7050."""
    applied = {
        "113100": True,
        "113101": masked,
        "113105": config.descriptions == "clean",
        "113107": config.dates == "shift",
        "113108": config.age_and_sex == "keep",
        "113109": config.device == "keep",
    }
    safe.PatientIdentityRemoved = "YES"
    safe.DeidentificationMethod = f"anonymize {__version__}: PS3.15 Annex E, keep-list"
    safe.DeidentificationMethodCodeSequence = [_method(code) for code, used in applied.items() if used]
    safe.LongitudinalTemporalInformationModified = "MODIFIED" if config.dates == "shift" else "REMOVED"


def _method(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", _METHODS[code]
    return item


def _plain_vr(tag: int, vr: str, ds: Dataset) -> str:
    """One VR where the dictionary offers several (pixel-dependent attributes, PS3.5 annex A)."""
    if " or " not in vr:
        return vr
    actual = ds[tag].VR
    return actual if actual in vr.split(" or ") else ("OW" if "OW" in vr else vr.split(" or ")[0])


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__") else list(value)


def _joined(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _numeric(value: Any) -> bool:
    values = _values(value)
    return bool(values) and all(_DECIMAL.fullmatch(str(part).strip()) for part in values)


def _parse_date(value: Any) -> date | None:
    text = str(value or "").strip().replace(".", "").replace("-", "")[:8]
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


def _first_date(ds: Dataset, *keywords: str) -> date | None:
    return next((day for keyword in keywords if (day := _parse_date(ds.get(keyword)))), None)


def _shift(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def _age_months(ds: Dataset, day: date | None) -> int | None:
    """From the birth date before any shift, else from Patient Age."""
    birth = _parse_date(ds.get("PatientBirthDate"))
    if birth and day:
        months = dates.age_months(birth.isoformat(), day.isoformat())
        if months is not None and months < 130 * 12:
            return months
    match = re.fullmatch(r"(\d{1,3})([DWMY])", str(ds.get("PatientAge", "") or "").strip())
    if not match:
        return None
    number = int(match[1])
    return {"D": number // 30, "W": number * 7 // 30, "M": number, "Y": number * 12}[match[2]]


def _dicom_age(months: int) -> str:
    return f"{months:03d}M" if months < 24 else f"{months // 12:03d}Y"
