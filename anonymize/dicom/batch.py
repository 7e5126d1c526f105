"""A tree of files to a safe export: all cores, shard by shard, resumable, nothing lost and nothing named.

A shard is ``shard_size`` files in sorted order. It is finished when its index part is in SAFE/images/index and its
progress file in the private folder; a run that was killed starts with the first unfinished shard.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from anonymize import __version__
from anonymize.audit import append_audit
from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.dicom import pixel_review
from anonymize.dicom.config import STAGE, DicomConfig
from anonymize.dicom.instance import REMEDIES, Image, Refused, process, quiet
from anonymize.dicom.judge import Decision, Judgement
from anonymize.dicom.mapping import Pair, write_mappings
from anonymize.dicom.regions import templates
from anonymize.dicom.words import vocabulary
from anonymize.files import fingerprint, open_atomic, read_json, read_rows, write_json, write_table
from anonymize.keys import Keys, private_folder
from anonymize.quarantine import Quarantined, count_reasons, write_quarantine

IGNORED_NAMES = {"dicomdir", "thumbs.db", ".ds_store", "desktop.ini", "lockfile", "version", "autorun.inf"}
INDEX_SCHEMA = pa.schema(
    [
        *[
            (n, pa.string())
            for n in ("image_id", "patient", "study", "series", "path", "modality", "body_part", "view")
        ],
        *[(n, pa.string()) for n in ("laterality", "photometric")],
        *[(n, pa.int32()) for n in ("rows", "columns", "bits_stored")],
        ("spacing_mm", pa.float64()),
        ("age_months", pa.int32()),
        *[(n, pa.string()) for n in ("sex", "date", "manufacturer", "model", "burned_in", "description")],
    ]
)


@dataclass(frozen=True)
class _Outcome:
    """What a worker says of one file: a row whose file lies under ``part``, or a reason."""

    image: Image | None
    part: str = ""
    reason: str = ""
    pairs: tuple[Pair, ...] = ()  # which identifier became which
    judged: Judgement | None = None  # what was found in the pixels


def run_dicom(config: DicomConfig, source: Path, out: Path, keys: Keys, console: Console) -> dict[str, Any]:
    """Pseudonymise every DICOM file below ``source`` into ``out`` (formats: docs/architecture.md).

    Returns:
        ``files_in, ignored, written, masked, doubtful, quarantined {reason: n}, seconds, images_per_second_core``;
        files_in = written + the quarantined.

    Raises:
        UserError: the source is missing, or one folder lies inside the other.
    """
    _check(source, out)
    vocabulary(tuple(config.languages))  # a missing pack is an error of the command, not of every file
    if config.pixels == "ocr":
        from anonymize.dicom.ocr import engine

        engine()
    templates(config.regions)
    quiet()
    started = time.monotonic()
    total, ignored = _count(source)
    run = _Run(config, source, out, keys)
    run.clear_leftovers()
    fresh, shards = 0, 0
    with _Workers(config, source, out, keys) as workers:
        progress = console.track(run.outcomes(workers), total, "DICOM files", "files")
        for was_done in progress:
            fresh += not was_done
        shards = run.shard
    run.drop_stale(shards)
    quarantined = run.finish(shards)
    seconds = time.monotonic() - started
    cores = config.workers or os.cpu_count() or 1
    summary = {
        "files_in": total,
        "ignored": ignored,
        "written": run.written,
        "masked": run.masked,
        "doubtful": run.doubtful,
        "quarantined": count_reasons(quarantined),
        "seconds": round(seconds, 2),
        "images_per_second_core": round(fresh / seconds / cores, 2) if fresh else None,
    }
    if run.written + len(quarantined) != total:
        raise UserError("the source folder changed while it was read; run the same command again")
    dump_config(config, out / "dicom" / "config.yaml")
    write_json(out / "dicom" / "summary.json", summary)
    counts = {key: summary[key] for key in ("files_in", "ignored", "written", "masked", "doubtful", "quarantined")}
    append_audit(out, "dicom", keys.identifier, config, counts)
    return summary


def files_of(folder: Path) -> Iterator[str]:
    """Relative names of all files in sorted order that are not ignored by name; links are not followed."""
    for name in _walk(folder):
        if not _is_ignored(name):
            yield name


def _walk(folder: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name


def _is_ignored(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].casefold()
    return last in IGNORED_NAMES or last.startswith(".")


def _count(source: Path) -> tuple[int, int]:
    kept = ignored = 0
    for name in _walk(source):
        if _is_ignored(name):
            ignored += 1
        else:
            kept += 1
    return kept, ignored


def _check(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; give the folder that holds the DICOM files")
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise UserError(f"--out {out} and the source {source} lie one inside the other; choose another output folder")


class _Run:
    """State of one run: what is written, what was seen, where the shards are."""

    def __init__(self, config: DicomConfig, source: Path, out: Path, keys: Keys) -> None:
        self.config, self.source, self.keys = config, source, keys
        self.out, self.images = out, out / "images"
        self.progress = private_folder(out) / "dicom-progress"
        settings = config.model_dump(mode="json", exclude={"workers"})
        self.fingerprint = fingerprint(settings, keys.identifier, __version__, *_own_regions(config))
        self.seen: set[bytes] = set()  # image_id of each image written so far: about 70 bytes an image
        self.decisions = pixel_review.read_decisions(out)
        self.written = self.masked = self.doubtful = self.shard = 0

    def clear_leftovers(self) -> None:
        """Temporary files of a killed run."""
        if self.images.is_dir():
            for pattern in ("*/*/.part-*", "*/*/part-*.tmp"):
                for path in self.images.glob(pattern):
                    path.unlink()

    def outcomes(self, workers: _Workers) -> Iterator[bool]:
        """Work through all shards; one value per file, True where an earlier run had done it."""
        names = files_of(self.source)
        first = 1
        while batch := list(islice(names, self.config.shard_size)):
            mark = fingerprint(self.fingerprint, [(name, *_stamp(self.source / name)) for name in batch])
            state = self.progress / f"shard-{self.shard:05d}.json"
            if (
                state.is_file()
                and read_json(state)["fingerprint"] == mark
                and self._index(self.shard).is_file()
                and pixel_review.settled(self.out, self.shard, self.decisions)
            ):
                self._note(read_rows(self._index(self.shard)))
                yield from (True for _ in batch)
            else:
                yield from self._work(workers, batch, first, mark, state)
            first += len(batch)
            self.shard += 1

    def _work(self, workers: _Workers, batch: list[str], first: int, mark: str, state: Path) -> Iterator[bool]:
        self._forget(self.shard)
        rows: list[Image] = []
        refused: list[dict[str, Any]] = []
        pairs: list[Pair] = []
        judged: list[Judgement] = []
        for position, (name, outcome) in enumerate(zip(batch, workers.map(batch, first), strict=True), start=first):
            reason = outcome.reason
            if outcome.image is not None:
                reason = self._accept(outcome.image, outcome.part)
            if outcome.judged is not None and reason != "duplicate_instance":
                judged.append(outcome.judged)
            if reason:
                ref = self.keys.pseudonym("file", name)
                item = Quarantined(STAGE, ref, position, reason, REMEDIES[reason])
                refused.append({**asdict(item), "source": name})
            elif outcome.image is not None:
                rows.append(outcome.image)
                pairs += outcome.pairs
            yield False
        self._note([asdict(row) for row in rows])
        pixel_review.write_shard(self.out, self.shard, judged)
        write_table(self._index(self.shard), rows, INDEX_SCHEMA)
        with open_atomic(state, "w", permissions=0o600) as stream:
            json.dump({"fingerprint": mark, "refused": refused, "pairs": pairs}, stream)

    def _accept(self, image: Image, part: str) -> str:
        """Give the file its final name, unless another instance has it already."""
        final = self.images / image.path
        temporary = final.with_name(part)
        short = image.image_id.encode()
        if short in self.seen:
            temporary.unlink()
            return "duplicate_instance"
        self.seen.add(short)
        temporary.replace(final)
        return ""

    def _note(self, rows: list[dict[str, Any]]) -> None:
        self.written += len(rows)
        self.masked += sum(row["burned_in"] == "masked" for row in rows)
        self.doubtful += sum(row["burned_in"] == "doubtful" for row in rows)
        self.seen.update(row["image_id"].encode() for row in rows)

    def _index(self, shard: int) -> Path:
        return self.images / "index" / f"part-{shard:05d}.parquet"

    def _forget(self, shard: int) -> None:
        """Remove the images of a shard that is made anew: they follow another configuration or another source.

        An image that a shard of this run has taken over (files were added, and the shards' bounds moved) stays.
        """
        index = self._index(shard)
        if index.is_file():
            for row in read_rows(index, ["image_id", "path"]):
                if row["image_id"].encode() not in self.seen:
                    (self.images / row["path"]).unlink(missing_ok=True)
            index.unlink()
        pixel_review.records_file(self.out, shard).unlink(missing_ok=True)

    def drop_stale(self, shards: int) -> None:
        """Shards of an earlier, longer source."""
        for index in sorted((self.images / "index").glob("part-*.parquet")):
            number = int(index.stem.split("-")[1])
            if number >= shards:
                self._forget(number)
                (self.progress / f"shard-{number:05d}.json").unlink(missing_ok=True)
        for folder in sorted(self.images.glob("*/*"), reverse=True):
            _remove_empty(folder)
        for folder in self.images.glob("*"):
            _remove_empty(folder)

    def finish(self, shards: int) -> list[Quarantined]:
        """Write the quarantine table, and its look-up into the private folder."""
        self.clear_leftovers()
        pixel_review.assemble(self.out, shards, self.decisions)
        states = [read_json(self.progress / f"shard-{n:05d}.json") for n in range(shards)]
        refused = [row for state in states for row in state["refused"]]
        if self.config.mappings:
            pairs = (tuple(pair) for state in states for pair in state["pairs"])
            write_mappings(private_folder(self.out), pairs)
        items = [Quarantined(**{k: v for k, v in row.items() if k != "source"}) for row in refused]
        write_quarantine(self.out / "quarantine" / "dicom.parquet", items)
        lookup = private_folder(self.out) / "quarantine-lookup-dicom.jsonl"
        with open_atomic(lookup, "w", permissions=0o600) as stream:
            for row in refused:
                stream.write(json.dumps({"ref": row["ref"], "source": row["source"]}, ensure_ascii=False) + "\n")
        return items


def _own_regions(config: DicomConfig) -> list[Path]:
    """The user's file of templates: what it holds decides what is filled."""
    return [Path(config.regions)] if config.regions else []


class _Workers:
    """Processes that clean files. One that dies in a codec costs the file it held, not the run."""

    def __init__(self, config: DicomConfig, source: Path, out: Path, keys: Keys) -> None:
        self.count = config.workers or os.cpu_count() or 1
        self.arguments = (config, source, out / "images", keys, pixel_review.read_decisions(out))
        self.pool: ProcessPoolExecutor | None = None
        self.single = False  # the pool has one process, for files that are tried one by one

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def map(self, names: list[str], first: int) -> Iterator[_Outcome]:
        """Outcomes in the order of ``names``."""
        futures: list[Future[_Outcome]] = []
        broken = False
        try:
            futures = [self.submit(name, first + i) for i, name in enumerate(names)]
        except BrokenProcessPool:
            broken = True
        for index, name in enumerate(names):
            try:
                if broken:
                    raise BrokenProcessPool
                outcome = futures[index].result()
            except BrokenProcessPool:
                broken = True
                outcome = futures[index].result() if _is_done(futures, index) else self._alone(name, first + index)
            yield outcome
        if broken:
            self._discard()  # the next shard starts with all processes again

    def submit(self, name: str, position: int, count: int | None = None) -> Future[_Outcome]:
        """Hand one file to the processes (``count`` of them, where they have to be started)."""
        return self._running(count).submit(_work, name, position)

    def _alone(self, name: str, position: int) -> _Outcome:
        """Work on one file while nothing else runs, so that a death can be blamed on it."""
        if not self.single:
            self._discard()
        try:
            return self.submit(name, position, 1).result()
        except BrokenProcessPool:
            self._discard()
            return _Outcome(None, reason="corrupt_pixels")

    def _running(self, count: int | None = None) -> ProcessPoolExecutor:
        if self.pool is None:
            # spawn: forking a process that holds threads of codecs or of pyarrow can deadlock
            context = get_context("spawn")
            self.pool = ProcessPoolExecutor(count or self.count, context, _start, self.arguments)
            self.single = count == 1
        return self.pool

    def _discard(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool, self.single = None, False


def _is_done(futures: list[Future[_Outcome]], index: int) -> bool:
    return index < len(futures) and futures[index].done() and futures[index].exception() is None


_STATE: dict[str, Any] = {}


def _start(config: DicomConfig, source: Path, images: Path, keys: Keys, decisions: dict[str, Decision]) -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    cv2.setNumThreads(1)
    quiet()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _STATE.update(config=config, source=source, images=images, keys=keys, decisions=decisions)


def _end_with(parent: int) -> None:
    """End this process once its parent was killed: a pool's workers would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _work(name: str, position: int) -> _Outcome:
    part = f"part-{position}.tmp"
    try:
        config, keys, decisions = (_STATE[key] for key in ("config", "keys", "decisions"))
        image, pairs, judged = process(_STATE["source"] / name, _STATE["images"], part, config, keys, decisions)
        return _Outcome(image, part, pairs=tuple(pairs), judged=judged)
    except Refused as refusal:
        return _Outcome(None, reason=str(refusal), judged=refusal.judged)
    except OSError:
        raise  # the output cannot be written: the run must stop
    except Exception:  # whatever a malformed file provokes; its message may quote the header
        return _Outcome(None, reason="corrupt_pixels")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.lstat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and folder.name != "index" and not any(folder.iterdir()):
        folder.rmdir()
