"""Attributes of a CR or DX instance around the pixels (PS3.3 A.2 CR IOD, A.26 DX IOD), with a fake identity.

The identity stands where hospitals have it: Patient module, nested sequences, private elements.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from vlp.phantom.devices import Device
from vlp.phantom.facts import Exam, View

PRIVATE_CREATOR = "VLP PHANTOM IDENT"
STUDY_COMPONENT_MANAGEMENT = "1.2.840.10008.3.1.2.3.3"  # Modality Performed Procedure Step
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"

REGIONS: dict[str, tuple[str, Code]] = {  # anatomy -> Body Part Examined and code (PS3.16 CID 4031, annex L)
    "hand": ("HAND", codes.cid4031.Hand),
    "wrist": ("WRIST", codes.cid4031.WristJoint),
    "forearm": ("FOREARM", codes.cid4031.Forearm),
    "knee": ("KNEE", codes.cid4031.Knee),
    "lower_leg": ("LEG", codes.cid4031.LowerLeg),
    "ankle": ("ANKLE", codes.cid4031.AnkleJoint),
    "chest": ("CHEST", codes.cid4031.Chest),
}
VIEWS: dict[str, tuple[str, Code]] = {  # projection -> View Position (CR) and View Code (PS3.16 CID 4010)
    "PA": ("PA", codes.cid4010.PosteroAnterior),
    "AP": ("AP", codes.cid4010.AnteroPosterior),
    "LAT": ("LL", codes.cid4010.LateralProjection),
    "OBL": ("", codes.cid4010.ObliqueProjection),
}
EXPOSURE = {  # anatomy -> kV, mAs
    "chest": (120.0, 2.5),
    "knee": (63.0, 6.3),
    "lower_leg": (60.0, 5.0),
    "ankle": (55.0, 4.0),
    "forearm": (52.0, 3.2),
    "wrist": (50.0, 2.5),
    "hand": (50.0, 2.2),
}


@dataclass(frozen=True)
class Header:
    """Who was examined, by whom, where and when: everything in a header that identifies a person or a place.

    Names of staff are DICOM person names (``FAMILY^Given``). UIDs are below 2.25 (PS3.5 B.2).
    """

    patient_id: str  # IPP
    family_name: str
    given_name: str
    birth_name: str
    birth_date: date
    sex: str  # F or M
    address: str
    postcode: str
    city: str
    phone: str
    accession: str  # at most 16 characters (VR SH)
    study_uid: str
    series_uid: str
    sop_uid: str
    study_time: datetime
    referring_physician: str
    radiologist: str
    operator: str
    institution: str
    station: str  # at most 16 characters
    study_description: str
    series_description: str
    series_number: int = 1
    instance_number: int = 1
    charset: str = "ISO_IR 192"  # or ISO_IR 100; text that Latin-1 cannot hold is written as ISO_IR 192


def build_header(
    exam: Exam, view: View, header: Header, device: Device, seed: int, *, for_processing: bool = False
) -> Dataset:
    """All attributes but those of the pixels and their tone. Deterministic in ``seed``."""
    rng = random.Random(seed)
    ds = Dataset()
    ds.SpecificCharacterSet = usable_charset(header)
    _patient(ds, exam, header, rng)
    _study_and_series(ds, header, device)
    _equipment(ds, header, device)
    _anatomy(ds, exam, view, device, rng)
    _exposure(ds, exam, rng)
    _private(ds, header, rng)
    if device.modality == "DX":
        _dx(ds, view, device, for_processing)
    else:
        ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = header.sop_uid
    return ds


def usable_charset(header: Header) -> str:
    """The header's character set, or ISO_IR 192 where a value does not fit into Latin-1."""
    texts = [value for value in vars(header).values() if isinstance(value, str)]
    try:
        "".join(texts).encode("latin-1")
    except UnicodeEncodeError:
        return "ISO_IR 192"
    return header.charset


