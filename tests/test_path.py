"""The demo's own stages on a very small hospital: nothing identifying survives, totals add up, no network, same metrics
after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from conftest import ROOT
from path_run import command_for, environment_for, run_demo

from anonymize.files import read_json, read_rows
from anonymize.quarantine import read_quarantine
from vlp.corpus.dataset import Corpus

SMALL = [
    "hospital.patients=64",
    "hospital.shares={hand: 1.2, knee: 1.6, forearm: 0.6, wrist: 0.8, lower_leg: 0.2, ankle: 0.2, chest: 1.2}",
    "prepare.split.test=0.35",
    "hospital.size=192",
    "hospital.chunk_patients=12",
    "pretrain.steps=4",
    "pretrain.data.batch_size=8",
    "pretrain.image.name=vit_atto",
    "pretrain.monitor=0",
    "align.steps=6",
    "align.data.batch_size=8",
    "align.checkpoint_every=2",
    "evaluate.resamples=100",
    "evaluate.minimum_test=4",
    "evaluate.attention_maps=2",
    *[f"{task}.{key}" for task in ("bone-age", "osteoarthritis", "fracture") for key in ("steps=3", "resamples=100")],
    "report-generation.steps=3",
    "report-generation.resamples=100",
    "report-generation.max_tokens=24",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("path")
    done = run_demo(folder, "demo.yaml", SMALL)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_nothing_opened_a_connection(finished: Path) -> None:
    assert not (finished / "network.txt").exists(), (finished / "network.txt").read_text()


def _identities(run: Path) -> set[str]:
    """Every fake identity of the truth: names, numbers, addresses, phones, as the generator knows them."""
    found: set[str] = set()
    for table in ("patients", "studies"):
        for row in read_rows(run / f"hospital/truth/{table}.parquet", ["identity"]):
            found |= {str(value) for _, value in row["identity"] if value}
    return found


def _clinical_words() -> set[str]:
    """Words that reports use for other things than the identity (a surname can be 'Petit'), from the grammar itself."""
    words: set[str] = set()
    for path in (ROOT / "anonymize/languages/fr").glob("*.yaml"):
        if path.stem not in ("identities", "surrogates"):
            words |= set(re.findall(r"\w+", _plain(path.read_text(encoding="utf-8"))))
    return words


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).upper()


def _texts(root: Path) -> dict[str, bytes]:
    """All files below ``root`` as searchable bytes: Parquet as its values, everything else as it is."""
    found: dict[str, bytes] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = str(path.relative_to(root))
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            keep = [c for c in table.column_names if c not in ("png", "pixels")]
            found[name] = json.dumps(table.select(keep).to_pylist(), ensure_ascii=False, default=str).encode()
        elif path.suffix not in (".safetensors", ".png", ".pt"):
            found[name] = path.read_bytes()
        found[f"name of {name}"] = name.encode()
    return found


def _dicom_without_pixels(path: Path) -> bytes:
    data = pydicom.dcmread(path)
    raw = path.read_bytes()
    pixels = bytes(data.PixelData)
    return raw.replace(pixels, b"") if len(pixels) < len(raw) else raw


def test_no_identity_survives_anywhere(finished: Path) -> None:
    run = finished / "run"
    identities = _identities(run)
    assert len(identities) > 300
    clinical = _clinical_words() | {"EXEMPLE"}  # the invented mail domain is exemple.invalid
    wanted: dict[str, str] = {}  # what is searched: whole values, and each word of a name that is no clinical word
    for value in identities:
        plain = _plain(value)
        # short numbers and words of everyday language would be found everywhere without being a leak
        if len(plain) >= 6:
            wanted[value] = value
        for word in re.findall(r"\w{5,}", plain):
            if word not in clinical and not word.isdigit():
                wanted[word] = word
    places = [p for p in run.iterdir() if p.name not in ("hospital", "safe.private")]
    leaks: Counter[str] = Counter()
    for place in places:
        texts = _texts(place) if place.is_dir() else {place.name: place.read_bytes()}
        for name, raw in texts.items():
            if name.endswith(".dcm") and not name.startswith("name of"):
                raw = _dicom_without_pixels(place / name)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                text = raw.decode("latin-1")
            plain = _plain(text)
            bounded = set(re.findall(r"\w+", plain))
            for value in wanted:
                hit = value in bounded if re.fullmatch(r"\w+", value) else _plain(value) in plain
                leaks[f"{place.name}/{name.split('/')[0]}"] += hit or (
                    value.encode("latin-1", "ignore") in raw and len(value) > 7
                )
    assert not +leaks, +leaks


def test_bad_input_is_quarantined_by_its_reason_and_the_totals_add_up(finished: Path) -> None:
    run = finished / "run"
    planted = Counter(row["kind"] for row in read_rows(run / "hospital/truth/faults.parquet"))
    assert len(planted) >= 9
    items = read_quarantine(run / "safe/quarantine") + read_quarantine(run / "corpus/quarantine.parquet")
    reasons = Counter(item.reason for item in items)
    assert all(item.remedy for item in items)
    for kind in ("empty_report", "nul_byte", "duplicated_row", "wrong_encoding", "two_patients", "truncated_dicom"):
        assert reasons[kind] >= planted[kind], (kind, planted, reasons)
    assert reasons["not_dicom"] >= 1
    assert reasons["report_without_images"] >= 1
    reports = read_json(run / "safe/reports/summary.json")
    assert reports["rows"] == reports["reports"] + sum(reports["quarantined"].values())
    films = read_json(run / "safe/dicom/summary.json")
    assert films["files_in"] == films["written"] + films["ignored"] + sum(films["quarantined"].values())
    corpus = Corpus.open(run / "corpus")
    assert sum(len(s.images) for s in corpus.studies) <= films["written"]
    assert films["written"] == len(read_rows(run / "safe/images/index"))


def test_no_patient_is_in_two_splits(finished: Path) -> None:
    splits: dict[str, set[str]] = {}
    for study in Corpus.open(finished / "run/corpus").studies:
        splits.setdefault(study.patient_id, set()).add(study.split)
    assert all(len(found) == 1 for found in splits.values())


def test_the_page_opens_offline_and_holds_the_numbers(finished: Path) -> None:
    page = (finished / "run/index.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    metrics = read_json(finished / "run/metrics.json")
    assert {"results", "stages", "versions"} <= set(metrics)
    tasks = {row["task"] for row in metrics["results"]}
    assert {"retrieval", "report_generation"} <= tasks
    for stage in metrics["stages"]:
        assert stage["name"] in page
    assert "pseudonymised" in page
    assert "Synthetic hospital" in page


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_metrics(finished: Path, tmp_path: Path) -> None:
    """SIGKILL to the runner at random moments, then the same command until it is done."""
    generator = np.random.default_rng()
    command, environment = command_for_restart(tmp_path)
    for _ in range(6):
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + float(generator.uniform(8, 60))
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = run_demo(tmp_path, "demo.yaml", SMALL)
    assert done.returncode == 0, done.stderr[-4000:]
    kept = [json.dumps(row, sort_keys=True) for row in read_json(finished / "run/metrics.json")["results"]]
    again = [json.dumps(row, sort_keys=True) for row in read_json(tmp_path / "run/metrics.json")["results"]]
    assert kept == again


def command_for_restart(folder: Path) -> tuple[list[str], dict[str, str]]:
    return command_for(folder, "demo.yaml", SMALL), environment_for(folder)
