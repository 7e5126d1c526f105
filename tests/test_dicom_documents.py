"""Structured reports, encapsulated PDFs and secondary captures: cleaned when asked for, quarantined by name when not."""

from __future__ import annotations

import io
import re
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pypdfium2 as pdfium
import pytest
from dicom_factory import KEYS_FOR_TESTS as KEYS
from dicom_factory import save
from document_factory import (
    SR_CLASSES,
    STORAGE,
    code,
    content,
    dose_report,
    encapsulated_pdf,
    secondary_capture,
    structured_report,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from test_phantom_dicom import errors_of

from anonymize.console import Console
from anonymize.dicom.batch import run_dicom
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.document import pdf_of
from anonymize.dicom.instance import process
from anonymize.dicom.refusal import Refused
from anonymize.dicom.texts import texts_of
from anonymize.files import read_rows

QUIET = Console("quiet")
ALL = ["images", "secondary-capture", "reports", "documents"]
IDENTITY = (
    "LEFÈVRE",
    "LEFEVRE",
    "NGUYEN",
    "IPP0012345",
    "ACC2024001234",
    "20120504",
    "04/05/2012",
    "MARTIN",
    "Saint-Éloi",
)
IDENTITY += ("ZQMEANING", "ZQ0001", "ZQ0044XK", "ZQAUTHOR")
IDENTITY += ("06 12 34 56 78", "2.25.1110001", "2.25.1130001", "2.25.555123", "ZQUNIT", "20240302", "12/03/2024")


def config(**switches: object) -> DicomConfig:
    chosen = {"workers": 1, "objects": ALL, "clean_structured_content": True, **switches}
    return DicomConfig.model_validate(chosen)


def cleaned(ds: Dataset, folder: Path, **switches: object) -> tuple[Dataset, object, bytes]:
    """The safe instance, its row of the index and its bytes."""
    source = save(ds, folder / "in" / "a.dcm")
    row, _, _ = process(source, folder / "safe" / "images", "part-1.tmp", config(**switches), KEYS)
    (path,) = (folder / "safe").rglob("part-1.tmp")
    return pydicom.dcmread(path), row, path.read_bytes()


def left_in(data: bytes) -> list[str]:
    return [text for text in IDENTITY if any(text.encode(coding, "ignore") in data for coding in ("utf-8", "latin-1"))]


@pytest.mark.parametrize("profile", ["keep-list", "basic"])
@pytest.mark.parametrize("kind", SR_CLASSES)
def test_a_structured_report_keeps_its_findings_and_loses_its_people(tmp_path: Path, profile: str, kind: str) -> None:
    ds = structured_report(SR_CLASSES[kind])
    before = save(ds, tmp_path / "before.dcm")
    assert set(IDENTITY) - set(left_in(before.read_bytes())) <= {"LEFEVRE", "ZQ0044XK", "ZQAUTHOR"}
    safe, row, data = cleaned(ds, tmp_path, profile=profile)
    assert left_in(data) == []
    names, texts = {}, []
    for item in safe.ContentSequence:
        names.setdefault(item.ValueType, []).append(item)
        texts.append(str(item.get("TextValue", "")))
    assert "Fracture du radius distal" in "".join(texts)
    assert "Fracture du radius distal" in row.text
    observer, subject = (str(item.PersonName) for item in names["PNAME"])
    assert subject.strip("^") == row.patient == safe.PatientID
    assert observer != subject
    assert observer
    assert names["CODE"][0].ConceptCodeSequence[0].CodeMeaning == "Fracture of lower limb"
    local = names["CODE"][1].ConceptCodeSequence[0]
    assert local.CodingSchemeDesignator == "99VLP"
    measured = names["NUM"][0].MeasuredValueSequence[0]
    assert (float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue) == (12.5, "mm")
    assert KEYS.uid("2.25.555123") == names["UIDREF"][0].UID
    if kind != "basic":
        assert names["IMAGE"][0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == KEYS.uid("2.25.1130001")
    evidence = safe.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == safe.StudyInstanceUID
    shift = KEYS.date_offset_days("IPP0012345")
    assert (pydicom.valuerep.DA(safe.StudyDate) - pydicom.valuerep.DA("20240302")).days == shift
    assert (pydicom.valuerep.DA(str(names["DATETIME"][0].DateTime)[:8]) - pydicom.valuerep.DA("20240302")).days == shift
    assert safe.VerificationFlag == "UNVERIFIED"
    assert "113104" in {item.CodeValue for item in safe.DeidentificationMethodCodeSequence}


SPANISH = (
    "Informe de la radiografía de muñeca de la niña. Se observa una fractura del radio distal. Acude con su madre, Doña "
    "Josefa Ibáñez Carrasco, con domicilio en la calle Alcalá 45, teléfono 612 34 56 78. Control el 12 de marzo de 2024. "
    "Fdo.: Dra. Begoña Zubizarreta Goñi"
)
MONTHS = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
]


@pytest.mark.parametrize("kind", ["report", "document"])
def test_a_document_is_read_in_its_own_language(tmp_path: Path, kind: str) -> None:
    """One Spanish document in a French run: only the Spanish pack knows its dates, titles and streets."""
    if kind == "report":
        ds = structured_report(SR_CLASSES["basic"])
        ds.ContentSequence = [item for item in ds.ContentSequence if item.ValueType == "PNAME"]
        ds.ContentSequence.append(content("TEXT", code("121071", "DCM", "Finding"), TextValue=SPANISH))
    else:
        ds = encapsulated_pdf(SPANISH)
    texts = []
    for languages in (["fr", "en"], ["es"]):
        _, row, _ = cleaned(ds, tmp_path / languages[0], languages=languages)
        text = " ".join(row.text.split())
        day = date(2024, 3, 12) + timedelta(days=KEYS.date_offset_days("IPP0012345"))
        assert f"Control el {day.day} de {MONTHS[day.month - 1]} de {day.year}." in text
        assert "fractura del radio distal. Acude con su madre, Doña" in text
        assert "con domicilio en la calle" in text
        assert not [word for word in ("Josefa", "Ibáñez", "Alcalá", "612 34", "Begoña", "Zubizarreta") if word in text]
        texts.append(text)
    assert texts[0] == texts[1]  # as in a Spanish run


def test_a_short_or_mixed_document_is_read_in_the_first_language() -> None:
    texts = texts_of(("fr", "en"), KEYS, False)
    assert texts.language_of([SPANISH]) == "es"
    assert (
        texts.language_of(["Pas de fracture du radius, ni de luxation. Les parties molles sont sans anomalie."]) == "fr"
    )
    assert texts.language_of(["12.5 mm", "ZQ0044XK", ""]) == texts.language_of([]) == "fr"


def test_a_dose_report_keeps_its_dose(tmp_path: Path) -> None:
    safe, _, data = cleaned(dose_report(), tmp_path)
    assert left_in(data) == []
    assert float(safe.ContentSequence[0].MeasuredValueSequence[0].NumericValue) == 0.21
    assert safe.ContentTemplateSequence[0].TemplateIdentifier == "10001"
    assert safe.ConceptNameCodeSequence[0].CodeMeaning == "X-Ray Radiation Dose Report"


def test_a_report_without_a_title_gets_one(tmp_path: Path) -> None:
    ds = structured_report()
    del ds.ConceptNameCodeSequence
    safe, row, _ = cleaned(ds, tmp_path)
    assert safe.ConceptNameCodeSequence[0].CodeMeaning == row.title == "Radiology Report"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (package dicom3tools) is not installed")
@pytest.mark.parametrize("profile", ["keep-list", "basic"])
@pytest.mark.parametrize("dates", ["modified", "none", "full"])
def test_nothing_becomes_invalid(tmp_path: Path, profile: str, dates: str) -> None:
    grey = np.full((64, 80), 90, np.uint8)
    made = {
        **{kind: structured_report(name) for kind, name in SR_CLASSES.items()},
        "dose": dose_report(),
        "pdf": encapsulated_pdf(),
        "grey": secondary_capture(grey),
        "colour": secondary_capture(np.dstack([grey] * 3)),
        "frames": secondary_capture(np.stack([grey] * 3), sop_class=f"{STORAGE}.7.2"),
    }
    for name, ds in made.items():
        before = Counter(errors_of(save(ds, tmp_path / name / "source.dcm")))
        cleaned(ds, tmp_path / name, profile=profile, retain_longitudinal=dates)
        (path,) = (tmp_path / name / "safe").rglob("part-1.tmp")
        assert dict(Counter(errors_of(path)) - before) == {}, name


def test_a_pdf_is_written_anew_with_its_cleaned_text_only(tmp_path: Path) -> None:
    safe, row, data = cleaned(encapsulated_pdf(), tmp_path)
    assert left_in(data) == []
    document = pdfium.PdfDocument(safe.EncapsulatedDocument[: safe.EncapsulatedDocumentLength])
    shown = document[0].get_textpage().get_text_range()
    assert "Fracture du radius distal" in " ".join(shown.split())
    assert document.get_metadata_dict() == dict.fromkeys(document.get_metadata_dict(), "")
    assert "Fracture du radius distal" in row.text
    assert safe.DocumentTitle == "Radiographie de"
    assert (safe.BurnedInAnnotation, safe.MIMETypeOfEncapsulatedDocument) == ("NO", "application/pdf")


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="cp1252", categories=("L", "N", "P")), min_size=1, max_size=60))
def test_what_a_written_pdf_shows_can_be_read_back(text: str) -> None:
    document = pdfium.PdfDocument(pdf_of(f"Texte {text} fin"))
    shown = document[0].get_textpage().get_text_range()
    assert re.sub(r"\W", "", shown.replace("\ufffe", "")) == re.sub(r"\W", "", f"Texte {text} fin")


