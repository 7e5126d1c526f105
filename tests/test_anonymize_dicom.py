"""``anonymize dicom``: nothing planted survives, what is needed stays, nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import HEADER, burn, device, film, instance, save
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from test_phantom_dicom import SYNTAXES, errors_of

from anonymize.console import Console, UserError
from anonymize.dicom import bitstream, header, pixels
from anonymize.dicom.batch import run_dicom
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.profile import basic_profile, keep_list
from anonymize.dicom.values import parse_date
from anonymize.files import read_rows
from anonymize.keys import Keys
from anonymize.quarantine import read_quarantine
from vlp.phantom.facts import Chest, Exam, View
from vlp.phantom.render import render

KEYS = Keys(b"a secret of thirty-two bytes here")
CONFIG = DicomConfig(workers=1)
QUIET = Console("quiet")


def clean(ds: Dataset, config: DicomConfig = CONFIG) -> Dataset:
    return header.clean_header(ds, header.link(ds, config, KEYS), config, KEYS, masked=True)


def forms(text: str) -> list[bytes]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    found = []
    for form in {text, plain, text.upper(), plain.upper(), text.lower()}:
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            found.append(form.encode(encoding, "ignore"))
    return [f for f in found if len(f) >= 4]


def everything_below(folder: Path) -> bytes:
    names = "\n".join(str(p.relative_to(folder)) for p in folder.rglob("*")).encode()
    return names + b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


TEXT_VRS = ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS", "UR")


def plant(ds: Dataset, marks: list[str], depth: int = 0) -> None:
    """A marker in every text attribute of the tables, in private elements, overlays and bytes, three sequences deep."""

    def mark() -> str:
        marks.append(f"ZQ{len(marks):04d}XK")
        return marks[-1]

    tags = (
        set(basic_profile()) | {t for t in keep_list().closed} | set(keep_list().vocabulary) | {0x00081010, 0x00104000}
    )
    for tag in sorted(tags)[:: 1 if depth == 0 else 20]:
        if not keyword_for_tag(tag) or (tag >> 16) in (0x0000, 0x0002, 0x0004, 0x7FE0):
            continue
        vr = dictionary_VR(tag)
        if vr in TEXT_VRS and not (depth == 0 and tag in _NEEDED):
            ds.add_new(tag, vr, mark())
        elif vr in ("OB", "UN"):
            ds.add_new(tag, vr, mark().encode())
    ds.private_block(0x0033, mark(), create=True).add_new(0x01, "LO", mark())
    ds.private_block(0x0035, "UNKNOWN", create=True).add_new(0x02, "UN", mark().encode())
    ds.add_new(0x60000022, "LO", mark())
    ds.add_new(0x60003000, "OB", mark().encode())
    ds.add_new(0x00420011, "OB", b"%PDF " + mark().encode() + b"\0")
    ds.add_new(0x00091002, "UN", mark().encode())
    if depth < 3:
        for keyword in NESTED if depth == 0 else NESTED[:3]:
            item = Dataset()
            plant(item, marks, depth + 1)
            setattr(ds, keyword, [item])


NESTED = ("AnatomicRegionSequence", "ReferencedPatientSequence", "SourceImageSequence", "VOILUTSequence")
NESTED += ("IconImageSequence", "RequestAttributesSequence", "ContentSequence", "ViewCodeSequence")
_NEEDED = {0x00080060, 0x00280004, 0x00100020, 0x00080050, 0x00280301}


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_no_planted_marker_survives(tmp_path: Path, syntax: str) -> None:
    marks: list[str] = []
    ds = instance(with_device=device(transfer_syntax=syntax))
    plant(ds, marks)
    ds.preamble = b"ZQPREAMBLE".ljust(128)
    ds.file_meta.SourceApplicationEntityTitle = "ZQMETAAE"
    ds.file_meta.ImplementationVersionName = "ZQMETAIMPL"
    ds.file_meta.PrivateInformationCreatorUID = "2.25.77"
    ds.file_meta.PrivateInformation = b"ZQMETAPRIVATE "
    assert len(marks) > 1000
    marks += ["ZQPREAMBLE", "ZQMETAAE", "ZQMETAIMPL", "ZQMETAPRIVATE", "ZQFOLDER", "LEFÈVRE", "MÜLLER", "IPP0012345"]
    marks += ["ACC2024001234", "Saint-Éloi", "Érables", "20120504", "2.25.1110001", "2.25.1130001", "20240302", "Zoé"]
    path = save(ds, tmp_path / "in" / "ZQFOLDER" / "LEFÈVRE.dcm")
    raw = path.read_bytes()
    assert len(set(re.findall(rb"ZQ\d{4}XK", raw))) > 1000, "the plant itself failed"
    summary = run_dicom(CONFIG, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    assert summary["written"] == 1, summary
    bytes_out = everything_below(tmp_path / "safe")
    assert re.findall(rb"(?i)Z\0?Q\0?\d\0?\d\0?\d\0?\d", bytes_out) == []
    named = [mark for mark in marks if not re.fullmatch(r"ZQ\d{4}XK", mark)]
    assert [mark for mark in named if any(form in bytes_out for form in forms(mark))] == []


def test_device_names_are_the_only_free_text_that_stays() -> None:
    ds = instance()
    ds.Manufacturer, ds.ManufacturerModelName = "Acme", "Model 1 LEFEVRE"
    safe = clean(ds)
    assert safe.Manufacturer == "Acme"
    assert "ManufacturerModelName" not in safe, "it held the patient's name"
    assert not clean(ds, DicomConfig(retain_device_identity="none")).Manufacturer


STAY = (
    "Rows",
    "Columns",
    "BitsStored",
    "PhotometricInterpretation",
    "ImagerPixelSpacing",
    "BodyPartExamined",
    "Modality",
)
STAY += (
    "BodyPartExamined",
    "ViewPosition",
    "ImageLaterality",
    "KVP",
    "ExposureInuAs",
    "PresentationLUTShape",
    "PatientSex",
    "SOPClassUID",
)


def test_what_training_needs_stays() -> None:
    ds = instance(with_device=device(voi_style="lut_sequence", photometric="MONOCHROME1"))
    safe = clean(ds)
    for keyword in STAY:
        assert safe[keyword].value == ds[keyword].value, keyword
    assert safe.VOILUTSequence[0].LUTData == ds.VOILUTSequence[0].LUTData
    assert safe.StudyDescription == "Radiographie de la main"
    assert safe.PatientAge == "011Y"
    assert safe.ViewCodeSequence[0].CodeValue == "272479007"
    assert safe.PatientIdentityRemoved == "YES"
    codes = {item.CodeValue for item in safe.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113101", "113105", "113107", "113108", "113109"}


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("Radiographie du genou droit face + profil", True),
        ("MAIN G 2 incidences", True),
        ("RX THORAX DE FACE", True),
        ("Radiographie genou DUPONT", False),
        ("Main gauche 0612345678", False),
        ("Thorax Lefèvre", False),
    ],
)
def test_descriptions_pass_the_vocabulary_or_go(text: str, stays: bool) -> None:
    ds = instance(series_description=text)
    assert (clean(ds).get("SeriesDescription") == text) is stays


def test_a_name_that_is_a_vocabulary_word_goes_too() -> None:
    ds = instance(family_name="GENOU", series_description="Radiographie genou")
    assert "SeriesDescription" not in clean(ds)


def test_code_meaning_comes_from_the_dictionary_and_local_codes_go() -> None:
    ds = instance()
    ds.AnatomicRegionSequence[0].CodeMeaning = "Zoé Lefèvre"
    assert clean(ds).AnatomicRegionSequence[0].CodeMeaning == "Hand"
    ds.AnatomicRegionSequence[0].CodingSchemeDesignator = "99LOCAL"
    assert len(clean(ds).AnatomicRegionSequence) == 0


def test_dates_move_together_and_age_does_not() -> None:
    first, second = instance(1), instance(2, study_time=HEADER.study_time.replace(month=5))
    a, b = clean(first), clean(second)
    gap = (parse_date(b.StudyDate) - parse_date(a.StudyDate)).days
    assert gap == (HEADER.study_time.replace(month=5).date() - HEADER.study_time.date()).days
    assert a.StudyDate != first.StudyDate
    assert a.StudyTime == "000000"
    assert a.StudyInstanceUID == b.StudyInstanceUID
    assert not a.PatientBirthDate


@settings(max_examples=40, deadline=None)
@given(months=st.integers(0, 1500))
def test_age_is_capped_at_eighty_nine(months: int) -> None:
    ds = instance(pixels=film((8, 8)))
    del ds.PatientBirthDate
    ds.PatientAge = f"{min(months // 12, 999):03d}Y"
    linked = header.link(ds, CONFIG, KEYS)
    assert linked.age_months == min(months // 12 * 12, 1068)


def test_no_keep_list_overrides_the_table_without_an_option() -> None:
    """What table E.1-1 names stays only through a declared option (CID 7050)."""
    keep = keep_list()
    by_option = keep.descriptors | keep.dates | keep.times | keep.patient | keep.uids
    plain = set(keep.closed) | keep.vocabulary | keep.numbers | keep.standard_uids | keep.bytes
    assert len(basic_profile()) > 600
    assert {keyword_for_tag(t) for t in plain & set(basic_profile()) - by_option} == set()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (package dicom3tools) is not installed")
@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_output_is_valid(tmp_path: Path, modality: str) -> None:
    for number, (syntax, photometric) in enumerate(
        [(s, p) for s in SYNTAXES.values() for p in ("MONOCHROME1", "MONOCHROME2")]
    ):
        made = device(modality=modality, transfer_syntax=syntax, photometric=photometric)
        save(instance(number, with_device=made), tmp_path / "in" / f"{number}.dcm")
    run_dicom(CONFIG, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    written = list((tmp_path / "safe" / "images").rglob("*.dcm"))
    assert len(written) == 8
    assert [errors_of(path) for path in written] == [[]] * 8


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("ink", "size"), [(4095, 0.6), (1700, 0.6), (4095, 1.1)])
def test_burned_in_lines_are_filled_and_the_mark_stays(tmp_path: Path, photometric: str, ink: int, size: float) -> None:
    stored = film((900, 800)) // 2
    boxes = burn(stored, ["LEFEVRE-NGUYEN ZOE", "NEE LE 04/05/2012", "IPP 0012345"], ink, size)
    stored[700:730, 700:706] = 4095  # an L of lead
    stored[724:730, 700:720] = 4095
    ds = instance(with_device=device(photometric=photometric), pixels=stored, burned=("x",))
    before = ds.pixel_array
    save(ds, tmp_path / "in" / "a.dcm")
    run_dicom(CONFIG, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    (row,) = read_rows(tmp_path / "safe/images/index")
    assert row["burned_in"] == "masked"
    read = pydicom.dcmread(tmp_path / "safe/images" / row["path"])
    after, black = read.pixel_array, before.max() if photometric == "MONOCHROME1" else before.min()
    for x0, y0, x1, y1 in boxes:
        assert (after[y0:y1, x0:x1] == black).all()
    assert np.array_equal(after[690:740, 690:730], before[690:740, 690:730])
    assert (after != before).mean() < 0.25
    assert read.BurnedInAnnotation == "NO"


@pytest.mark.parametrize(
    ("anatomy", "name"), [("chest", "cantor_cr"), ("wrist", "esker_dx"), ("lower_leg", "borea_cr")]
)
def test_every_line_that_a_phantom_console_draws_is_found(anatomy: str, name: str) -> None:
    lines = ("MBAYE CHEIKH", "18/03/2005 M", "969696204", "19/10/2019 11:49")
    for seed in (1, 2, 3):
        view = View("AP", "L", seed)
        chest = Chest() if anatomy == "chest" else None
        exam = Exam("E", 0, anatomy, 200, "M", 1, 1, "L", (view,), name, "hard", chest=chest)
        drawn = render(exam, view, 512, lines)
        covered = np.zeros(drawn.pixels.shape, bool)
        for x0, y0, x1, y1 in pixels.find_text(drawn.pixels).boxes:
            covered[y0:y1, x0:x1] = True
        wanted = [tuple(map(int, o.box)) for o in drawn.objects if o.name == "burned_in"]
        assert len(wanted) == len(lines)
        assert [covered[y0:y1, x0:x1].mean() > 0.99 for x0, y0, x1, y1 in wanted] == [True] * len(lines)
        assert covered.mean() < 0.3


def test_a_film_without_text_keeps_its_pixel_bytes(tmp_path: Path) -> None:
    for number, syntax in enumerate(SYNTAXES.values()):
        save(instance(number, with_device=device(transfer_syntax=syntax)), tmp_path / "in" / f"{number}.dcm")
    run_dicom(CONFIG, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    for row in read_rows(tmp_path / "safe/images/index"):
        assert row["burned_in"] == "none"
        safe = pydicom.dcmread(tmp_path / "safe/images" / row["path"])
        assert np.array_equal(safe.pixel_array, film())
    kept = {str(pydicom.dcmread(p).file_meta.TransferSyntaxUID) for p in (tmp_path / "safe/images").rglob("*.dcm")}
    assert kept == set(SYNTAXES.values())


def test_comments_inside_frames_and_unused_bits_are_removed(tmp_path: Path) -> None:
    for name in ("jpeg", "j2k"):
        ds = instance(with_device=device(transfer_syntax=SYNTAXES[name]))
        (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
        text = b"ZQHIDDEN"
        marker = b"\xff\xfe" if name == "jpeg" else b"\xff\x64"
        segment = marker + (len(text) + 4).to_bytes(2, "big") + b"\0\1" + text
        place = 2 if name == "jpeg" else 4 + int.from_bytes(frame[4:6], "big")
        ds.PixelData = pydicom.encaps.encapsulate([frame[:place] + segment + frame[place:] + text])
        cleaned = bitstream.clean_encapsulated(ds, SYNTAXES[name])
        assert text in ds.PixelData
        assert text not in cleaned
        ds.PixelData = cleaned
        assert np.array_equal(ds.pixel_array, film())
    ds = instance(with_device=device(transfer_syntax=SYNTAXES["rle"]))
    (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([frame + b"ZQHIDDEN"])
    cleaned = bitstream.clean_encapsulated(ds, SYNTAXES["rle"])
    assert b"ZQHIDDEN" in ds.PixelData
    assert b"ZQHIDDEN" not in cleaned
    ds.PixelData = cleaned
    assert np.array_equal(ds.pixel_array, film())
    ds = instance()
    overlay = (film() | (1 << 14)).astype("<u2")
    ds.PixelData = overlay.tobytes()
    save(ds, tmp_path / "in" / "a.dcm")
    run_dicom(CONFIG, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    (path,) = (tmp_path / "safe/images").rglob("*.dcm")
    assert int(np.frombuffer(pydicom.dcmread(path).PixelData, "<u2").max()) < 4096


def _messy_export(folder: Path) -> None:
    for number in range(6):
        save(instance(number, accession=f"A{number // 2}"), folder / f"LEFEVRE/{number}.dcm")
    save(instance(2, accession="A1"), folder / "zz/copy_of_2.dcm")
    whole = (folder / "LEFEVRE/0.dcm").read_bytes()
    (folder / "zz/cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "zz/cut_header.dcm").write_bytes(whole[:400])
    (folder / "zz/picture.dcm").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    (folder / "zz/empty.dcm").write_bytes(b"")
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "zz/Thumbs.db").write_bytes(b"x")
    without = instance(40)
    del without.PixelData
    save(without, folder / "zz/sr.dcm")
    nobody = instance(41)
    nobody.PatientID = ""
    save(nobody, folder / "zz/nobody.dcm")
    other = instance(42)
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    save(other, folder / "zz/ct.dcm")
    broken = instance(43, with_device=device(transfer_syntax=SYNTAXES["jpeg"]))
    broken.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(300)])
    save(broken, folder / "zz/broken.dcm")
    claimed = instance(44)
    claimed.BurnedInAnnotation = "YES"
    save(claimed, folder / "zz/claimed.dcm")


def test_messy_export_adds_up_and_resumes(tmp_path: Path) -> None:
    _messy_export(tmp_path / "in")
    config = DicomConfig(workers=2, shard_size=5)
    summary = run_dicom(config, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    assert summary["ignored"] == 2
    assert summary["quarantined"] == {
        "truncated_dicom": 2, "not_dicom": 2, "no_pixels": 1, "missing_identifier": 1, "unsupported_sop_class": 1,
        "corrupt_pixels": 1, "duplicate_instance": 1, "burned_in_unsure": 1,
    }  # fmt: skip
    assert summary["written"] == 6
    assert summary["files_in"] == summary["written"] + sum(summary["quarantined"].values())
    items = read_quarantine(tmp_path / "safe/quarantine/dicom.parquet")
    lookup = [
        json.loads(line) for line in (tmp_path / "safe.private/quarantine-lookup-dicom.jsonl").read_text().splitlines()
    ]
    assert {i.ref for i in items} == {row["ref"] for row in lookup}
    assert b"LEFEVRE" not in everything_below(tmp_path / "safe")
    rows = {row["image_id"] for row in read_rows(tmp_path / "safe/images/index")}
    files = {p.stem for p in (tmp_path / "safe/images").rglob("*.dcm")}
    assert rows == files
    # killed within the second shard: its state and its part of the index are absent, a temporary file is left
    (tmp_path / "safe/images/index/part-00001.parquet").unlink()
    (tmp_path / "safe.private/dicom-progress/shard-00001.json").unlink()
    leftover = next((tmp_path / "safe/images").rglob("*.dcm")).with_name("part-3.tmp")
    foreign = leftover.with_name("notes.txt")
    foreign.write_text("not ours")
    leftover.write_bytes(b"half")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "safe/images/index").glob("*")}
    again = run_dicom(config, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    assert {k: again[k] for k in ("written", "quarantined", "files_in")} == {
        k: summary[k] for k in ("written", "quarantined", "files_in")
    }
    assert not leftover.exists()
    assert foreign.exists()
    assert all(p.stat().st_mtime_ns == t for p, t in before.items()), "finished shards are not made again"


def test_a_changed_source_or_configuration_leaves_nothing_stale(tmp_path: Path) -> None:
    for number in range(4):
        save(instance(number), tmp_path / "in" / f"{number}.dcm")
    config = DicomConfig(workers=1, shard_size=2)
    run_dicom(config, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    (tmp_path / "in/3.dcm").unlink()
    (tmp_path / "in/2.dcm").unlink()
    run_dicom(
        DicomConfig(workers=1, shard_size=2, retain_device_identity="none"),
        tmp_path / "in",
        tmp_path / "safe",
        KEYS,
        QUIET,
    )
    rows = read_rows(tmp_path / "safe/images/index")
    assert len(rows) == 2 == len(list((tmp_path / "safe/images").rglob("*.dcm")))
    assert {row["manufacturer"] for row in rows} == {""}


def test_files_added_in_front_move_the_shards_and_lose_nothing(tmp_path: Path) -> None:
    config = DicomConfig(workers=1, shard_size=2)
    for number in range(4):
        save(instance(number), tmp_path / "in" / f"b{number}.dcm")
    run_dicom(config, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    save(instance(9), tmp_path / "in" / "a.dcm")
    summary = run_dicom(config, tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    assert summary["written"] == 5
    rows = read_rows(tmp_path / "safe/images/index")
    assert {row["image_id"] for row in rows} == {p.stem for p in (tmp_path / "safe/images").rglob("*.dcm")}
    assert len(rows) == 5


def test_output_inside_the_source_is_refused(tmp_path: Path) -> None:
    save(instance(), tmp_path / "in/a.dcm")
    with pytest.raises(UserError, match="inside the other"):
        run_dicom(CONFIG, tmp_path / "in", tmp_path / "in/safe", KEYS, QUIET)


def test_ocr_without_the_extra_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rapidocr", None)
    save(instance(), tmp_path / "in/a.dcm")
    with pytest.raises(UserError, match="dicom-ocr"):
        run_dicom(DicomConfig(pixels="ocr"), tmp_path / "in", tmp_path / "safe", KEYS, QUIET)


def test_links_agree_with_the_contract() -> None:
    linked = header.link(instance(), CONFIG, KEYS)
    assert linked.patient == KEYS.pseudonym("patient", HEADER.patient_id)
    assert linked.study == KEYS.pseudonym("study", HEADER.accession)
    without = instance(accession="")
    assert header.link(without, CONFIG, KEYS).study == KEYS.pseudonym("study", HEADER.study_uid)


def test_smooth_films_have_no_text() -> None:
    for seed in range(3):
        assert pixels.find_text(film((600, 500), seed=seed)).boxes == ()


@pytest.mark.shared
def test_real_files(shared: Path, tmp_path: Path) -> None:
    """Twelve public files: every one is written or refused for a reason, and the written ones still decode."""
    source = tmp_path / "in"
    source.mkdir()
    for path in sorted((shared / "data/dicom").glob("*.dcm")):
        if not path.name.startswith(("RG1", "RG2_RG2_J2KR")):  # the slowest
            shutil.copy(path, source / path.name)
    summary: dict[str, Any] = run_dicom(CONFIG, source, tmp_path / "safe", KEYS, QUIET)
    assert summary["files_in"] == summary["written"] + sum(summary["quarantined"].values())
    assert summary["quarantined"].get("no_pixels") == 1
    assert summary["written"] >= 6
    for path in (tmp_path / "safe/images").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if ds.file_meta.TransferSyntaxUID != pydicom.uid.JPEGExtended12Bit:  # pydicom alone cannot read 12 bits
            assert ds.pixel_array.ndim == 2


def test_index_row_has_the_contracts_columns() -> None:
    from anonymize.dicom.instance import Image
    from anonymize.dicom.stores import INDEX_SCHEMA

    assert [f.name for f in dataclasses.fields(Image)] == INDEX_SCHEMA.names
