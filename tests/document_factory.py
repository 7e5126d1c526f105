"""Structured reports, PDFs and secondary captures with a planted identity, for the tests of ``anonymize dicom``."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from anonymize.dicom.document import pdf_of

STORAGE = "1.2.840.10008.5.1.4.1.1"
SR_CLASSES = {"basic": f"{STORAGE}.88.11", "enhanced": f"{STORAGE}.88.22", "comprehensive": f"{STORAGE}.88.33"}
DOSE = f"{STORAGE}.88.67"
TEXT = "Mme LEFÈVRE-NGUYEN Zoé, née le 04/05/2012, IPP0012345. Fracture du radius distal. Contrôle le 12/03/2024. Dr Paul MARTIN"


def base(sop_class: str, modality: str, uid: str = "2.25.990001") -> Dataset:
    """Patient, study, series and file meta information; nothing of the object itself."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = "LEFÈVRE-NGUYEN^Zoé", "IPP0012345"
    ds.PatientBirthDate, ds.PatientSex = "20120504", "F"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "ACC2024001234", "ST77", "MARTIN^Paul"
    ds.StudyDate, ds.StudyTime, ds.ContentDate, ds.ContentTime = "20240302", "101230", "20240302", "101500"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1110001", "2.25.1120001"
    ds.SeriesNumber, ds.InstanceNumber, ds.Modality, ds.Manufacturer = 1, 1, modality, "Esker Systems"
    return ds


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def content(kind: str, name: Dataset, relation: str = "CONTAINS", **values: Any) -> Dataset:
    """A content item."""
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = relation, kind, [name]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def structured_report(sop_class: str = SR_CLASSES["comprehensive"], uid: str = "2.25.990001") -> Dataset:
    """A report with an item of each value type, identity in all of them."""
    ds = base(sop_class, "SR", uid)
    ds.CompletionFlag, ds.VerificationFlag, ds.ValueType, ds.ContinuityOfContent = (
        "COMPLETE",
        "VERIFIED",
        "CONTAINER",
        "SEPARATE",
    )
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = "MARTIN^Paul", "Hôpital Saint-Éloi"
    observer.VerificationDateTime, observer.VerifyingObserverIdentificationCodeSequence = "20240302110000", []
    ds.VerifyingObserverSequence = [observer]
    ds.ReferencedPerformedProcedureStepSequence, ds.PerformedProcedureCodeSequence = [], []
    ds.ConceptNameCodeSequence = [code("11528-7", "LN", "Compte rendu de Zoé LEFÈVRE")]
    finding = code("121071", "DCM", "Finding of Zoé")
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = f"{STORAGE}.1.1", "2.25.1130001"
    amount = Dataset()
    amount.NumericValue, amount.MeasurementUnitsCodeSequence = "12.5", [code("mm", "UCUM", "ZQUNITXK")]
    inner = content("TEXT", finding, TextValue="Patiente suivie par le Dr MARTIN, téléphone 06 12 34 56 78.")
    ds.ContentSequence = [
        content("PNAME", code("121008", "DCM", "Person Observer Name"), "HAS OBS CONTEXT", PersonName="MARTIN^Paul"),
        content("PNAME", code("121029", "DCM", "Subject Name"), "HAS OBS CONTEXT", PersonName="LEFÈVRE-NGUYEN^Zoé"),
        content("UIDREF", code("121012", "DCM", "Device Observer UID"), "HAS OBS CONTEXT", UID="2.25.555123"),
        content("TEXT", finding, TextValue=TEXT),
        content("DATETIME", code("111526", "DCM", "DateTime Started"), DateTime="20240302101230.5+0100"),
        content("DATE", code("121031", "DCM", "Subject Birth Date"), Date="20120504"),
        content("TIME", code("122163", "DCM", "Discharge Time"), Time="111213"),
        content("CODE", finding, ConceptCodeSequence=[code("46866001", "SCT", "ZQMEANINGXK")]),
        content("CODE", finding, ConceptCodeSequence=[code("ZQ0001", "99LOCAL", "Fracture de Zoé LEFÈVRE")]),
        content("NUM", code("103339001", "SCT", "Long axis"), MeasuredValueSequence=[amount]),
        content("CONTAINER", finding, ContinuityOfContent="SEPARATE", ContentSequence=[inner]),
    ]
    if sop_class != SR_CLASSES["basic"]:
        ds.ContentSequence.append(content("IMAGE", finding, ReferencedSOPSequence=[image]))
    study, series = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "2.25.1120001", [image]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "2.25.1110001", [series]
    ds.CurrentRequestedProcedureEvidenceSequence = [study]
    return ds


def dose_report(uid: str = "2.25.990002") -> Dataset:
    """An X-Ray Radiation Dose SR (PS3.16 TID 10001) with one dose and a device's name."""
    ds = structured_report(DOSE, uid)
    ds.ConceptNameCodeSequence = [code("113701", "DCM", "X-Ray Radiation Dose Report")]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "10001"
    ds.ContentTemplateSequence = [template]
    dose = Dataset()
    dose.NumericValue, dose.MeasurementUnitsCodeSequence = "0.21", [code("Gy.m2", "UCUM", "Gy.m2")]
    ds.ContentSequence = [
        content("NUM", code("113722", "DCM", "Dose Area Product Total"), MeasuredValueSequence=[dose]),
        content("TEXT", code("121013", "DCM", "Device Observer Name"), "HAS OBS CONTEXT", TextValue="ZQ0044XK"),
        content("DATETIME", code("111526", "DCM", "DateTime Started"), DateTime="20240302101230"),
    ]
    return ds


def encapsulated_pdf(text: str = TEXT, uid: str = "2.25.990003", pdf: bytes | None = None) -> Dataset:
    """A PDF with a text layer, metadata and a title."""
    ds = base(f"{STORAGE}.104.1", "DOC", uid)
    data = pdf if pdf is not None else pdf_of(text) + b"% /Author (ZQAUTHORXK)\n"
    ds.ConversionType, ds.BurnedInAnnotation, ds.DocumentTitle = "WSD", "YES", "Radiographie de Zoé LEFÈVRE"
    ds.AcquisitionDateTime, ds.ConceptNameCodeSequence = "20240302101230", []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    ds.EncapsulatedDocumentLength = len(data)
    return ds


def secondary_capture(
    frames: np.ndarray, uid: str = "2.25.990004", sop_class: str = f"{STORAGE}.7", **tags: Any
) -> Dataset:
    """Frames [H, W], [N, H, W], [H, W, 3] or [N, H, W, 3] of 8 bits, uncompressed."""
    ds = base(sop_class, "OT", uid)
    is_colour = frames.shape[-1] == 3
    many = frames if frames.ndim == (4 if is_colour else 3) else frames[None]
    ds.ConversionType, ds.PatientOrientation = "WSD", ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if is_colour else (1, "MONOCHROME2")
    if is_colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = many.shape[1:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if len(many) > 1:
        ds.NumberOfFrames, ds.FrameIncrementPointer = len(many), 0x00182001
        ds.PageNumberVector = list(range(1, len(many) + 1))
    data = many.astype(np.uint8).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds
