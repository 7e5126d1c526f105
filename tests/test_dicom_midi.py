"""The ten MIDI-B actions: each is right where it was followed and wrong where it was not; the phantom's own key."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import film, instance, save
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from anonymize.cli import app
from anonymize.console import Console, UserError
from anonymize.dicom.batch import run_dicom
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.midi import ACTIONS, Answer, digest, judge, read_key, read_mapping
from anonymize.files import write_table
from anonymize.keys import Keys, private_folder
from vlp.phantom.config import PhantomConfig
from vlp.phantom.export import run_phantom
from vlp.phantom.truth import SCHEMAS

KEYS = Keys(b"a secret of thirty-two bytes here")
QUIET = Console("quiet")
UIDS, PATIENTS = {"1.2.3": "2.25.99", "1.2.4": "2.25.98"}, {"IPP1": "pseudo1"}


def safe_file(folder: Path, **changes: object) -> Dataset:
    """An output file as a good run would write it, with ``changes``."""
    ds = instance(pixels=film())
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.99"
    ds.StudyInstanceUID, ds.PatientID, ds.PatientName = "2.25.98", "pseudo1", "pseudo1^"
    ds.StudyDate, ds.SeriesDate, ds.PatientComments, ds.Modality = "20240110", "20240111", "", "DX"
    for name, value in changes.items():
        setattr(ds, name, value)
    save(ds, folder / "a.dcm")
    return ds


def share(folder: Path, *answers: tuple[str, str, str]) -> list[float]:
    """How right each answer is alone."""
    out = []
    for action, path, value in answers:
        result = judge([Answer("1.2.3", "IPP1", action, path, value)], folder, UIDS, PATIENTS, QUIET)
        out.append(result["share"])
    return out


def test_what_was_followed_is_right(tmp_path: Path) -> None:
    ds = safe_file(tmp_path)
    assert (
        share(
            tmp_path,
            ("tag_retained", "PatientName", ""),
            ("text_notnull", "PatientID", ""),
            ("text_retained", "Modality", "DX"),
            ("text_removed", "PatientComments", "Zoé Lefèvre 06 12 34"),
            ("text_removed", "(0029,10aa)", "LEFEVRE"),
            ("date_shifted", "StudyDate", "20240101"),
            ("uid_changed", "StudyInstanceUID", "1.2.4"),
            ("uid_consistent", "StudyInstanceUID", "1.2.4"),
            ("patid_consistent", "PatientID", "IPP1"),
            ("pixels_retained", "PixelData", digest(ds.pixel_array)),
        )
        == [1.0] * 10
    )


def test_what_was_not_followed_is_wrong_and_a_half_removed_address_half(tmp_path: Path) -> None:
    safe_file(tmp_path, PatientComments="rue Lefèvre", StudyDate="20240101", StudyInstanceUID="1.2.4", PatientID="IPP1")
    del_name = pydicom.dcmread(tmp_path / "a.dcm")
    del del_name.PatientName
    save(del_name, tmp_path / "a.dcm")
    assert share(
        tmp_path,
        ("tag_retained", "PatientName", ""),
        ("text_notnull", "PatientName", ""),
        ("text_retained", "Modality", "CR"),
        ("text_removed", "PatientComments", "rue LEFEVRE 12 Lyon"),
        ("date_shifted", "StudyDate", "20240101"),
        ("uid_changed", "StudyInstanceUID", "1.2.4"),
        ("uid_consistent", "StudyInstanceUID", "1.2.4"),
        ("patid_consistent", "PatientID", "IPP1"),
        ("pixels_retained", "PixelData", "another digest"),
        ("pixels_hidden", "PixelData", "40,40,90,90"),
    ) == [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_filled_box_is_hidden(tmp_path: Path) -> None:
    pixels = film()
    pixels[10:30, 20:60] = 7
    ds = safe_file(tmp_path)
    ds.PixelData = pixels.tobytes()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    save(ds, tmp_path / "a.dcm")
    assert share(
        tmp_path, ("pixels_hidden", "PixelData", "20,10,60,30"), ("pixels_hidden", "PixelData", "20,10,60,60")
    ) == [1.0, 0.0]


def test_a_short_name_is_left_as_a_word_and_not_inside_a_pseudonym(tmp_path: Path) -> None:
    """PLYA2...: a name of two letters in it is chance; the same name as a word is a leak, a longer one is anywhere."""
    safe_file(tmp_path, PatientName="PLYA2KIM7QJ4NGUY^", PatientComments="LY, KIM", InstitutionName="xNGUYENx")
    assert share(
        tmp_path,
        ("text_removed", "PatientName", "LY^KIM"),
        ("text_removed", "PatientComments", "LY^KIM"),
        ("text_removed", "InstitutionName", "NGUYEN^LY"),
    ) == [1.0, 0.0, 0.5]


def test_failures_are_listed_without_their_values(tmp_path: Path) -> None:
    safe_file(tmp_path / "p" / "s", PatientComments="rue Lefèvre", StudyDate="20240101")
    answers = [
        Answer("1.2.3", "IPP1", action, path, value)
        for action, path, value in (
            ("text_removed", "PatientComments", "rue LEFEVRE 12 Lyon"),
            ("date_shifted", "StudyDate", "20240101"),
            ("text_retained", "Modality", "DX"),
        )
    ]
    judge(answers, tmp_path, UIDS, PATIENTS, QUIET, tmp_path / "failures.csv")
    assert (tmp_path / "failures.csv").read_text(encoding="utf-8").splitlines() == [
        "file,action,path,right,found",
        "p/s/a.dcm,date_shifted,StudyDate,0.0,not shifted",
        "p/s/a.dcm,text_removed,PatientComments,0.5,0.50 of the tokens",
    ]


def test_dates_of_a_patient_must_move_together(tmp_path: Path) -> None:
    safe_file(tmp_path, ContentDate="20240112")
    answers = [
        Answer("1.2.3", "IPP1", "date_shifted", path, value)
        for path, value in (("StudyDate", "20240101"), ("SeriesDate", "20240102"), ("ContentDate", "20240101"))
    ]
    result = judge(answers, tmp_path, UIDS, PATIENTS, QUIET)
    assert result["right"] == 2
    assert result["wrong"] == [{"action": "date_shifted", "path": "ContentDate", "found": "other shift", "n": 1}]


def test_a_missing_file_passes_what_had_to_go_and_fails_what_had_to_stay(tmp_path: Path) -> None:
    answers = [Answer("9.9", "IPP1", action, "PatientName", "1,1,2,2") for action in ACTIONS]
    result = judge(answers, tmp_path, UIDS, PATIENTS, QUIET)
    assert result["files_missing"] == 1
    right = {name for name, row in result["by_action"].items() if row["share"] == 1}
    assert right == {"text_removed", "uid_changed", "pixels_hidden"}


def test_a_key_with_an_unknown_action_is_refused(tmp_path: Path) -> None:
    row = {"sop_instance_uid": "1", "patient": "2", "action": "text_guessed", "path": "PatientName", "value": ""}
    write_table(tmp_path / "key.parquet", [row], SCHEMAS["answers"])
    with pytest.raises(UserError, match="no action"):
        list(read_key(tmp_path / "key.parquet"))
    with pytest.raises(UserError, match="mappings=true"):
        read_mapping(tmp_path / "uid_mapping.csv")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients' films with their key, pseudonymised with mappings."""
    folder = tmp_path_factory.mktemp("midi")
    config = PhantomConfig(patients=6, size=160, workers=1, answer_key=True, burned_in_share=0.4, seed=3)
    run_phantom(config, folder / "hospital", QUIET)
    source, config = folder / "hospital" / "export" / "dicom", DicomConfig(workers=1, mappings=True)
    summary = run_dicom(config, source, folder / "safe", KEYS, QUIET)
    assert summary["quarantined"] == {}
    return folder


