"""Image files to shards, by all cores, going on after a kill.

Beside every shard lies ``decoded/shard-NNNNN.parquet``: one row per image tried, with what became of it. It is written
after its shard and carries the fingerprint of what both were made from; a shard with a matching one is not made again.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from anonymize.console import Console
from anonymize.files import fingerprint, read_rows, write_table
from vlp.corpus.config import PrepareConfig
from vlp.corpus.decode import Undecodable, decode
from vlp.corpus.frame import working_image
from vlp.corpus.quality import digest, fault, perceptual_hash
from vlp.corpus.shards import encode_png, shard_path, stored_fingerprint, with_fingerprint, write_shard
from vlp.corpus.source import ImageFile

VERSION = 3  # raise it when the same file would give other bytes


@dataclass(frozen=True)
class DecodedRow:
    """What became of one image file. Empty and zero fields where it was refused."""

    image_id: str
    row: int  # in the shard; -1 where refused
    reason: str  # "" where kept
    remedy: str
    height: int
    width: int
    spacing_mm: float | None
    bits: int
    photometric: str
    window_path: str
    decoder: str
    digest: str
    perceptual_hash: str
    mean: float  # of the working image, 0-255
    shard: int


_REFUSED = DecodedRow("", -1, "", "", 0, 0, None, 0, "", "", "", "", "", 0.0, 0)
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("row", pa.int32()),
        ("reason", pa.string()),
        ("remedy", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("spacing_mm", pa.float32()),
        ("bits", pa.int32()),
        *[(n, pa.string()) for n in ("photometric", "window_path", "decoder", "digest", "perceptual_hash")],
        ("mean", pa.float32()),
        ("shard", pa.int32()),
    ]
)


def build_shards(images: Sequence[ImageFile], out: Path, config: PrepareConfig, console: Console) -> list[DecodedRow]:
    """Decode ``images`` into ``out/images`` in their order; a row for each, in the same order.

    The bytes of the shards do not depend on the number of workers.
    """
    rows: list[DecodedRow] = []
    plan = [images[at : at + config.shard_images] for at in range(0, len(images), config.shard_images)]
    workers = config.workers or os.cpu_count() or 1

    def work() -> Iterator[None]:
        with ExitStack() as stack:
            pool = _Pool(workers) if workers > 1 and len(images) > 2 * workers else None
            if pool:
                stack.callback(pool.close)
            for shard, part in enumerate(plan):
                done = _done_rows(out, shard, part, config)
                if done is None:
                    done = []
                    pngs: list[tuple[str, bytes]] = []
                    for row, png in _decoded(part, shard, config, pool):
                        if png:
                            pngs.append((row.image_id, png))
                        done.append(row)
                        yield
                    write_shard(shard_path(out, shard), pngs)
                    write_table(_index(out, shard), done, with_fingerprint(_SCHEMA, _mark(part, config)))
                else:
                    yield from (None for _ in done)
                rows.extend(done)
        _remove_leftovers(out, len(plan))

    for _ in console.track(work(), len(images), "decode", "images"):
        pass
    return rows


def prepare_image(image: ImageFile, size: int, crop: bool) -> tuple[DecodedRow, bytes]:
    """One image file as its row (``row`` is 0 where kept) and its PNG, empty where refused. Bad input never raises."""
    cv2.setNumThreads(1)
    blank = dataclasses.replace(_REFUSED, image_id=image.image_id)
    try:
        decoded = decode(Path(image.file))
        pixels, spacing = working_image(decoded.pixels, decoded.spacing_mm or image.spacing_mm, size, crop)
        wrong = fault(pixels)
        if wrong:
            raise Undecodable(*wrong)
    except Undecodable as error:
        return dataclasses.replace(blank, reason=error.reason, remedy=error.remedy), b""
    except MemoryError:
        return dataclasses.replace(
            blank, reason="image_too_large", remedy="Decoding needs more memory than there is."
        ), b""
    row = DecodedRow(
        image_id=image.image_id,
        row=0,
        reason="",
        remedy="",
        height=pixels.shape[0],
        width=pixels.shape[1],
        spacing_mm=None if spacing is None else _single(spacing),
        bits=decoded.bits,
        photometric=decoded.photometric,
        window_path=decoded.window_path,
        decoder=decoded.decoder,
        digest=digest(pixels),
        perceptual_hash=perceptual_hash(pixels),
        mean=_single(pixels.mean()),
        shard=0,
    )
    return row, encode_png(pixels)


def _single(value: float) -> float:
    """``value`` as the table stores it, so that a resumed preparation goes on with the same numbers."""
    return float(np.float32(value))


class _Pool:
    """Worker processes that are replaced when a decoder kills one of them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def map(self, images: Sequence[ImageFile], size: int, crop: bool) -> Iterator[tuple[DecodedRow, bytes]]:
        chunk = max(1, min(8, len(images) // (4 * self._workers) or 1))
        task = partial(_several, size=size, crop=crop)
        done = 0
        try:
            for part in self._running().map(task, [images[at : at + chunk] for at in range(0, len(images), chunk)]):
                done += len(part)
                yield from part
        except BrokenProcessPool:
            self.close()
            yield from self._one_by_one(images[done:], size, crop)

    def _one_by_one(self, images: Sequence[ImageFile], size: int, crop: bool) -> Iterator[tuple[DecodedRow, bytes]]:
        """The rest of a shard in which a decoder crashed: one image at a time tells which one it was."""
        single = _Pool(1)
        for image in images:
            try:
                yield single._running().submit(prepare_image, image, size, crop).result()
            except BrokenProcessPool:
                single.close()
                remedy = "A decoder died on this file; export it again."
                yield (
                    dataclasses.replace(_REFUSED, image_id=image.image_id, reason="decoder_crashed", remedy=remedy),
                    b"",
                )
        single.close()

    def _running(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self._workers, mp_context=_context(), initializer=_start_worker)
        return self._executor

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def _context() -> BaseContext:
    # not fork: the parent may hold threads of numpy, arrow or torch
    return multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")


def _start_worker() -> None:
    """Ctrl-C is the parent's business; and a worker ends when its parent is killed, which no queue would tell it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _several(images: Sequence[ImageFile], size: int, crop: bool) -> list[tuple[DecodedRow, bytes]]:
    return [prepare_image(image, size, crop) for image in images]


def _decoded(
    part: Sequence[ImageFile], shard: int, config: PrepareConfig, pool: _Pool | None
) -> Iterator[tuple[DecodedRow, bytes]]:
    results = (
        pool.map(part, config.size, config.crop)
        if pool
        else (prepare_image(image, config.size, config.crop) for image in part)
    )
    kept = 0
    for row, png in results:
        yield dataclasses.replace(row, row=kept if png else -1, shard=shard), png
        kept += bool(png)


def _index(out: Path, shard: int) -> Path:
    return out / "decoded" / f"shard-{shard:05d}.parquet"


def _mark(part: Sequence[ImageFile], config: PrepareConfig) -> str:
    stats = []
    for image in part:
        try:
            stat = os.stat(image.file)
            stats.append([image.image_id, stat.st_size, stat.st_mtime_ns, image.spacing_mm])
        except OSError:
            stats.append([image.image_id, -1, -1, image.spacing_mm])
    return fingerprint(VERSION, config.size, config.crop, cv2.__version__, stats)


def _done_rows(out: Path, shard: int, part: Sequence[ImageFile], config: PrepareConfig) -> list[DecodedRow] | None:
    index = _index(out, shard)
    if not shard_path(out, shard).is_file() or stored_fingerprint(index) != _mark(part, config):
        return None
    return [DecodedRow(**row) for row in read_rows(index)]


def _remove_leftovers(out: Path, shards: int) -> None:
    """Shards of a former, larger preparation in the same folder."""
    for folder in ("images", "decoded"):
        for path in (out / folder).glob("shard-*.parquet"):
            if int(path.stem.removeprefix("shard-")) >= shards:
                path.unlink()
