"""The stage from CSV to safe export: totals, reasons, resume, leaks, audit chain."""

# ruff: noqa: E501 - rows of an export are long
from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anonymize import batch, wordsets
from anonymize.audit import broken_line
from anonymize.console import Console, UserError
from anonymize.engines import alone, read_steps
from anonymize.files import read_json, read_rows
from anonymize.keys import Keys
from anonymize.policy import Columns, ReportsConfig
from anonymize.quarantine import read_quarantine
from anonymize.text import fold

KEYS = Keys(b"a test secret of some length")
HEADINGS = [
    "IPP",
    "NOM",
    "NOM_NAISSANCE",
    "PRENOM",
    "SEXE",
    "DATE_NAISSANCE",
    "ADRESSE",
    "CODE_POSTAL",
    "VILLE",
    "TELEPHONE",
    "NDA",
    "NUM_ACCESSION",
    "DATE_EXAMEN",
    "LIBELLE_EXAMEN",
    "PRESCRIPTEUR",
    "RADIOLOGUE",
    "TEXTE",
]
PEOPLE = [
    ("Kerbratec", "Ollivierou", "Armelline"),
    ("Vandeputte", "", "Joris-Karel"),
    ("N'Guessanou", "Traorelle", "Aminatou"),
]


def row(person: int, exam: int, text: str | None = None) -> list[str]:
    surname, birth_name, given = PEOPLE[person]
    body = (
        f"CH DE TREGASTELOU\n{surname.upper()} {given} née {birth_name} le 12/0{person + 1}/1950   Tél 06 12 34 5{person} 78\n"
        f'INDICATION : "douleur" chez Mme {surname} ; suivie par Dr Quiberonnec.\nRESULTATS : Épanchement. IPP 80{person}0077.\n'
        f"CONCLUSION : arthrose.\n\nDr Yseult LOCRONAN\n"
    )
    return [
        f"80{person}0077", surname.upper(), birth_name, given, "F", f"12/0{person + 1}/1950", f"{person + 3} rue des Goelandes", "22730",
        "Tregastelou", f"06 12 34 5{person} 78", f"7700{person}{exam}", f"ACC{person}{exam:04d}", "03/05/2024 10:30", "Genou face",
        "Dr Gwenolae QUIBERONNEC", "Dr Yseult LOCRONAN", body if text is None else text,
    ]  # fmt: skip


def write(path: Path, rows: list[list[str]], encoding: str = "cp1252", tail: bytes = b"") -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(HEADINGS)
        writer.writerows(rows)
    with path.open("ab") as stream:
        stream.write(tail)
    return path


def run(source: Path, out: Path, **values: object) -> dict:
    config = ReportsConfig(workers=1, **values)
    return batch.run_reports(config, source, out, KEYS, Console("quiet"))


def broken_rows() -> list[list[str]]:
    rows = [row(person, exam) for exam in range(4) for person in range(3)]
    rows.append(list(rows[0]))
    rows.append(row(0, 50, "  \n "))
    rows.append(["", *row(1, 51)[1:]])
    rows.append(row(1, 52, "texte\0coupé"))
    rows.append(row(1, 53, "Ã©panchement"))
    stranger = row(2, 54)
    stranger[1], stranger[3], stranger[5] = "ZUMTHORELL", "Beatus", "01/01/1999"
    rows.append(stranger)
    wrong = row(2, 55)
    wrong[12] = "hier"
    rows.append(wrong)
    return rows


def test_totals_reasons_and_no_leak(tmp_path: Path) -> None:
    source = write(tmp_path / "export.csv", broken_rows(), tail=b"a;b;c\r\n")
    out = tmp_path / "safe"
    summary = run(source, out, shard_mb=0.002)
    assert summary["rows"] == summary["reports"] + sum(summary["quarantined"].values()) == 20
    assert summary["quarantined"] == dict.fromkeys(summary["quarantined"], 1)
    assert set(summary["quarantined"]) == {
        "duplicated_row", "empty_report", "missing_identifier", "nul_byte", "wrong_encoding", "two_patients", "bad_date", "unparsable_row",
    }  # fmt: skip
    items = read_quarantine(out / "quarantine" / "reports.parquet")
    assert [item.position for item in items] == list(range(14, 22))
    rows = read_rows(out / "reports")
    assert len(rows) == 12
    assert len({r["patient"] for r in rows}) == 3
    assert rows[0]["patient"] in {KEYS.pseudonym("patient", f"80{person}0077") for person in range(3)}
    assert {r["study"] for r in rows} == {KEYS.pseudonym("study", f"ACC{p}{e:04d}") for p in range(3) for e in range(4)}
    everything = fold("\n".join(str(value) for r in rows for value in r.values()))
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            everything += fold(path.read_text(encoding="utf-8"))
    for real in ("kerbratec", "ollivierou", "armelline", "vandeputte", "joris", "guessanou", "traorelle", "aminatou", "tregastelou",
                 "goelandes", "quiberonnec", "locronan", "zumthorell", "8000077", "8010077", "06 12 34", "12/01/1950"):  # fmt: skip
        assert real not in everything, real
    assert broken_line(out / "audit.jsonl") is None


