"""A header made safe (PS3.15 Annex E): the cleaner of the profile, pseudonyms, and the marks that say what was done."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from anonymize import __version__, dates
from anonymize.dicom.basic import BasicCleaner
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.keeping import KeepListCleaner
from anonymize.dicom.parts import Parts, offset_days
from anonymize.dicom.profile import OPTIONS
from anonymize.dicom.values import parse_date, shift
from anonymize.keys import Keys, normalise_identifier

IMPLEMENTATION_UID = "2.25.191427338713915474838116226206470512293"
AGE_CAP_MONTHS = 89 * 12  # ages above 89 years count as 89, as in the reports (45 CFR 164.514(b)(2)(i)(C))
_METHODS = {  # CID 7050
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
    "113110": "Retain UIDs Option",
    "113111": "Retain Safe Private Option",
    "113112": "Retain Institution Identity Option",
}
_LONGITUDINAL = {"full": "UNMODIFIED", "modified": "MODIFIED", "none": "REMOVED"}


@dataclass(frozen=True)
class Linked:
    """The pseudonyms and derived facts of one instance."""

    image_id: str
    patient: str
    study: str
    series: str
    date: str  # ISO 8601, as retain_longitudinal says; "" where unknown or removed
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
    keep = config.retain_patient_characteristics
    months = _age_months(ds, day) if keep else None
    sex = str(ds.get("PatientSex", "") or "").strip().upper()
    days = {"full": 0, "modified": offset_days(config, keys, patient)}.get(config.retain_longitudinal)
    told = shift(day, days) if day and days is not None else None
    return Linked(
        image_id=keys.pseudonym("image", instance),
        patient=keys.pseudonym("patient", patient),
        study=keys.pseudonym("study", study),
        series=keys.pseudonym("series", str(ds.get("SeriesInstanceUID", "") or instance)),
        date=told.isoformat() if told else "",
        age_months=None if months is None else min(months, AGE_CAP_MONTHS),
        sex=sex if keep and sex in ("F", "M") else "",
    )


def clean_header(
    ds: Dataset, linked: Linked, config: DicomConfig, keys: Keys, *, masked: bool, parts: Parts | None = None
) -> Dataset:
    """A new dataset without pixels and file meta information: what may stay, plus the marks of de-identification.

    Args:
        masked: pixels were searched for text (and cleaned where there was some), so option 113101 is claimed.
        parts: of ``ds``, where the caller has them already.
    """
    parts = parts or Parts(ds, config, keys)
    safe = (BasicCleaner if config.profile == "basic" else KeepListCleaner)(parts).dataset(ds)
    safe.SpecificCharacterSet = "ISO_IR 192"
    safe.PatientName, safe.PatientID = f"{linked.patient}^", linked.patient
    safe.AccessionNumber = linked.study[:16]  # VR SH; the index holds the whole pseudonym
    if "StudyID" in ds:
        safe.StudyID = linked.study[:16]
    safe.StudyInstanceUID = parts.uid(ds.get("StudyInstanceUID")) or keys.uid(linked.study)
    safe.SeriesInstanceUID = parts.uid(ds.get("SeriesInstanceUID")) or keys.uid(linked.series)
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


def _declare(safe: Dataset, config: DicomConfig, masked: bool) -> None:
    """PS3.15 E.1.1 items 6-8 and PS3.3 C.12: what was done, in codes of CID 7050."""
    codes = {"113100", *(OPTIONS[name] for name in config.options())}
    codes |= {"113109"} if config.retain_device_identity != "none" else set()
    codes |= {"113101"} if masked else set()
    codes |= {"113111"} if config.retain_safe_private else set()
    safe.PatientIdentityRemoved = "YES"
    safe.DeidentificationMethod = f"anonymize {__version__}: PS3.15 Annex E, {config.profile}"
    safe.DeidentificationMethodCodeSequence = [_method(code) for code in sorted(codes)]
    safe.LongitudinalTemporalInformationModified = _LONGITUDINAL[config.retain_longitudinal]


def _method(code: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", _METHODS[code]
    return item


def _first_date(ds: Dataset, *keywords: str) -> date | None:
    return next((day for keyword in keywords if (day := parse_date(ds.get(keyword)))), None)


def _age_months(ds: Dataset, day: date | None) -> int | None:
    """From the birth date before any shift, else from Patient Age."""
    birth = parse_date(ds.get("PatientBirthDate"))
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
