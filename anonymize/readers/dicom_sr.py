"""DICOM structured reports (PS3.3 A.35) and documents encapsulated in DICOM (A.45): PDF and CDA."""

from __future__ import annotations

import io
from typing import Any

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from anonymize.policy import Files
from anonymize.readers.content import text_of
from anonymize.readers.problems import Unreadable
from anonymize.readers.record import Name, Record, iso_date, phone_tail, take_names, unique

_ENCAPSULATED = ("1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2")
_SR = "1.2.840.10008.5.1.4.1.1.88."
_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
_DEPTH = 64


def record_of_dicom(data: bytes, config: Files) -> Record:
    """The instance as one record.

    Raises:
        Unreadable: not_a_report for images and other instances; truncated_file, damaged_file; reasons of a document.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        if _is_cut(dataset, len(data)):
            raise Unreadable("truncated_file")
        kind = str(dataset.get("SOPClassUID", ""))
        if kind in _ENCAPSULATED:
            text = text_of(bytes(dataset.get("EncapsulatedDocument", b"")).rstrip(b"\0"))
        elif kind.startswith(_SR) and kind != _KEY_OBJECTS:
            lines: list[str] = []
            for item in dataset.get("ContentSequence", []):
                _item(item, lines, 0)
            text = "\n".join(lines)
        else:
            raise Unreadable("not_a_report")
        record = _record(dataset)
    except EOFError:
        raise Unreadable("truncated_file") from None
    except (InvalidDicomError, AttributeError, KeyError, TypeError, ValueError, NotImplementedError, OSError):
        raise Unreadable("damaged_file") from None
    record.text = text
    return record


def _is_cut(dataset: Dataset, size: int) -> bool:
    """Whether an element is shorter than it says, or a few bytes of another one are left; pydicom passes over both."""
    end = size
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.length != 0xFFFFFFFF:
            if len(raw.value or b"") < raw.length:
                return True
            end = raw.value_tell + raw.length
        else:
            end = size  # of undefined length: pydicom reads up to its delimiter
    return 0 < size - end < 8


def _item(item: Dataset, lines: list[str], depth: int) -> None:
    """One content item and what it holds: concept names of containers are titles, names of people are left out."""
    kind = str(item.get("ValueType", ""))
    title = _meaning(item.get("ConceptNameCodeSequence"))
    value = ""
    if kind == "TEXT":
        value = str(item.get("TextValue", "")).replace("\r\n", "\n").replace("\r", "\n").strip()
    elif kind == "CODE":
        value = _meaning(item.get("ConceptCodeSequence"))
    elif kind == "NUM":
        measured = next(iter(item.get("MeasuredValueSequence") or []), Dataset())
        unit = _meaning(measured.get("MeasurementUnitsCodeSequence"))
        value = " ".join(filter(None, (str(measured.get("NumericValue", "") or ""), unit)))
    elif kind in ("DATE", "TIME", "DATETIME"):
        value = str(item.get({"DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}[kind], ""))
    if kind == "CONTAINER" and title:
        lines.append(f"{title} :")
    elif value:
        repeated = lines and lines[-1].rstrip(" :").lower() == title.lower()
        lines.append(value if repeated or not title else f"{title} : {value}")
    for child in item.get("ContentSequence") or [] if depth < _DEPTH else []:
        _item(child, lines, depth + 1)


def _meaning(sequence: Any) -> str:
    return str(sequence[0].get("CodeMeaning", "")).strip() if sequence else ""


def _record(dataset: Dataset) -> Record:
    record = Record(patient=_value(dataset, "PatientID"))
    own = [_person(dataset.get("PatientName"), "legal"), *_people(dataset, "OtherPatientNames", "other")]
    own += _people(dataset, "PatientBirthName", "birth")
    take_names(record, own)
    sex = _value(dataset, "PatientSex")
    record.sex = sex if sex in ("F", "M") else ""
    record.birth_date = iso_date(_value(dataset, "PatientBirthDate"))
    record.address = _value(dataset, "PatientAddress")
    phones = unique(_values(dataset, "PatientTelephoneNumbers"))
    record.phone = phones[0] if phones else ""
    record.numbers = [phone_tail(phone) for phone in phones[1:]] + _values(dataset, "OtherPatientIDs")
    record.numbers += [_value(item, "PatientID") for item in dataset.get("OtherPatientIDsSequence") or []]
    record.visit = _value(dataset, "AdmissionID")
    record.accession = _value(dataset, "AccessionNumber")
    if not record.accession:
        requests = dataset.get("ReferencedRequestSequence") or []
        record.accession = next(filter(None, (_value(item, "AccessionNumber") for item in requests)), "")
    dates = [_value(dataset, name) for name in ("StudyDate", "ContentDate", "InstanceCreationDate")]
    record.exam_date = next(filter(None, map(iso_date, dates)), "")
    record.exam = _value(dataset, "StudyDescription") or _meaning(dataset.get("ConceptNameCodeSequence"))
    patient = {"PatientName", "OtherPatientNames", "PatientBirthName"}
    for element in dataset.iterall():
        if element.VR == "PN" and element.keyword not in patient:
            values = element.value if isinstance(element.value, list | MultiValue) else [element.value]
            record.staff += [str(_person(value, "other")) for value in values]
    return record


def _person(value: Any, use: str) -> Name:
    """A PN value: its alphabetic group, FAMILY^GIVEN^MIDDLE^PREFIX^SUFFIX (PS3.5 6.2.1)."""
    parts = str(value or "").split("=")[0].split("^") + [""] * 3
    return Name(parts[0].strip(), " ".join(filter(None, (parts[1].strip(), parts[2].strip()))), use)


def _people(dataset: Dataset, keyword: str, use: str) -> list[Name]:
    return [_person(value, use) for value in _values(dataset, keyword)]


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | MultiValue) else [str(value)]


def _value(dataset: Dataset, keyword: str) -> str:
    return next(iter(_values(dataset, keyword)), "").strip()