def code_item(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _patient(ds: Dataset, exam: Exam, header: Header, rng: random.Random) -> None:
    ds.PatientName = f"{header.family_name}^{header.given_name}"
    ds.PatientID = header.patient_id
    ds.IssuerOfPatientID = header.institution
    ds.PatientBirthDate = f"{header.birth_date:%Y%m%d}"
    ds.PatientSex = header.sex
    ds.PatientAge = dicom_age(exam.age_months)
    ds.PatientBirthName = f"{header.birth_name}^{header.given_name}"
    ds.PatientAddress = f"{header.address}, {header.postcode} {header.city}"[:64]
    ds.PatientTelephoneNumbers = header.phone[:16]
    ds.PatientComments = f"{header.given_name} {header.family_name} {header.phone}"
    other = Dataset()
    other.PatientID = str(rng.randrange(10**12, 10**13))
    other.IssuerOfPatientID = header.city
    other.TypeOfPatientID = "TEXT"
    ds.OtherPatientIDsSequence = [other]


def _study_and_series(ds: Dataset, header: Header, device: Device) -> None:
    start = header.study_time
    shots = start + timedelta(seconds=70 * header.instance_number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = header.study_uid, header.series_uid
    ds.StudyID = header.accession[-8:]
    ds.AccessionNumber = header.accession
    ds.StudyDate, ds.StudyTime = f"{start:%Y%m%d}", f"{start:%H%M%S}"
    ds.SeriesDate, ds.SeriesTime = ds.StudyDate, f"{start + timedelta(seconds=30):%H%M%S}"
    for name in ("Acquisition", "Content"):
        setattr(ds, f"{name}Date", f"{shots:%Y%m%d}")
        setattr(ds, f"{name}Time", f"{shots:%H%M%S}")
    ds.StudyDescription, ds.SeriesDescription = header.study_description, header.series_description
    ds.ReferringPhysicianName = header.referring_physician
    ds.NameOfPhysiciansReadingStudy = header.radiologist
    ds.PerformingPhysicianName = header.radiologist
    ds.OperatorsName = header.operator
    ds.Modality = device.modality
    ds.SeriesNumber, ds.InstanceNumber = header.series_number, header.instance_number
    ds.AcquisitionNumber = header.instance_number
    ds.ReferringPhysicianIdentificationSequence = [_person(header, header.referring_physician)]
    ds.OperatorIdentificationSequence = [_person(header, header.operator)]
    ds.RequestAttributesSequence = [_request(header)]
    ds.ReferencedStudySequence = [_reference(DETACHED_STUDY, header.study_uid)]
    ds.ReferencedPerformedProcedureStepSequence = [_reference(STUDY_COMPONENT_MANAGEMENT, header.series_uid + "1")]
    ds.PerformedProcedureStepID = header.accession
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = ds.StudyDate, ds.StudyTime
    ds.PerformedProcedureStepDescription = header.study_description


def _person(header: Header, name: str) -> Dataset:
    """Person Identification macro (PS3.3 table 10-1)."""
    item = Dataset()
    item.PersonIdentificationCodeSequence = [code_item(Code("1", "99LOCAL", name.replace("^", " ")[:64]))]
    item.InstitutionName = header.institution
    item.PersonAddress = f"{header.institution}, {header.city}"
    item.PersonTelephoneNumbers = header.phone
    return item


def _request(header: Header) -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = header.accession
    item.ScheduledProcedureStepID = header.accession
    item.RequestedProcedureDescription = header.study_description
    item.ScheduledProcedureStepDescription = f"{header.study_description} {header.family_name}"[:64]
    item.ReasonForTheRequestedProcedure = f"{header.given_name} {header.family_name}"[:64]
    return item


def _reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance[:64]
    return item


def _equipment(ds: Dataset, header: Header, device: Device) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = device.manufacturer, device.model
    ds.InstitutionName = header.institution
    ds.InstitutionAddress = f"{header.postcode} {header.city}"
    ds.StationName = header.station[:16]
    ds.SoftwareVersions = device.software
    ds.DeviceSerialNumber = f"{device.key.upper()[:6]}-{header.station}"


def _anatomy(ds: Dataset, exam: Exam, view: View, device: Device, rng: random.Random) -> None:
    body_part, region = REGIONS[exam.anatomy]
    ds.BodyPartExamined = body_part
    ds.AnatomicRegionSequence = [code_item(region)]
    ds.ViewPosition = VIEWS[view.projection][0]
    if device.modality == "DX":
        ds.ImageLaterality = view.side or "U"  # type 1: unpaired
    elif view.side in ("R", "L") and rng.random() < 0.5:
        ds.Laterality = view.side  # of the series; not together with that of the image (C.7.3.1)
    elif view.side:
        ds.ImageLaterality = view.side
    ds.PatientOrientation = [
        "A" if view.projection == "LAT" else "L",
        "H" if exam.anatomy in ("hand", "wrist") else "F",
    ]


def _exposure(ds: Dataset, exam: Exam, rng: random.Random) -> None:
    kvp, mas = EXPOSURE[exam.anatomy]
    ds.KVP = f"{kvp * rng.uniform(0.95, 1.05):.1f}"
    used = mas * rng.uniform(0.8, 1.3)
    ds.ExposureTime = int(rng.uniform(5, 60))
    ds.ExposureInuAs = round(used * 1000)
    ds.Exposure = max(1, round(used))
    ds.DistanceSourceToDetector = "1800" if exam.anatomy == "chest" else "1150"


def _private(ds: Dataset, header: Header, rng: random.Random) -> None:
    block = ds.private_block(0x0029, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "LO", f"{header.family_name} {header.given_name}"[:64])
    block.add_new(0x02, "DA", f"{header.birth_date:%Y%m%d}")
    block.add_new(0x03, "UN", header.patient_id.encode("ascii", "replace").ljust(16)[:64])
    nested = Dataset()
    nested.private_block(0x0031, PRIVATE_CREATOR, create=True).add_new(0x01, "PN", ds.PatientName)
    nested.PatientName = ds.PatientName
    block.add_new(0x04, "SQ", [nested])
    if rng.random() < 0.5:
        block.add_new(0x05, "ST", f"{header.address}, {header.postcode} {header.city}, {header.phone}")


def _dx(ds: Dataset, view: View, device: Device, for_processing: bool) -> None:
    ds.SOPClassUID = DigitalXRayImageStorageForProcessing if for_processing else DigitalXRayImageStorageForPresentation
    ds.PresentationIntentType = "FOR PROCESSING" if for_processing else "FOR PRESENTATION"
    ds.ViewCodeSequence = [code_item(VIEWS[view.projection][1])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.DetectorType = "SCINTILLATOR"
    ds.DetectorConfiguration = "AREA"
    ds.DetectorID = f"{device.key}-{device.station}"[:16]
    ds.AcquisitionContextSequence = []
    ds.PositionerType = "COLUMN"


def dicom_age(months: int) -> str:
    """Patient Age (VR AS, PS3.5 6.2): months below two years, years from there."""
    return f"{months:03d}M" if months < 24 else f"{min(months // 12, 999):03d}Y"