def test_long_texts_run_over_pages() -> None:
    document = pdfium.PdfDocument(pdf_of("\n".join(f"Ligne {n}" for n in range(150))))
    assert len(document) == 3
    assert "Ligne 149" in document[2].get_textpage().get_text_range()


def picture_only() -> bytes:
    """A PDF whose page holds no text."""
    document, stream = pdfium.PdfDocument.new(), io.BytesIO()
    document.new_page(200, 200)
    document.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("made", "switches", "reason"),
    [
        (structured_report, {"clean_structured_content": False}, "structured_content"),
        (structured_report, {"objects": ["images", "documents"]}, "unsupported_sop_class"),
        (encapsulated_pdf, {"objects": ["images"]}, "unsupported_sop_class"),
        (lambda: encapsulated_pdf(pdf=picture_only()), {}, "no_text_layer"),
        (lambda: encapsulated_pdf(pdf=b"%PDF-1.4 damaged"), {}, "no_text_layer"),
        (lambda: secondary_capture(np.zeros((16, 16), np.uint8)), {"objects": ["images"]}, "unsupported_sop_class"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_by_name(
    tmp_path: Path, made: object, switches: dict[str, object], reason: str
) -> None:
    with pytest.raises(Refused, match=f"^{reason}$"):
        cleaned(made(), tmp_path, **switches)
    assert not list((tmp_path / "safe").rglob("*.dcm"))


def written(frame: np.ndarray, ink: tuple[int, ...] | int) -> np.ndarray:
    """Console writing in the upper left corner."""
    for line, text in enumerate(("LEFEVRE-NGUYEN ZOE", "NEE LE 04/05/2012", "IPP 0012345")):
        cv2.putText(frame, text, (10, 30 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, 1, cv2.LINE_8)
    return frame


@pytest.mark.parametrize("ink", [(255, 255, 255), (250, 220, 40)])
def test_text_in_colour_is_found_and_the_rest_keeps_its_colour(tmp_path: Path, ink: tuple[int, int, int]) -> None:
    ground = np.zeros((300, 400, 3), np.uint8)
    ground[150:, :] = (120, 30, 60)
    frame = written(ground.copy(), ink)
    safe, row, _ = cleaned(secondary_capture(frame), tmp_path)
    assert row.burned_in == "masked"
    assert (safe.PhotometricInterpretation, safe.SamplesPerPixel, safe.BurnedInAnnotation) == ("RGB", 3, "NO")
    assert np.array_equal(safe.pixel_array, ground)


@pytest.mark.parametrize("single_bit", [False, True])
def test_every_frame_comes_through(tmp_path: Path, single_bit: bool) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (3, 20, 12)).astype(np.uint8)
    ds = secondary_capture(frames, sop_class=f"{STORAGE}.7.1" if single_bit else f"{STORAGE}.7.2")
    if single_bit:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
        ds.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    safe, _, _ = cleaned(ds, tmp_path, pixels="off")
    assert np.array_equal(safe.pixel_array, frames)
    assert safe.NumberOfFrames == 3


def test_totals_add_up_and_documents_stand_apart(tmp_path: Path) -> None:
    for number, ds in enumerate(
        (
            structured_report(uid="2.25.1"),
            structured_report(uid="2.25.1"),
            encapsulated_pdf(uid="2.25.2"),
            dose_report("2.25.3"),
        )
    ):
        save(ds, tmp_path / "in" / f"{number}.dcm")
    save(secondary_capture(np.full((40, 40), 80, np.uint8)), tmp_path / "in" / "image.dcm")
    save(encapsulated_pdf(uid="2.25.4", pdf=b"%PDF-"), tmp_path / "in" / "broken.dcm")
    safe, chosen = tmp_path / "safe", config(shard_size=2)
    summary = run_dicom(chosen, tmp_path / "in", safe, KEYS, QUIET)
    assert (summary["files_in"], summary["written"], summary["documents"]) == (6, 4, 3)
    assert summary["quarantined"] == {"duplicate_instance": 1, "no_text_layer": 1}
    papers, images = read_rows(safe / "documents" / "index"), read_rows(safe / "images" / "index")
    assert (len(papers), len(images)) == (3, 1)
    assert all((safe / "documents" / row["path"]).is_file() for row in papers)
    assert {row["study"] for row in papers} == {row["study"] for row in images}
    everything = {path: path.read_bytes() for path in safe.rglob("*") if path.suffix in (".dcm", ".parquet")}
    assert [left_in(data) for data in everything.values()] == [[]] * len(everything)
    again = run_dicom(chosen, tmp_path / "in", safe, KEYS, QUIET)
    assert {k: again[k] for k in ("written", "documents", "quarantined")} == {
        k: summary[k] for k in ("written", "documents", "quarantined")
    }
    assert again["images_per_second_core"] is None, "nothing is done twice"
    run_dicom(config(shard_size=2, objects=["images", "secondary-capture"]), tmp_path / "in", safe, KEYS, QUIET)
    assert not list((safe / "documents").rglob("*.dcm")), "what is no longer asked for goes"