def test_workers_shards_and_resume_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "export.csv", [row(person, exam) for exam in range(5) for person in range(3)], "utf-8")
    whole = run(source, tmp_path / "a", shard_mb=0.002)
    out = tmp_path / "b"
    real, calls = batch.ShardWorker.__call__, []

    def dies(self: batch.ShardWorker, shard: int) -> int:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(shard)
        return real(self, shard)

    monkeypatch.setattr(batch.ShardWorker, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, shard_mb=0.002)
    monkeypatch.setattr(batch.ShardWorker, "__call__", real)
    done = {path: path.stat().st_mtime_ns for path in (out / "reports").glob("*.parquet")}
    assert len(done) == 1
    again = run(source, out, shard_mb=0.002)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    assert read_rows(out / "reports") == read_rows(tmp_path / "a" / "reports")
    assert {key: again[key] for key in ("rows", "reports", "spans")} == {
        key: whole[key] for key in ("rows", "reports", "spans")
    }
    assert not list((tmp_path / "b.private" / "reports").glob("bucket-*"))
    assert not (tmp_path / "b.private" / "reports" / "names.sealed").exists()


def bytes_of(out: Path) -> dict[str, bytes]:
    """Every file of an export that a later stage or a person reads, and of its vault."""
    private = out.with_name(f"{out.name}.private")
    files = [*(out / "reports").glob("part-*"), *(out / "quarantine").iterdir(), *(private / "vault").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def test_any_number_of_workers_and_any_order_of_shards_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "export.csv", broken_rows())
    run(source, tmp_path / "one", shard_mb=0.002)
    batch.run_reports(ReportsConfig(workers=2, shard_mb=0.002), source, tmp_path / "two", KEYS, Console("quiet"))
    real = batch.run_tasks
    monkeypatch.setattr(batch, "run_tasks", lambda job, tasks, *others: real(job, tasks[::-1], *others))
    run(source, tmp_path / "back", shard_mb=0.002)
    expected = bytes_of(tmp_path / "one")
    assert len(expected) > 6
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "back") == expected


def test_the_tasks_of_an_array_write_what_one_run_writes(tmp_path: Path) -> None:
    source = write(tmp_path / "export.csv", broken_rows())
    whole = run(source, tmp_path / "one", shard_mb=0.002)
    config = ReportsConfig(workers=1, shard_mb=0.002)

    def step(**options: object) -> dict[str, object]:
        steps = read_steps(**{"plan": False, "shards": "", "finish": False, **options})
        return batch.run_reports(config, source, tmp_path / "array", KEYS, Console("quiet"), steps)

    with pytest.raises(UserError, match="--plan first"):
        step(shards="1/3")
    planned = step(plan=True)
    assert planned["rows"] == whole["rows"]
    done = [step(shards=f"{number}/3")["shards"] for number in (3, 1)]
    with pytest.raises(UserError, match="not done"):
        step(finish=True)
    done.append(step(shards="2/3")["shards"])
    assert sum(done) == planned["shards"] > 3
    summary = step(finish=True)
    assert {k: v for k, v in summary.items() if "second" not in k} == {
        k: v for k, v in whole.items() if "second" not in k
    }
    assert bytes_of(tmp_path / "array") == bytes_of(tmp_path / "one")


def test_killed_again_and_again_the_bytes_are_the_same(tmp_path: Path) -> None:
    """Kill the whole process tree, also in the first pass; what waits on disk is sealed; the end is the same."""
    source = write(tmp_path / "export.csv", [row(person, exam) for exam in range(200) for person in range(3)], "utf-8")
    secret = tmp_path / "secret"
    secret.write_bytes(KEYS.secret)
    run(source, tmp_path / "whole", shard_mb=0.01)
    out, private = tmp_path / "killed", tmp_path / "killed.private"
    command = [sys.executable, "-m", "anonymize.cli", "reports", str(source), "--out", str(out), "--secret-file", str(secret),
               "shard_mb=0.01", "workers=2", "--quiet"]  # fmt: skip

    def waits(sign: str) -> None:
        child = subprocess.Popen(command, start_new_session=True, cwd=Path(__file__).parent.parent)
        while child.poll() is None and not list(private.glob(sign)) and not list(out.glob(sign)):
            time.sleep(0.01)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    for sign in ("reports/bucket-*", "reports/plan.json", "reports/part-00000*", "reports/shard-0000[2-9]*"):
        waits(sign)
        for path in private.rglob("*"):
            if path.is_file():
                assert b"kerbratec" not in path.read_bytes().lower(), path.name
    subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
    assert not [path for path in (*out.rglob(".part-*"), *private.rglob(".part-*"))]
    assert not list(private.rglob("*.sealed"))


