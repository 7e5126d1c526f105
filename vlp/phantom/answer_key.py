"""What a de-identifier must do with one phantom instance: the answer key of the ten MIDI-B actions.

Written from what the phantom put where, not from what any tool keeps: identities and places go, dates move, UIDs change,
what a radiograph means stays (PS3.15 Annex E with the options Clean Pixel Data, Clean Descriptors, Modified Dates, Retain
Patient Characteristics and Retain Device Identity).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from anonymize.dicom.midi import Answer, digest, element_at, text_of
from vlp.phantom.facts import Exam, Radiograph

_AGE_CAP_MONTHS = 89 * 12  # ages above are capped (45 CFR 164.514(b)(2)(i)(C))

REMOVED = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "OtherPatientIDsSequence[0].PatientID",
    "OtherPatientIDsSequence[0].IssuerOfPatientID",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "DeviceSerialNumber",
    "DetectorID",
    "PerformedProcedureStepID",
    "ReferringPhysicianIdentificationSequence[0].InstitutionName",
    "ReferringPhysicianIdentificationSequence[0].PersonAddress",
    "ReferringPhysicianIdentificationSequence[0].PersonTelephoneNumbers",
    "ReferringPhysicianIdentificationSequence[0].PersonIdentificationCodeSequence[0].CodeMeaning",
    "OperatorIdentificationSequence[0].PersonIdentificationCodeSequence[0].CodeMeaning",
    "RequestAttributesSequence[0].RequestedProcedureID",
    "RequestAttributesSequence[0].ScheduledProcedureStepID",
    "RequestAttributesSequence[0].ReasonForTheRequestedProcedure",
    "(0029,1001)",
    "(0029,1002)",
    "(0029,1003)",
    "(0029,1005)",
    "(0029,1004)[0].PatientName",
]
DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
CHANGED = (
    *UIDS,
    "ReferencedStudySequence[0].ReferencedSOPInstanceUID",
    "ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID",
)
RETAINED = [
    "Modality",
    "SOPClassUID",
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "ViewPosition",
    "PatientSex",
    "KVP",
    "ExposureTime",
    "ExposureInuAs",
    "Exposure",
    "DistanceSourceToDetector",
    "ImageLaterality",
    "Laterality",
    "PatientOrientation",
    "SeriesNumber",
    "InstanceNumber",
    "AcquisitionNumber",
    "PresentationIntentType",
    "DetectorType",
    "DetectorConfiguration",
    "PositionerType",
    "ImageType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "PresentationLUTShape",
    "LossyImageCompression",
    "ImagerPixelSpacing",
    "PixelSpacing",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "StudyDescription",
    "SeriesDescription",
    "AnatomicRegionSequence[0].CodeValue",
    "AnatomicRegionSequence[0].CodeMeaning",
    "ViewCodeSequence[0].CodeValue",
    "VOILUTSequence[0].LUTDescriptor",
]
# Types 1 and 2 of the IODs (PS3.3 A.2, A.26): the element stays, with or without a value.
PRESENT = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "Manufacturer",
    "InstanceNumber",
    "PatientOrientation",
    "PixelData",
]
FILLED = (
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "Modality",
)


def answers_of(ds: Dataset, exam: Exam, radiograph: Radiograph) -> Iterator[Answer]:
    """The answers for ``ds`` as it was written, with the film that lies in it."""
    instance, patient = str(ds.SOPInstanceUID), str(ds.PatientID)

    def answer(action: str, path: str, value: str = "") -> Answer:
        return Answer(instance, patient, action, path, value)

    values = {path: value for path in (*REMOVED, *RETAINED, *DATES, *CHANGED) if (value := _value(ds, path))}
    yield from (answer("text_removed", path, values[path]) for path in REMOVED if path in values)
    yield from (answer("text_retained", path, values[path]) for path in RETAINED if path in values)
    yield from (answer("tag_retained", path) for path in PRESENT)
    yield from (answer("text_notnull", path) for path in FILLED)
    yield from (answer("date_shifted", path, values[path]) for path in DATES)
    yield from (answer("uid_changed", path, values[path]) for path in CHANGED if path in values)
    yield from (answer("uid_consistent", path, values[path]) for path in UIDS)
    yield answer("patid_consistent", "PatientID", patient)
    if exam.age_months <= _AGE_CAP_MONTHS:
        yield answer("text_retained", "PatientAge", str(ds.PatientAge))
    boxes = [item.box for item in radiograph.objects if item.name == "burned_in"]
    for box in boxes:
        yield answer("pixels_hidden", "PixelData", ",".join(f"{edge:g}" for edge in box))
    if not boxes:
        yield answer("pixels_retained", "PixelData", digest(pixel_array(ds, raw=True)))


def _value(ds: Dataset, path: str) -> str:
    """The value at ``path`` as text, "" where there is none."""
    return text_of(element_at(ds, path))
