"""``anonymize dicom`` in the tasks of an array, on Ray, and where duplicates differ: always the bytes of one local run."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import film, instance, save

from anonymize.console import Console, UserError
from anonymize.dicom import merge
from anonymize.dicom.batch import run_dicom
from anonymize.dicom.config import DicomConfig
from anonymize.engines import read_steps
from anonymize.files import read_rows
from anonymize.keys import Keys, private_folder
from anonymize.quarantine import read_quarantine

KEYS = Keys(b"a secret of thirty-two bytes here")
QUIET = Console("quiet")
ROOT = Path(__file__).parent.parent
TIMES = ("seconds", "images_per_second_core")


def export(folder: Path) -> None:
    """Eleven files: copies, a copy with another film, one of another patient, a broken one."""
    for number in range(6):
        save(
            instance(number, accession=f"A{number // 2}", pixels=film((96, 80), seed=number)), folder / f"a{number}.dcm"
        )
    shutil.copy(folder / "a1.dcm", folder / "z_copy_of_1.dcm")
    save(instance(2, accession="A1", pixels=film((96, 80), seed=77)), folder / "b_other_film_of_2.dcm")
    save(instance(2, accession="A1", pixels=film((96, 80), seed=78)), folder / "y_third_film_of_2.dcm")
    save(instance(3, accession="A1", patient_id="IPP77"), folder / "y_3_of_another_patient.dcm")
    (folder / "m_broken.dcm").write_bytes((folder / "a0.dcm").read_bytes()[:3000])


def everything(out: Path) -> dict[str, bytes]:
    """All files of an export and its private look-up; of summaries what is no time."""
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    del files["audit.jsonl"], files["dicom/config.yaml"]
    summary = json.loads(files.pop("dicom/summary.json"))
    files["summary"] = json.dumps({k: v for k, v in summary.items() if k not in TIMES}).encode()
    files["look-up"] = (private_folder(out) / "quarantine-lookup-dicom.jsonl").read_bytes()
    return files


def local(source: Path, out: Path, **settings: Any) -> dict[str, bytes]:
    run_dicom(DicomConfig(**{"workers": 1, "shard_size": 2, **settings}), source, out, KEYS, QUIET)
    return everything(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("whole")
    export(folder / "in")
    return folder / "in", local(folder / "in", folder / "safe")


def test_the_first_of_a_duplicate_stays_and_no_other(whole: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    source, expected = whole
    for name, data in expected.items():
        if name.startswith("images/"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    rows = read_rows(tmp_path / "images/index")
    assert len(rows) == 6 == len(list((tmp_path / "images").rglob("*.dcm")))
    films = {pydicom.dcmread(tmp_path / "images" / row["path"]).pixel_array.tobytes() for row in rows}
    assert films == {film((96, 80), seed=number).tobytes() for number in range(6)}
    (tmp_path / "q.parquet").write_bytes(expected["quarantine/dicom.parquet"])
    items = read_quarantine(tmp_path / "q.parquet")
    assert [item.position for item in items] == sorted(item.position for item in items)
    assert [item.reason for item in items].count("duplicate_instance") == 4
    names = sorted(path.name for path in source.iterdir())
    refs = {KEYS.pseudonym("file", name): name for name in names}
    assert all(names[item.position - 1] == refs[item.ref] for item in items)


@pytest.mark.parametrize(("workers", "order"), [(2, 1), (1, -1)])
def test_order_of_work_does_not_show(
    whole: tuple[Path, dict[str, bytes]], tmp_path: Path, workers: int, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anonymize.dicom.batch as batch

    real = batch.run_tasks
    monkeypatch.setattr(batch, "run_tasks", lambda job, tasks, *rest: real(job, list(tasks)[::order], *rest))
    assert local(whole[0], tmp_path / "safe", workers=workers) == whole[1]


def test_three_array_tasks_in_any_order_write_what_one_run_writes(
    whole: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(KEYS.secret)
    out = tmp_path / "safe"

    def command(*step: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "anonymize.cli", "dicom", str(whole[0]), "--out", str(out), *step, "--json"]
        line += ["--secret-file", str(secret), "workers=1", "shard_size=2"]
        return subprocess.Popen(line, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def result(process: subprocess.Popen[str]) -> dict[str, Any]:
        printed, errors = process.communicate()
        assert process.returncode == 0, errors
        return json.loads(printed)

    assert command("--shards", "1/3").wait() != 0, "there is no plan yet"
    assert result(command("--plan"))["shards"] == 6
    tasks = [1, 2, 3]
    random.Random(5).shuffle(tasks)
    first = result(command("--shards", f"{tasks[0]}/3"))
    assert command("--finish").wait() != 0, "two tasks are missing"
    beside = [command("--shards", f"{task}/3") for task in tasks[1:]]
    assert first["files"] + sum(result(process)["files"] for process in beside) == 11
    assert result(command("--finish"))["written"] == 6
    assert everything(out) == whole[1]
    assert result(command("--finish"))["written"] == 6, "it can be done again"
    assert everything(out) == whole[1]


def test_the_plan_of_another_configuration_is_refused(whole: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    plan, work = read_steps(True, "", False), read_steps(False, "1/1", False)
    run_dicom(DicomConfig(workers=1), whole[0], tmp_path / "safe", KEYS, QUIET, plan)
    with pytest.raises(UserError, match="another configuration"):
        run_dicom(DicomConfig(workers=1, retain_device_identity="none"), whole[0], tmp_path / "safe", KEYS, QUIET, work)


def test_a_duplicate_that_went_away_gives_its_place_back(tmp_path: Path) -> None:
    """The first of two differing duplicates is taken out of the source: the second, of a finished shard, must stand there."""
    source = tmp_path / "in"
    save(instance(1, pixels=film((96, 80), seed=1)), source / "a.dcm")
    save(instance(2, pixels=film((96, 80), seed=2)), source / "b.dcm")
    save(instance(3, pixels=film((96, 80), seed=3)), source / "c.dcm")
    save(instance(1, pixels=film((96, 80), seed=9)), source / "d.dcm")
    local(source, tmp_path / "safe")
    save(instance(7, pixels=film((96, 80), seed=7)), source / "a.dcm")  # same shards, another instance
    assert local(source, tmp_path / "safe") == local(source, tmp_path / "fresh")
    assert len(read_rows(tmp_path / "safe/images/index")) == 4


def test_keys_that_collide_are_no_duplicates(
    whole: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_keys", lambda values: np.zeros(len(values), np.uint64))
    monkeypatch.setattr(merge, "sweep", lambda *arguments: 0)  # it may leave a file where keys collide, never take one
    run_dicom(DicomConfig(workers=1, shard_size=2), whole[0], tmp_path / "safe", KEYS, QUIET)
    rows = read_rows(tmp_path / "safe/images/index")
    assert len(rows) == 6


def test_ray_gives_the_same_bytes(whole: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    assert local(whole[0], tmp_path / "safe", workers=2, engine="ray") == whole[1]


def test_rows_and_parts_do_not_follow_the_names_of_the_source(tmp_path: Path) -> None:
    """Folders can have patients' names: neither the place of a row nor the number of its part tells their order."""
    for number in range(24):
        header = {"patient_id": f"IPP{number}", "accession": f"ACC{number}"}
        save(instance(number, pixels=film((48, 40)), **header), tmp_path / "in" / f"NAME{number:02d}" / "a.dcm")
    local(tmp_path / "in", tmp_path / "safe", shard_size=6)
    number_of = {KEYS.pseudonym("patient", f"IPP{number}"): number for number in range(24)}
    parts = [read_rows(path) for path in sorted((tmp_path / "safe/images/index").glob("*.parquet"))]
    assert len(parts) == 4
    assert all(rows == sorted(rows, key=lambda row: row["image_id"]) for rows in parts)
    order = [number_of[row["patient"]] for rows in parts for row in rows]
    assert sorted(order) == list(range(24))
    assert abs(np.corrcoef(order, range(24))[0, 1]) < 0.6, "0.0000 would be the mean, 0.21 the standard deviation"
    times = sorted((tmp_path / "safe/images").rglob("*.dcm"), key=lambda path: path.stat().st_mtime_ns)
    assert [number_of[path.parts[-3]] for path in times] != list(range(24))


