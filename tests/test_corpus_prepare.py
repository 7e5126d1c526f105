from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from safe_factory import INDEX, dicom_image, make_safe, save, write_safe
from typer.testing import CliRunner

from anonymize.config import load_config
from anonymize.console import Console, UserError
from anonymize.files import read_json, read_rows, write_table
from anonymize.quarantine import read_quarantine
from vlp.cli import app
from vlp.corpus import build
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.prepare import run_prepare
from vlp.corpus.source import ImageFile
from vlp.corpus.text import report_hash

QUIET = Console("quiet")


def config(**values) -> PrepareConfig:
    return PrepareConfig(**{"size": 48, "workers": 1, "shard_images": 4, **values})


def content(folder: Path) -> dict[str, bytes]:
    """Everything but what holds times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("summary.json", "config.yaml")
    }


def test_a_clean_export_becomes_a_corpus(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe")
    summary = run_prepare(config(), safe, tmp_path / "corpus", QUIET)
    assert summary["images"] == {"read": 6, "kept": 6, "refused": 0}
    corpus = Corpus.open(tmp_path / "corpus")
    study = corpus.studies[3]
    assert (study.study_id, study.patient_id, study.anatomy, study.sex) == ("S003", "P001", "knee", "F")
    assert (study.images[0].view, study.images[0].laterality, study.report_source) == ("AP", "R", "report")
    pixels = corpus.pixels(study.images[0])
    assert max(pixels.shape) == 48
    assert study.images[0].spacing_mm == pytest.approx(0.2 * 80 / 48)
    assert pixels[24, 18] > pixels[2, 2]
    assert len({s.report_hash for s in corpus.studies}) == 6
    for split in {s.split for s in corpus.studies}:
        assert corpus.select(split=split)
    assert "pseudonymised" in corpus.card
    assert (tmp_path / "corpus" / "card" / "anatomy.png").read_bytes()[:4] == b"\x89PNG"


def test_broken_input_is_quarantined_and_the_counts_add_up(tmp_path):
    safe, images, reports = make_safe(tmp_path / "safe", studies=12)
    at = {row["image_id"]: safe / "images" / row["path"] for row in images}
    at["I000"].write_bytes(at["I000"].read_bytes()[:900])
    at["I001"].unlink()
    at["I002"].write_bytes(b"")
    at["I003"].write_bytes(b"Compte rendu\0" * 99)
    blank = dicom_image(WindowCenter=2000, WindowWidth=4000)
    blank.PixelData = bytes(2 * 80 * 60)
    save(blank, at["I004"])
    shutil.copy(at["I006"], at["I007"])  # same patient
    shutil.copy(at["I008"], at["I010"])  # another patient
    images[9]["patient"] = "P999"  # report names another patient
    images.append({**images[11]})
    images.append({**INDEX, "image_id": "I100", "patient": "P100", "study": "S100", "path": images[11]["path"]})
    reports[5] = {**reports[5], "study": "S555", "date": "1999-01-01"}  # no images of that study nor of that day
    reports.append({**reports[6]})
    reports.append({**reports[11], "report_id": "R200", "text": "Tout autre chose.", "results": "Tout autre chose."})
    write_safe(safe, images, reports)
    summary = run_prepare(config(), safe, tmp_path / "corpus", QUIET)
    for what in ("images", "reports"):
        assert summary[what]["kept"] + summary[what]["refused"] == summary[what]["read"]
        assert summary[what]["refused"] == sum(summary[f"refused_{what}"].values())
    assert summary["refused_images"] == {
        "truncated_image": 1,
        "missing_file": 1,
        "empty_file": 1,
        "not_an_image": 1,
        "blank_image": 1,
        "duplicate_image": 1,
        "duplicate_of_other_patient": 2,
        "duplicate_image_id": 1,
    }
    assert summary["refused_reports"]["patient_mismatch"] == 1
    assert summary["refused_reports"]["report_without_images"] == 1
    assert summary["refused_reports"]["duplicate_report"] == 1
    assert summary["refused_reports"]["conflicting_reports"] == 2
    items = read_quarantine(tmp_path / "corpus" / "quarantine.parquet")
    assert len(items) == summary["images"]["refused"] + summary["reports"]["refused"]
    assert all(item.remedy and item.reason and item.ref for item in items)
    corpus = Corpus.open(tmp_path / "corpus")
    assert {s.study_id for s in corpus.studies if not s.report} == {"S005", "S009", "S011"}


def test_the_same_bytes_with_any_number_of_workers_and_after_a_kill(tmp_path, monkeypatch):
    safe, _, _ = make_safe(tmp_path / "safe", studies=10)
    run_prepare(config(), safe, tmp_path / "one", QUIET)
    run_prepare(config(workers=2), safe, tmp_path / "two", QUIET)
    assert content(tmp_path / "one") == content(tmp_path / "two")

    original, seen = build.prepare_image, []

    def killed(image, *how):
        seen.append(image.image_id)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return original(image, *how)

    monkeypatch.setattr(build, "prepare_image", killed)
    with pytest.raises(KeyboardInterrupt):
        run_prepare(config(), safe, tmp_path / "three", QUIET)
    with pytest.raises(UserError, match="vlp prepare"):
        Corpus.open(tmp_path / "three")
    run_prepare(config(), safe, tmp_path / "three", QUIET)
    assert seen[7:] == [f"I{n:03d}" for n in range(4, 10)]  # the first shard is not made again
    assert content(tmp_path / "one") == content(tmp_path / "three")
    run_prepare(config(size=40), safe, tmp_path / "three", QUIET)
    assert len(seen) == 7 + 6 + 10


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_decoder_that_dies_costs_one_image(tmp_path, monkeypatch, engine):
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    here = str(Path(__file__).parent)  # actors must find the worker of this test
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))))
    safe, images, _ = make_safe(tmp_path / "safe", studies=8)
    path = safe / "images" / images[3]["path"]
    path.write_bytes(b"die")
    monkeypatch.setattr(build, "Preparer", PreparerThatDies)
    files = [ImageFile(r["image_id"], str(safe / "images" / r["path"]), "", "") for r in images]
    shards = build.shards_of(files, config())
    rows = build.build_shards(shards, tmp_path / "corpus", config(workers=2, engine=engine), QUIET, len(files))
    assert [row.image_id for row in rows] == [r["image_id"] for r in images]
    assert [row.reason for row in rows] == ["", "", "", "decoder_crashed", "", "", "", ""]
    assert [(row.shard, row.row) for row in rows] == [(0, 0), (0, 1), (0, 2), (0, -1), (1, 0), (1, 1), (1, 2), (1, 3)]


class PreparerThatDies(build.Preparer):
    def __call__(self, task):
        if any(Path(image.file).read_bytes() == b"die" for image in task.images):
            os._exit(9)
        return super().__call__(task)


def test_tasks_of_an_array_make_the_same_corpus(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe", studies=10)
    run_prepare(config(), safe, tmp_path / "one", QUIET)
    runner, out = CliRunner(), tmp_path / "three"
    command = ["prepare", str(safe), "--out", str(out), "size=48", "workers=1", "shard_images=4", "--json"]
    early = runner.invoke(app, [*command, "--shards", "1/3"])
    assert early.exit_code == 2
    assert "--plan" in early.stderr
    planned = runner.invoke(app, [*command, "--plan"])
    assert json.loads(planned.stdout) == {"images": 10, "shards": 3}
    for task in ("3/3", "1/3"):
        assert runner.invoke(app, [*command, "--shards", task]).exit_code == 0
    with pytest.raises(UserError, match="vlp prepare"):
        Corpus.open(out)
    missing = runner.invoke(app, [*command, "--finish"])
    assert missing.exit_code == 2
    assert "1 of 3 shards" in missing.stderr
    assert "number 1" in missing.stderr
    other = runner.invoke(app, [*command, "--shards", "2/3", "size=40"])
    assert other.exit_code == 2
    assert "other settings" in other.stderr
    assert json.loads(runner.invoke(app, [*command, "--shards", "2/3"]).stdout) == {"images": 4, "shards": 1}
    done = runner.invoke(app, [*command, "--finish"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["images"]["read"] == 10
    assert content(out) == content(tmp_path / "one")
    assert not (out / "plan.parquet").exists()


@pytest.mark.parametrize("store", ["parquet", "tar"])
def test_ray_makes_the_same_corpus(tmp_path, store):
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    safe, _, _ = make_safe(tmp_path / "safe", studies=10)
    run_prepare(config(store=store), safe, tmp_path / "one", QUIET)
    run_prepare(config(store=store, workers=2, engine="ray"), safe, tmp_path / "ray", QUIET)
    assert content(tmp_path / "ray") == content(tmp_path / "one")


def test_a_cluster_without_the_package_blames_no_image(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    safe, _, _ = make_safe(tmp_path / "safe", studies=4)
    monkeypatch.setattr(build, "Preparer", PreparerThatDies)  # of this module, which no actor finds
    with pytest.raises(UserError, match="every node"):
        run_prepare(config(workers=2, engine="ray"), safe, tmp_path / "corpus", QUIET)
    with pytest.raises(UserError, match="vlp prepare"):
        Corpus.open(tmp_path / "corpus")


def test_labels_are_joined_and_wrong_ones_left_out(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe")
    rows = [
        {"study": "S000", "fracture": 1.0, "kl_grade": 3, "noise": "x"},
        {"study": "S001", "fracture": 0.0, "kl_grade": 9, "noise": ""},
        {"study": "S002", "fracture": None, "kl_grade": None, "noise": ""},
        {"study": "S003", "fracture": 1.0, "kl_grade": 2, "noise": ""},
        {"study": "S003", "fracture": 0.0, "kl_grade": 2, "noise": ""},
    ]
    write_table(safe / "tables" / "labels.parquet", rows)
    summary = run_prepare(config(), safe, tmp_path / "corpus", QUIET)
    labels = {s.study_id: s.labels for s in Corpus.open(tmp_path / "corpus").studies}
    assert labels["S000"] == {"fracture": 1.0, "kl_grade": 3.0}
    assert labels["S001"] == {"fracture": 0.0}
    assert labels["S002"] == {}
    assert labels["S003"] == {"kl_grade": 2.0}
    assert summary["notes"] == {"labels_in_conflict": 1, "labels_out_of_range": 1}


def test_equal_reports_are_known_whatever_their_date():
    first = report_hash("Pas de fracture, le 12 mars 2021 à 14h30.", "", "")
    assert first == report_hash("PAS DE FRACTURE le 3 avril 2019 à 9h05", "", "autre en-tête")
    assert first != report_hash("Fracture, le 12 mars 2021 à 14h30.", "", "")
    assert report_hash("Âge osseux de 8 ans.", "", "") != report_hash("Âge osseux de 12 ans.", "", "")
    assert report_hash(" ", "", "12/03/2021") == ""


def test_command_line(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe")
    out = str(tmp_path / "corpus")
    done = CliRunner().invoke(app, ["prepare", str(safe), "--out", out, "size=32", "workers=1", "split.test=0.5"])
    assert done.exit_code == 0, done.output
    assert f"next: vlp pretrain {out}" in done.output
    assert read_json(tmp_path / "corpus" / "corpus.json")["size"] == 32
    wrong = CliRunner().invoke(app, ["prepare", str(safe), "--out", out, "splitt.test=0.5"])
    assert wrong.exit_code == 2
    assert "did you mean 'split'" in wrong.output
    empty = CliRunner().invoke(app, ["prepare", str(tmp_path / "safe" / "reports"), "--out", out])
    assert empty.exit_code == 2
    assert "anonymize dicom" in empty.output


def test_decoded_table_says_how_every_image_was_read(tmp_path):
    safe, _, _ = make_safe(tmp_path / "safe")
    run_prepare(load_config(PrepareConfig, None, ["workers=1", "size=32"]), safe, tmp_path / "corpus", QUIET)
    rows = read_rows(tmp_path / "corpus" / "decoded")
    assert [row["window_path"] for row in rows] == ["percentile"] * 6
    assert [row["row"] for row in rows] == list(range(6))