def test_the_phantom_key_is_followed(hospital: Path) -> None:
    key = list(read_key(hospital / "hospital" / "truth" / "answers.parquet"))
    counts = Counter(answer.action for answer in key)
    assert set(counts) == set(ACTIONS)
    private = private_folder(hospital / "safe")
    uids, patients = (read_mapping(private / name) for name in ("uid_mapping.csv", "patid_mapping.csv"))
    assert oct((private / "uid_mapping.csv").stat().st_mode & 0o777) == "0o600"
    result = judge(key, hospital / "safe" / "images", uids, patients, QUIET)
    assert result["files_missing"] == 0
    shares = {name: row["share"] for name, row in result["by_action"].items()}
    # small films: a line that looks like writing may be filled; nothing else may go wrong
    assert shares.pop("pixels_retained") >= 0.5
    assert shares == dict.fromkeys(shares, 1.0), result["wrong"]


def test_the_command_fails_where_a_name_came_back(hospital: Path, tmp_path: Path) -> None:
    key = hospital / "hospital" / "truth" / "answers.parquet"
    arguments = ["midi-check", str(hospital / "safe"), "--key", str(key), "--json"]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0, good.output
    planted = next(a for a in read_key(key) if a.action == "text_removed" and a.path == "PatientName")
    name, original = planted.value, planted.sop_instance_uid
    files = sorted((hospital / "safe" / "images").rglob("*.dcm"))
    uids = read_mapping(private_folder(hospital / "safe") / "uid_mapping.csv")
    (leaking,) = [p for p in files if pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID == uids[original]]
    kept = leaking.read_bytes()
    ds = pydicom.dcmread(leaking)
    ds.PatientName = name
    ds.save_as(leaking, enforce_file_format=True)
    bad = CliRunner().invoke(app, arguments)
    leaking.write_bytes(kept)
    assert bad.exit_code == 1
    summary = json.loads(bad.stdout)
    assert [row["path"] for row in summary["wrong"] if row["action"] == "text_removed"] == ["PatientName"]
    assert name.split("^")[0] not in bad.output


def test_no_mapping_is_written_unless_asked_for(tmp_path: Path) -> None:
    save(instance(pixels=np.asarray(film())), tmp_path / "in" / "a.dcm")
    run_dicom(DicomConfig(workers=1), tmp_path / "in", tmp_path / "safe", KEYS, QUIET)
    assert not list(private_folder(tmp_path / "safe").glob("*mapping*.csv"))
