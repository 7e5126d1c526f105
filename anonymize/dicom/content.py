"""Structured reports: the content tree cleaned item by item (PS3.3 C.17.3, PS3.15 E.3.4 Clean Structured Content)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from anonymize.dicom.basic import DROP, BasicCleaner
from anonymize.dicom.elements import gathered
from anonymize.dicom.parts import Parts
from anonymize.dicom.values import DUMMY_TEXT, dummy, dummy_code
from anonymize.text import fold

_TEXT_VALUE, _PERSON_NAME, _TEMPLATE = 0x0040A160, 0x0040A123, 0x0040DB00
_ROOT = ("ValueType", "ContinuityOfContent", "ConceptNameCodeSequence", "ContentTemplateSequence", "ContentSequence")
_REFERENCES = "CurrentRequestedProcedureEvidenceSequence"


def put_content(ds: Dataset, safe: Dataset, parts: Parts) -> str:
    """Add the cleaned content tree of ``ds`` and what else the IODs need (PS3.3 A.35) to ``safe``.

    A report is signed by a person; what is left is signed by nobody, so the verification is taken back.

    Returns:
        the texts of the tree, cleaned, a line each.
    """
    cleaner = ContentCleaner(parts, ds)
    wanted = Dataset()
    for keyword in _ROOT:
        if keyword in ds:
            wanted.add(ds[keyword])
    tree = cleaner.dataset(wanted)
    for element in tree:
        safe[element.tag] = element
    safe.ValueType = "CONTAINER"
    safe.ContinuityOfContent = str(tree.get("ContinuityOfContent") or "") or "SEPARATE"
    if not tree.get("ConceptNameCodeSequence"):
        title = Dataset()  # where the source has none: PS3.16 CID 7021
        title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "11528-7", "LN", "Radiology Report"
        safe.ConceptNameCodeSequence = [title]
    safe.Modality = "SR"
    safe.CompletionFlag = (
        found if (found := str(ds.get("CompletionFlag", ""))) in ("COMPLETE", "PARTIAL") else "PARTIAL"
    )
    safe.VerificationFlag = "UNVERIFIED"
    for keyword in ("VerifyingObserverSequence", "PredecessorDocumentsSequence", "IdenticalDocumentsSequence"):
        if keyword in safe:
            del safe[keyword]
    safe.ReferencedPerformedProcedureStepSequence, safe.PerformedProcedureCodeSequence = [], []
    if ds.get(_REFERENCES):
        setattr(safe, _REFERENCES, [_reference(item, parts) for item in ds[_REFERENCES].value])
    for keyword, vr in (("ContentDate", "DA"), ("ContentTime", "TM")):
        if not safe.get(keyword):
            setattr(safe, keyword, dummy(vr))
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if safe.get(keyword) is None:
            setattr(safe, keyword, 1)
    return "\n".join(text for text in cleaner.texts.values() if text)


class ContentCleaner(BasicCleaner):
    """The content tree by the table's actions: only attributes that content items have, text as reports have it."""

    def __init__(self, parts: Parts, ds: Dataset) -> None:
        super().__init__(parts)
        found = list(dict.fromkeys(_texts(ds)))
        self.texts = dict(zip(found, parts.texts.narratives(found, parts.patient), strict=True))

    def element(self, tag: int, vr: str, element: DataElement) -> Any:
        """As in the Basic Profile, with text values and names of persons replaced."""
        if tag not in self.keep.content:
            return DROP
        value = element.value
        if tag == _TEXT_VALUE:
            return self.texts.get(str(value)) or DUMMY_TEXT
        if tag == _PERSON_NAME:
            return self.person(str(value))
        if tag == _TEMPLATE:
            return str(value) if re.fullmatch(r"\d{1,5}", str(value)) else DROP
        found = super().element(tag, vr, element)
        if found is DROP or found is None:
            if vr in ("DA", "TM", "DT"):
                return dummy(vr)  # type 1C: the item has nothing else to say
            if vr == "SQ" and element.keyword.endswith("CodeSequence"):
                return [dummy_code()]
        return found

    def person(self, name: str) -> str:
        """The patient's pseudonym for the patient, a keyed one for everybody else: equal names stay equal."""
        keys, patient = self.parts.keys, str(self.parts.source.get("PatientName", ""))
        if _letters(name) == _letters(patient):
            return keys.pseudonym("patient", str(self.parts.source.PatientID)) + "^"
        return keys.pseudonym("name", _letters(name)) + "^"


def _letters(name: str) -> str:
    return "".join(re.findall(r"[^\W\d_]+", fold(name.split("=")[0])))


def _texts(ds: Dataset) -> Iterator[str]:
    yield from gathered(ds, lambda e: [str(e.value)] if int(e.tag) == _TEXT_VALUE and e.value else [])


def _reference(study: Dataset, parts: Parts) -> Dataset:
    """Study, series and instances that the report refers to (PS3.3 table 10-3)."""
    safe = Dataset()
    safe.StudyInstanceUID = parts.uid(study.get("StudyInstanceUID"))
    safe.ReferencedSeriesSequence = []
    for series in study.get("ReferencedSeriesSequence") or []:
        item = Dataset()
        item.SeriesInstanceUID = parts.uid(series.get("SeriesInstanceUID"))
        item.ReferencedSOPSequence = []
        for instance in series.get("ReferencedSOPSequence") or []:
            one = Dataset()
            one.ReferencedSOPClassUID = parts.standard_uid(instance.get("ReferencedSOPClassUID"))
            one.ReferencedSOPInstanceUID = parts.uid(instance.get("ReferencedSOPInstanceUID"))
            item.ReferencedSOPSequence.append(one)
        safe.ReferencedSeriesSequence.append(item)
    return safe
