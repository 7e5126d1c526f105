"""DICOM files at scale: memory, and exactly-once output under kill -9.

    python benchmarks/dicom_scale.py --files 20000 --out runs/dicom-scale

Writes a phantom hospital's films (kept and used again), pseudonymises them once undisturbed and once killed with its whole
process tree at random moments, the last time while the shards are merged, and resumed each time. Compares every file of
the two exports and of their private folders byte by byte, times and audit lines aside. Prints one JSON object: rates, peak
memory of the process tree (resident sizes, which count shared pages twice, and proportional ones), the peak in each
quarter of the undisturbed run, and whether the two outputs are equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from million import Run

from anonymize.console import Console
from anonymize.files import read_json
from anonymize.keys import private_folder
from vlp.phantom.config import PhantomConfig
from vlp.phantom.export import run_phantom

FILMS_A_PATIENT = 2.0  # below the mean of the phantom, so that there are enough
TIMED = {"summary.json", "config.yaml", "audit.jsonl", "secret.key", "dicom.lock"}


def make_films(folder: Path, files: int, size: int, workers: int) -> tuple[Path, float]:
    """A folder of ``files`` phantom films, and how many seconds it took to make them (0 where it was there)."""
    source = folder / "export" / "dicom"
    note = folder / "complete.json"
    began = time.monotonic()
    if not note.is_file():
        patients = max(4, round(files / FILMS_A_PATIENT))
        run_phantom(PhantomConfig(patients=patients, size=size, workers=workers), folder, Console("quiet"))
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        if len(paths) < files:
            raise SystemExit(f"the phantom made {len(paths)} films only; ask for fewer --files")
        for path in paths[files:]:
            path.unlink()
        note.write_text(json.dumps({"files": files}), encoding="utf-8")
        return source, time.monotonic() - began
    if read_json(note)["files"] != files:
        raise SystemExit(f"{folder} holds another number of films; remove it, or choose another --out")
    return source, 0.0


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file that must come out the same, of the export and of its private folder."""
    found = {}
    for folder in (out, private_folder(out)):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in TIMED:
                with path.open("rb") as stream:
                    name = f"{folder.suffix}/{path.relative_to(folder)}"
                    found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def quarters(samples: list[tuple[float, int]]) -> list[int]:
    """Peak of the resident sizes in each quarter of a run, MB."""
    end = samples[-1][0]
    parts = [[rss for at, rss in samples if end * k / 4 <= at <= end * (k + 1) / 4] for k in range(4)]
    return [round(max(part, default=0) / 2**20) for part in parts]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("runs/dicom-scale"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-size", type=int, default=0, help="files a shard; 0 is 512, less for a small trial")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    source, made = make_films(options.out / f"films-{options.files}", options.files, options.size, options.workers)
    size = options.shard_size or min(512, max(4, options.files // 40))
    secret = options.out / "secret.key"
    secret.write_text(hashlib.sha256(b"benchmark").hexdigest(), encoding="utf-8")
    result: dict[str, Any] = {
        "files": options.files,
        "bytes": sum(path.stat().st_size for path in source.rglob("*") if path.is_file()),
        "films_seconds": round(made, 1),
    }

    def command(out: Path) -> list[str]:
        line = [sys.executable, "-m", "anonymize.cli", "dicom", str(source), "--out", str(out), "--quiet"]
        return [
            *line,
            "--secret-file",
            str(secret),
            f"workers={options.workers}",
            f"shard_size={size}",
            "mappings=true",
        ]

    whole, killed = outs = [options.out / name for name in ("undisturbed", "killed")]
    for out in outs:
        for folder in (out, private_folder(out)):
            shutil.rmtree(folder, ignore_errors=True)
    run = Run(command(whole))
    began = time.monotonic()
    run.until(None)
    seconds = time.monotonic() - began
    summary = read_json(whole / "dicom" / "summary.json")
    shards = -(-options.files // size)
    result |= {
        "workers": options.workers,
        "shards": shards,
        "seconds": round(seconds, 1),
        "files_per_second": round(options.files / seconds, 2),
        "peak_rss_mb": round(run.rss / 2**20),
        "peak_pss_mb": round(run.pss / 2**20),
        "peak_rss_mb_by_quarter": quarters(run.samples),
        "written": summary["written"],
        "quarantined": summary["quarantined"],
    }
    draw, again, kills = random.Random(options.seed), Run(command(killed)), []
    states = private_folder(killed) / "dicom-progress"

    def done() -> int:
        return len(list(states.glob("shard-*.json")))

    for number in range(options.kills):
        before, wait = done(), draw.uniform(0.0, seconds / options.kills / 2)
        if number == 0:  # while it starts or plans, or later
            ended = again.until(2.0 + wait)
        elif number < options.kills - 1:
            ended = again.until(wait, lambda before=before: done() > before)
        else:
            ended = again.until(draw.uniform(0.0, 0.2), lambda: done() == shards)
        if ended:
            break
        kills.append({"shards_done": done(), "of": shards})
    again.until(None)
    expected, found = (digests(out) for out in outs)
    result |= {
        "kills": kills,
        "peak_rss_mb_killed": round(again.rss / 2**20),
        "compared": len(expected),
        "equal": expected == found,
        "different": sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[
            :5
        ],
        "left_behind": sum(1 for out in outs for part in (".part-*", "part-*.tmp") for _ in out.rglob(part)),
    }
    print(json.dumps(result))
    if not result["equal"] or result["left_behind"] or len(kills) < options.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
