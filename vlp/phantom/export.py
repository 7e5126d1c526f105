"""The synthetic hospital's export: chunks on all cores, joined in constant memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import fingerprint, open_atomic, read_json, write_json, write_text_atomic
from anonymize.languages import load_pack
from vlp import __version__
from vlp.phantom.chunk import csv_line, make_chunk, work_folder
from vlp.phantom.config import PhantomConfig
from vlp.phantom.population import make_patient
from vlp.phantom.truth import SCHEMAS, labels_of
from vlp.study import LABELS

NOTICE = (
    "A synthetic hospital made by `vlp phantom`. Every person, number and film is made up; scores on it say nothing\n"
    "clinical. secret.key is derived from the seed and is for demonstrations only: never use it for real data.\n"
)


def run_phantom(config: PhantomConfig, out: Path, console: Console) -> dict[str, Any]:
    """Write the hospital to ``out`` (layout: docs/architecture.md). A killed run goes on with the chunks it lacks.

    Returns:
        the summary: counts of patients, studies, images, reports, faults and studies by anatomy; seconds; fingerprint.

    Raises:
        UserError: ``out`` holds something else, or a hospital of another configuration.
    """
    started = time.monotonic()
    pack = load_pack(config.language)
    pack["identities"]  # a language without these topics fails here, before any work
    mark = fingerprint(
        config.model_dump(mode="json", exclude={"workers"}),
        __version__,
        pack.folder / "identities.yaml",
        pack.folder / "phantom.yaml",
    )
    summary = _finished(out, mark)
    if summary is not None:
        console.note("this hospital is already complete; nothing to do")
        shutil.rmtree(out / ".work", ignore_errors=True)
        return summary
    write_text_atomic(out / ".work" / "fingerprint", mark)
    chunks = -(-config.patients // config.chunk_patients)
    missing = [n for n in range(chunks) if not (work_folder(out, n) / "done.json").is_file()]
    if len(missing) < chunks:
        console.note(f"going on: {chunks - len(missing)} of {chunks} chunks are there")
    left = sum(min(config.chunk_patients, config.patients - n * config.chunk_patients) for n in missing)
    for _ in console.track(_made(config, out, missing), left, "phantom", "patients"):
        pass
    counts = _join(config, out, chunks)
    secret = hashlib.sha256(f"vlp phantom {config.seed}".encode()).hexdigest()
    write_text_atomic(out / "secret.key", secret + "\n", permissions=0o600)
    write_text_atomic(out / "NOTICE.txt", NOTICE)
    dump_config(config, out / "config.yaml")
    by_anatomy = {name.removeprefix("anatomy "): n for name, n in sorted(counts.items()) if name.startswith("anatomy ")}
    summary = {name: n for name, n in counts.items() if not name.startswith("anatomy ")}
    summary |= {"anatomies": by_anatomy, "seconds": round(time.monotonic() - started, 1), "fingerprint": mark}
    write_json(out / "summary.json", summary)
    shutil.rmtree(out / ".work")
    return summary


def count_phantom(config: PhantomConfig, at_most: int = 2000) -> dict[str, Any]:
    """What :func:`run_phantom` would make, counted over the first ``at_most`` patients and scaled to all."""
    seen = min(config.patients, at_most)
    scale = config.patients / seen
    counts: Counter[str] = Counter()
    anatomies: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    for index in range(seen):
        for visit in make_patient(config, index).visits:
            counts["studies"] += 1
            counts["images"] += len(visit.exam.views)
            anatomies[visit.exam.anatomy] += 1
            for name, value in labels_of(visit.exam).items():
                if not name.startswith(("kl_", "bone_age")) and value:
                    findings[name] += 1

    def scaled(counter: Counter[str]) -> dict[str, int]:
        return {name: round(n * scale) for name, n in sorted(counter.items())}

    return {"patients": config.patients, **scaled(counts), "anatomies": scaled(anatomies), "findings": scaled(findings)}


def _finished(out: Path, mark: str) -> dict[str, Any] | None:
    """The summary of a complete run with the same mark; None where there is work to do."""
    held = out / ".work" / "fingerprint"
    if (out / "summary.json").is_file():
        summary = read_json(out / "summary.json")
        if summary.get("fingerprint") == mark:
            return dict(summary)
        raise UserError(f"{out} holds a hospital of another configuration; give another --out or delete it first")
    if held.is_file():
        if held.read_text(encoding="utf-8") == mark:
            return None
        raise UserError(f"{out} holds an unfinished hospital of another configuration; give another --out or delete it")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and was not made by this command; give another --out")
    return None


def _made(config: PhantomConfig, out: Path, missing: list[int]) -> Iterator[int]:
    """Make the chunks, in any order; yields once for each patient."""
    workers = min(config.workers or len(os.sched_getaffinity(0)), len(missing))
    if workers <= 1:
        for number in missing:
            yield from range(make_chunk(config, out, number)["patients"])
        return
    context = multiprocessing.get_context("spawn")  # fork after numeric libraries have started threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        waiting = list(reversed(missing))
        running: set[Future[dict[str, int]]] = set()
        while waiting or running:
            while waiting and len(running) < 2 * workers:  # never more than this in memory
                running.add(pool.submit(make_chunk, config, out, waiting.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from range(future.result()["patients"])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread a process, since the processes fill the cores; a worker ends when its parent was killed."""
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _join(config: PhantomConfig, out: Path, chunks: int) -> Counter[str]:
    """Put the chunks' parts together, one at a time."""
    folders = [work_folder(out, number) for number in range(chunks)]
    columns = load_pack(config.language)["phantom"]["columns"]
    heads = {
        "reports.csv": csv_line(list(columns.values())).encode(config.encoding),
        "labels.csv": csv_line([columns["accession"], *LABELS]).encode("utf-8"),
    }
    for name, head in heads.items():
        with open_atomic(out / "export" / name) as stream:
            stream.write(head)
            for folder in folders:
                stream.write((folder / name).read_bytes())
    for name, schema in SCHEMAS.items():
        target = out / "truth" / f"{name}.parquet"
        with open_atomic(target) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for folder in folders:
                writer.write_table(pq.read_table(folder / f"{name}.parquet", schema=schema))
    counts: Counter[str] = Counter()
    for folder in folders:
        counts.update(read_json(folder / "done.json"))
    return counts