def test_the_slurm_script_asks_for_the_three_steps(tmp_path: Path) -> None:
    """A stand-in for sbatch notes what it is asked for: the steps, in order, each after the one before."""
    fake = tmp_path / "sbatch"
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$*" >> "$(dirname "$0")/asked"\nwc -l < "$(dirname "$0")/asked"\n')
    fake.chmod(0o755)
    script = ROOT / "scripts/slurm-shards.sh"
    line = [script, "12", "anonymize", "dicom", "/data/my films", "--out", "/safe", "--secret-file", "/secret"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CORES": "8"}
    run = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "plan 1, work 2 (1-12), finish 3\n"
    plan, work, finish = (tmp_path / "asked").read_text().splitlines()
    assert "dicom /data/my\\ films --out /safe" in plan
    assert plan.rstrip().endswith("workers=8 --quiet --plan")
    assert {"--array=1-12", "--dependency=afterok:1", "$SLURM_ARRAY_TASK_ID/12"} <= set(work.split())
    assert "--shards" in work
    assert "--dependency=afterok:2" in finish
    assert finish.rstrip().endswith("--finish")
    assert subprocess.run([script, "x"], env=environment, capture_output=True, check=False).returncode == 2
    line = [script, "3", "vlp", "prepare", "/safe", "--out", "/corpus"]
    subprocess.run(line, env=environment, capture_output=True, check=True)
    plan, work, finish = (tmp_path / "asked").read_text().splitlines()[3:]
    assert "vlp prepare /safe --out /corpus workers=8 --quiet --plan" in plan
    assert "--job-name=vlp-prepare-work" in work
    line[3] = "pretrain"
    assert subprocess.run(line, env=environment, capture_output=True, check=False).returncode == 2