def test_rows_and_parts_do_not_follow_the_export(tmp_path: Path) -> None:
    """Row order and part numbers are keyed: equal for the same secret, other for another one."""
    source = write(tmp_path / "export.csv", [row(person, exam) for exam in range(30) for person in range(3)], "utf-8")
    run(source, tmp_path / "safe")
    rows = read_rows(tmp_path / "safe" / "reports")
    assert [r["report_id"] for r in rows] == sorted(r["report_id"] for r in rows)
    config = ReportsConfig(workers=1, vault=False)
    batch.run_reports(config, source, tmp_path / "other", Keys(b"another secret, long enough"), Console("quiet"))
    order = {KEYS.pseudonym("study", f"ACC{p}{e:04d}"): (p, e) for p in range(3) for e in range(30)}
    other = {
        Keys(b"another secret, long enough").pseudonym("study", f"ACC{p}{e:04d}"): (p, e) for p, e in order.values()
    }
    assert [order[r["study"]] for r in rows] != [other[r["study"]] for r in read_rows(tmp_path / "other" / "reports")]
    assert not (tmp_path / "other.private" / "vault").exists()


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "safe", "reports"), pytest.raises(UserError, match="another run"):
        run(write(tmp_path / "e.csv", [row(0, 1)]), tmp_path / "safe")


def test_ray_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    source = write(tmp_path / "export.csv", broken_rows())
    run(source, tmp_path / "local", shard_mb=0.002)
    config = ReportsConfig(workers=2, shard_mb=0.002, engine="ray")
    batch.run_reports(config, source, tmp_path / "ray", KEYS, Console("quiet"))
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")


def test_ray_is_asked_for_and_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="install the extra 'ray'"):
        run(write(tmp_path / "e.csv", [row(0, 1)]), tmp_path / "safe", engine="ray")


def test_names_found_once_are_searched_in_all_reports_of_the_patient(tmp_path: Path) -> None:
    rows = [
        row(0, 1, "Vue avec sa soeur Mme Ploumanacha. RESULTATS : normal."),
        row(0, 2, "RESULTATS : selon Ploumanacha, chute."),
    ]
    run(write(tmp_path / "e.csv", rows), tmp_path / "safe")
    texts = [r["text"] for r in read_rows(tmp_path / "safe" / "reports")]
    assert not any("Ploumanacha" in text for text in texts)
    words = [set(text.replace(".", " ").replace(",", " ").split()) for text in texts]
    assert len((words[0] & words[1]) - {"RESULTATS", ":"}) == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"export{suffix}"
    rows = [dict(zip(HEADINGS, row(person, 1), strict=True)) for person in range(3)]
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n", encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    summary = run(path, tmp_path / "safe")
    assert summary["reports"] == 3
    assert summary["quarantined"] == ({"unparsable_row": 1} if suffix == ".jsonl" else {})


def test_columns_by_name_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("Malade,Prose\n1,Examen normal du genou.\n", encoding="utf-8")
    with pytest.raises(UserError, match="patient and text"):
        run(path, tmp_path / "x")
    with pytest.raises(UserError, match="no such column"):
        run(path, tmp_path / "x", columns=Columns(patient="Patient", text="Prose"))
    assert run(path, tmp_path / "x", columns=Columns(patient="Malade", text="Prose"))["reports"] == 1
    assert read_json(tmp_path / "x" / "reports" / "summary.json")["reports"] == 1


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "export.csv", broken_rows())
    before = sorted(tmp_path.rglob("*"))
    found = batch.dry_run(ReportsConfig(), source, KEYS, Console("quiet"))
    assert found["columns"]["text"] == "TEXTE"
    assert found["spans"]["name"] > 10
    assert sorted(tmp_path.rglob("*")) == before


def test_many_names_need_little_memory_and_are_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordsets, "SMALL", 500)
    pool, other = wordsets.WordPool(), wordsets.WordPool()
    words = [f"nom{(number * 7919) % 4000:04d}é" for number in range(5000)]
    for word in words:
        pool.add(word)
    other.update(words[:10], ["ailleurs"])
    assert sorted(set(words)) == list(pool)
    both = wordsets.united(pool, other)
    assert isinstance(both, wordsets.PackedWords)
    assert len(both) == len(set(words)) + 1
    assert set(both) == {*words, "ailleurs"}
    assert all(word in both for word in words)
    assert not any(word in both for word in ("", "nom", "zzz", "nom0001", "nom9999é", "\U0001f600"))
    assert len(both._data) + both._ends.itemsize * len(both._ends) < 20 * len(both)
    monkeypatch.setattr(wordsets, "SMALL", 10**6)
    assert wordsets.united(pool, other) == set(both)


def test_packed_names_give_the_same_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "export.csv", broken_rows())
    run(source, tmp_path / "sets", shard_mb=0.002)
    monkeypatch.setattr(wordsets, "SMALL", 2)
    run(source, tmp_path / "packed", shard_mb=0.002)
    assert bytes_of(tmp_path / "packed") == bytes_of(tmp_path / "sets")
