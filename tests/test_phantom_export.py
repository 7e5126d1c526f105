"""The export of the synthetic hospital: files, truth, faults, resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from anonymize.console import Console, UserError
from anonymize.files import fingerprint, read_rows
from vlp.cli import app
from vlp.phantom import export, faults
from vlp.phantom.config import PhantomConfig
from vlp.study import LABELS

SMALL = {"patients": 12, "size": 128, "chunk_patients": 4, "workers": 1, "seed": 4}
SHARES = {"hand": 0.5, "knee": 0.5, "forearm": 2, "wrist": 1, "chest": 2}
QUIET = Console("quiet")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "hospital"
    export.run_phantom(PhantomConfig(**SMALL, shares=SHARES), out, QUIET)
    return out


def table(path: Path, encoding: str = "utf-8") -> pd.DataFrame:
    return pd.read_csv(path, sep=";", encoding=encoding, dtype=str, keep_default_na=False)


def test_the_table_read_back_equals_the_truth(hospital: Path) -> None:
    frame = table(hospital / "export" / "reports.csv")
    truth = {row["accession"]: row for row in read_rows(hospital / "truth" / "reports.parquet")}
    assert dict(zip(frame["NUM_ACCESSION"], frame["TEXTE"], strict=True)) == {k: r["text"] for k, r in truth.items()}
    people = {row["patient"]: row for row in read_rows(hospital / "truth" / "patients.parquet")}
    for _, row in frame.iterrows():
        person = people[truth[row["NUM_ACCESSION"]]["patient"]]
        assert row["IPP"] == person["ipp"]
        assert row["NOM"] == dict(person["identity"])["surname"].upper()
        day, month, year = row["DATE_NAISSANCE"].split("/")
        assert f"{year}-{month}-{day}" == person["birth_date"]
    for span in read_rows(hospital / "truth" / "spans.parquet"):
        assert truth[span["accession"]]["text"][span["start"] : span["end"]] == span["text"]


def test_labels_are_the_truth_or_empty(hospital: Path) -> None:
    frame = table(hospital / "export" / "labels.csv")
    assert list(frame.columns) == ["NUM_ACCESSION", *LABELS]
    studies = {row["accession"]: row for row in read_rows(hospital / "truth" / "studies.parquet")}
    for _, row in frame.iterrows():
        study = studies[row["NUM_ACCESSION"]]
        for name in LABELS:
            assert row[name] == ("" if study[name] is None else f"{study[name]:g}")
        assert (row["effusion"] == "") == (study["anatomy"] != "chest")
        assert (row["fracture"] == "") == (study["anatomy"] not in ("forearm", "wrist", "lower_leg", "ankle"))


def test_images_carry_the_identity_of_their_row(hospital: Path) -> None:
    frame = table(hospital / "export" / "reports.csv").set_index("NUM_ACCESSION")
    images = read_rows(hospital / "truth" / "images.parquet")
    objects = read_rows(hospital / "truth" / "objects.parquet")
    found = [p for p in (hospital / "export" / "dicom").rglob("*") if p.is_file()]
    assert len(found) == len(images) > len(frame) - 1
    for row in images:
        ds = pydicom.dcmread(hospital / "export" / "dicom" / row["path"])
        assert ds.AccessionNumber == row["accession"]
        assert ds.PatientID == frame.loc[row["accession"], "IPP"]
        assert str(ds.PatientName.family_name) == frame.loc[row["accession"], "NOM"]
        assert (ds.Rows, ds.Columns) == (row["height"], row["width"])
        assert ds.SOPInstanceUID == row["sop_instance_uid"]
    burned = {row["image_id"] for row in objects if row["name"] == "burned_in"}
    assert burned == {row["image_id"] for row in images if row["burned_in"]}


def test_bytes_depend_on_the_seed_and_not_on_cores_or_kills(hospital: Path, tmp_path: Path) -> None:
    config = PhantomConfig(**{**SMALL, "workers": 2}, shares=SHARES)
    again = tmp_path / "again"
    export.make_chunk(config, again, 2)  # a killed run: one chunk done, another half, no joined tables
    half = export.work_folder(again, 0)
    export.make_chunk(config, again, 0)
    (half / "done.json").unlink()
    mark = json.loads((hospital / "summary.json").read_text())["fingerprint"]
    (again / ".work" / "fingerprint").write_text(mark)
    export.run_phantom(config, again, QUIET)
    for name in ("export", "truth", "secret.key"):
        assert fingerprint(hospital / name) == fingerprint(again / name), name
    assert not (again / ".work").exists()
    before = (again / "summary.json").stat().st_mtime_ns
    assert export.run_phantom(config, again, QUIET)["fingerprint"] == mark
    assert (again / "summary.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another configuration"):
        export.run_phantom(PhantomConfig(**{**SMALL, "seed": 5}, shares=SHARES), again, QUIET)


def test_it_does_not_write_into_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export.run_phantom(PhantomConfig(**SMALL), tmp_path, QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_every_fault_is_there_and_written_down(tmp_path: Path, encoding: str) -> None:
    config = PhantomConfig(
        **{**SMALL, "patients": 9, "size": 96}, shares=SHARES, faults=True, faults_per_kind=1, encoding=encoding
    )
    export.run_phantom(config, tmp_path / "h", QUIET)
    planted = {row["kind"]: row for row in read_rows(tmp_path / "h" / "truth" / "faults.parquet")}
    assert set(planted) == set(faults.KINDS)
    data = (tmp_path / "h" / "export" / "reports.csv").read_bytes()
    dicom = tmp_path / "h" / "export" / "dicom"
    with pytest.raises(UnicodeDecodeError):
        data.decode(encoding)
    text = data.decode(encoding, errors="replace")
    assert text.count("\0") == 1
    assert text.count(planted["duplicated_row"]["accession"]) >= 2
    assert planted["image_without_study"]["accession"] not in text
    assert (dicom / planted["not_dicom"]["path"]).read_bytes().startswith(b"\x89PNG")
    images = read_rows(tmp_path / "h" / "truth" / "images.parquet")
    assert planted["study_without_images"]["accession"] not in {row["accession"] for row in images}
    cut = dicom / planted["truncated_dicom"]["path"]
    with pytest.raises((ValueError, EOFError, AttributeError, RuntimeError)):  # whichever decoder it meets
        _ = pydicom.dcmread(cut).pixel_array
    two = planted["two_patients"]["accession"]
    row = next(line for line in text.split("\r\n") if f";{two};" in line)
    patient = next(
        r["patient"] for r in read_rows(tmp_path / "h" / "truth" / "studies.parquet") if r["accession"] == two
    )
    people = {r["patient"]: r for r in read_rows(tmp_path / "h" / "truth" / "patients.parquet")}
    assert row.startswith(people[patient]["ipp"])
    assert dict(people[patient]["identity"])["surname"].upper() not in row.split(";")[1]


def test_the_command_counts_explains_and_refuses(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["phantom", "--dry-run", "--json", "-n", "40", "--out", str(tmp_path / "x")])
    assert result.exit_code == 0
    counts = json.loads(result.stdout)
    assert counts["patients"] == 40
    assert counts["studies"] == sum(counts["anatomies"].values())
    assert not (tmp_path / "x").exists()
    wrong = runner.invoke(app, ["phantom", "--dry-run", "patient=3"])
    assert wrong.exit_code == 2
    assert "patients" in wrong.stderr
    shutil.rmtree(tmp_path, ignore_errors=True)
