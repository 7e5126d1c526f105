"""Reports at scale: memory, and exactly-once output under kill -9.

    python benchmarks/million.py --reports 1000000 --out runs/million

Writes an export of phantom reports (each patient a new one), pseudonymises it once undisturbed and once killed with its whole
process tree at random moments (the first kill falls into the first pass) and resumed each time, and compares every part, the
quarantine table and the vault byte by byte. Prints one JSON object: counts, seconds, peak memory of the process tree (sum
of resident sizes, which counts shared pages twice; and the sum of proportional sizes), and whether the two outputs are
equal. Says beforehand about how long it will take. The export is kept and used again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from anonymize.files import open_atomic, read_json
from anonymize.keys import private_folder
from anonymize.languages import load_pack
from vlp.phantom.chunk import csv_line, report_lines
from vlp.phantom.config import PhantomConfig

PATIENTS = 250  # patients a task


def make_export(path: Path, reports: int, config: PhantomConfig, workers: int) -> int:
    """Write at least ``reports`` rows unless ``path`` is there; returns its rows."""
    note = path.with_suffix(".json")
    if path.is_file() and note.is_file():
        return int(read_json(note)["rows"])
    rows = 0
    with open_atomic(path) as stream, ProcessPoolExecutor(workers) as pool:
        stream.write(csv_line(list(load_pack(config.language)["phantom"]["columns"].values())).encode(config.encoding))
        first = 0
        while rows < reports:
            tasks = [(config, at, at + PATIENTS) for at in range(first, first + PATIENTS * workers * 8, PATIENTS)]
            first = tasks[-1][2]
            for lines in pool.map(_lines, tasks):
                kept = lines[: max(0, reports - rows)]
                stream.write(b"".join(kept))
                rows += len(kept)
    note.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return rows


def _lines(task: tuple[PhantomConfig, int, int]) -> list[bytes]:
    return list(report_lines(*task))


class Run:
    """One run of ``anonymize``, watched."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.rss = self.pss = 0  # peaks over the process tree, bytes
        self.samples: list[tuple[float, int]] = []  # seconds since the start, resident bytes of the tree

    def until(self, seconds: float | None, ripe: Callable[[], bool] = lambda: True) -> bool:
        """Run it; kill the whole tree ``seconds`` after it is ``ripe``. Whether it came to its end."""
        child = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        due: float | None = None
        while child.poll() is None:
            if seconds is not None and due is None and ripe():
                due = time.monotonic() + seconds
            if due is not None and time.monotonic() > due:
                for process in [*psutil.Process(child.pid).children(recursive=True), child]:
                    try:
                        process.kill()
                    except psutil.NoSuchProcess:
                        continue
                child.wait()
                return False
            self._sample(child.pid, time.monotonic() - began)
            time.sleep(0.25 if seconds is None else max(0.02, min(0.25, seconds / 20)))
        if child.returncode:
            raise SystemExit(f"the run ended with code {child.returncode}")
        return True

    def _sample(self, pid: int, elapsed: float) -> None:
        rss = pss = 0
        try:
            parent = psutil.Process(pid)
            for process in [parent, *parent.children(recursive=True)]:
                held = process.memory_full_info()
                rss += held.rss
                pss += held.pss
        except psutil.Error:
            return
        self.samples.append((elapsed, rss))
        self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file that must come out the same."""
    files = [
        *(out / "reports").glob("part-*"),
        *(out / "quarantine").glob("*"),
        *(private_folder(out) / "vault").glob("*"),
    ]
    found = {}
    for path in sorted(files):
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def leftovers(out: Path) -> Iterator[Path]:
    """Temporary files and originals that a run must not leave behind."""
    for folder in (out, private_folder(out)):
        yield from folder.rglob(".part-*")
        yield from folder.rglob("*.sealed")


def estimate(config: PhantomConfig, reports: int, workers: int) -> float:
    """About how many seconds everything takes, from 200 reports on one core."""
    from anonymize.engine import Anonymizer
    from anonymize.keys import Keys
    from anonymize.policy import ReportsConfig
    from anonymize.report import Identity, Report

    began = time.process_time()
    lines = list(report_lines(config, 0, 120))
    made = time.process_time() - began
    engine = Anonymizer(ReportsConfig(language=config.language), Keys(os.urandom(32)))
    texts = [line.decode(config.encoding).split(";", 16)[-1] for line in lines]
    began = time.process_time()
    for number, text in enumerate(texts):
        engine.anonymize(Report(number, Identity(patient_id=str(number)), "", "", text))
    done = time.process_time() - began
    return reports * (made + 2.3 * done) / len(lines) / workers


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/million"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language", default="fr")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    config = PhantomConfig(patients=10_000_000, seed=options.seed, language=options.language)
    about = estimate(config, options.reports, options.workers)
    print(f"about {about / 60:.0f} minutes on {options.workers} free cores", file=sys.stderr, flush=True)
    source = options.out / f"export-{options.reports}.csv"
    began = time.monotonic()
    rows = make_export(source, options.reports, config, options.workers)
    result: dict[str, Any] = {"reports": rows, "bytes": source.stat().st_size}
    result["export_seconds"] = round(time.monotonic() - began, 1)
    secret = options.out / "secret.key"
    secret.write_text(hashlib.sha256(b"benchmark").hexdigest(), encoding="utf-8")

    shard_mb = round(min(2.0, max(0.05, result["bytes"] / 2**20 / 200)), 2)  # small trials need many shards too

    def command(out: Path) -> list[str]:
        values = [
            f"workers={options.workers}",
            f"shard_mb={shard_mb}",
            f"language={options.language}",
            "--secret-file",
            str(secret),
            "--quiet",
        ]
        return [sys.executable, "-m", "anonymize.cli", "reports", str(source), "--out", str(out), *values]

    outs = [options.out / name for name in ("undisturbed", "killed")]
    for out in outs:
        for folder in (out, private_folder(out)):
            _remove(folder)
    whole = Run(command(outs[0]))
    began = time.monotonic()
    whole.until(None)
    seconds = time.monotonic() - began
    summary = read_json(outs[0] / "reports" / "summary.json")
    result |= {
        "workers": options.workers,
        "seconds": round(seconds, 1),
        "reports_per_second": round(summary["reports"] / seconds, 1),
        "peak_rss_mb": round(whole.rss / 2**20),
        "peak_pss_mb": round(whole.pss / 2**20),
    }
    draw = random.Random(options.seed)
    again = Run(command(outs[1]))
    first_pass = max(1.5, seconds * 0.03)
    moments = [draw.uniform(1.0, first_pass)] if options.kills else []
    moments += [draw.uniform(2.0, max(3.0, 1.2 * seconds / max(1, options.kills))) for _ in range(options.kills - 1)]
    kills = []
    for moment in moments:
        if again.until(moment):
            break
        done = len(list((outs[1] / "reports").glob("part-*.parquet")))
        kills.append({"after_seconds": round(moment, 1), "parts_done": done})
    again.until(None)
    expected, found = (digests(out) for out in outs)
    result |= {
        "kills": kills,
        "peak_rss_mb_killed": round(again.rss / 2**20),
        "files": len(expected),
        "equal": expected == found,
        "left_behind": len([path for out in outs for path in leftovers(out)]),
    }
    print(json.dumps(result))
    if not result["equal"] or result["left_behind"] or len(kills) < options.kills:
        raise SystemExit(1)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
