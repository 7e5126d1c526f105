"""Image files to shards, by all cores, going on after a kill (:mod:`vlp.corpus.decoded` says how that is known)."""

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
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path

import cv2
import numpy as np

from anonymize.console import Console
from vlp.corpus.codec import Codec, encode, to_8bit
from vlp.corpus.config import PrepareConfig
from vlp.corpus.crop import cut
from vlp.corpus.decode import Undecodable, decode, decode_bytes
from vlp.corpus.decoded import REFUSED, DecodedRow, done_rows, remove_leftovers, write_decoded
from vlp.corpus.duplicates import digest, perceptual_hash
from vlp.corpus.frame import working_image
from vlp.corpus.quality import fault, flags, look
from vlp.corpus.source import ImageFile
from vlp.corpus.store import Store


def build_shards(
    images: Sequence[ImageFile], out: Path | Store, config: PrepareConfig, console: Console
) -> list[DecodedRow]:
    """Decode ``images`` into ``out/images`` in their order; a row for each, in the same order.

    The bytes of the shards do not depend on the number of workers.
    """
    store = out if isinstance(out, Store) else Store(out)
    rows: list[DecodedRow] = []
    plan = [images[at : at + config.shard_images] for at in range(0, len(images), config.shard_images)]
    workers = config.workers or os.cpu_count() or 1

    def work() -> Iterator[None]:
        with ExitStack() as stack:
            pool = _Pool(workers) if workers > 1 and len(images) > 2 * workers else None
            if pool:
                stack.callback(pool.close)
            for shard, part in enumerate(plan):
                done = done_rows(store, shard, part, config)
                if done is None:
                    done = []
                    files: list[tuple[DecodedRow, bytes]] = []
                    for row, data in _decoded(part, shard, config, pool):
                        if data:
                            files.append((row, data))
                        done.append(row)
                        yield
                    write_decoded(store, shard, part, files, done, config)
                else:
                    yield from (None for _ in done)
                rows.extend(done)
        remove_leftovers(store, len(plan), config)

    for _ in console.track(work(), len(images), "decode", "images"):
        pass
    return rows


def prepare_image(
    image: ImageFile, size: int, crop: bool, codec: Codec = "tiff", depth: int = 8
) -> tuple[DecodedRow, bytes]:
    """One image file as its row (``row`` is 0 where kept) and as it is stored, empty where refused.

    Bad input never raises. Faults, hashes and mean are of the image at 8 bits, whatever ``depth``.
    """
    cv2.setNumThreads(1)
    blank = dataclasses.replace(REFUSED, image_id=image.image_id)
    try:
        path = Path(image.file)
        decoded = decode(path) if image.box is None else decode_bytes(cut(path, image.box))
        stored, spacing = working_image(decoded.pixels, decoded.spacing_mm or image.spacing_mm, size, crop, depth)
        pixels = to_8bit(stored)
        seen = look(pixels)
        wrong = fault(seen)
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
        flags=" ".join(flags(seen)),
    )
    return row, encode(stored, codec)


def _single(value: float) -> float:
    """``value`` as the table stores it, so that a resumed preparation goes on with the same numbers."""
    return float(np.float32(value))


class _Pool:
    """Worker processes that are replaced when a decoder kills one of them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def map(self, images: Sequence[ImageFile], config: PrepareConfig) -> Iterator[tuple[DecodedRow, bytes]]:
        chunk = max(1, min(8, len(images) // (4 * self._workers) or 1))
        task = partial(_several, config=config)
        done = 0
        try:
            for part in self._running().map(task, [images[at : at + chunk] for at in range(0, len(images), chunk)]):
                done += len(part)
                yield from part
        except BrokenProcessPool:
            self.close()
            yield from self._one_by_one(images[done:], config)

    def _one_by_one(self, images: Sequence[ImageFile], config: PrepareConfig) -> Iterator[tuple[DecodedRow, bytes]]:
        """The rest of a shard in which a decoder crashed: one image at a time tells which one it was."""
        single = _Pool(1)
        for image in images:
            try:
                yield from single._running().submit(_several, [image], config).result()
            except BrokenProcessPool:
                single.close()
                remedy = "A decoder died on this file; export it again."
                yield (
                    dataclasses.replace(REFUSED, image_id=image.image_id, reason="decoder_crashed", remedy=remedy),
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


def _several(images: Sequence[ImageFile], config: PrepareConfig) -> list[tuple[DecodedRow, bytes]]:
    return [_one(image, config) for image in images]


def _one(image: ImageFile, config: PrepareConfig) -> tuple[DecodedRow, bytes]:
    return prepare_image(image, config.size, config.crop, config.codec, config.depth)


def _decoded(
    part: Sequence[ImageFile], shard: int, config: PrepareConfig, pool: _Pool | None
) -> Iterator[tuple[DecodedRow, bytes]]:
    results = pool.map(part, config) if pool else (_one(image, config) for image in part)
    kept = 0
    for row, data in results:
        yield dataclasses.replace(row, row=kept if data else -1, shard=shard), data
        kept += bool(data)
