"""Image files to shards, by processes of this machine, of a Ray cluster, or a part of them in each task of an array.

A preparation goes on after a kill (:mod:`vlp.corpus.decoded` says how that is known).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anonymize.console import Console
from anonymize.engines import Job, cores, run_tasks
from vlp.corpus.codec import Codec, encode, to_8bit
from vlp.corpus.config import PrepareConfig
from vlp.corpus.crop import cut
from vlp.corpus.decode import Undecodable, decode, decode_bytes
from vlp.corpus.decoded import REFUSED, DecodedRow, done_rows, write_decoded
from vlp.corpus.duplicates import digest, perceptual_hash
from vlp.corpus.frame import working_image
from vlp.corpus.quality import fault, flags, look
from vlp.corpus.source import ImageFile
from vlp.corpus.store import Store

_TASK = 8
"""Images that a worker gets at once, at most."""
_DEATHS = 2
"""Times that a process must die on a single image before the image is blamed: memory can run out once by chance."""


@dataclass(frozen=True)
class Shard:
    """Images that are stored in one file, in their order."""

    number: int
    images: tuple[ImageFile, ...]


def shards_of(images: Sequence[ImageFile], config: PrepareConfig) -> list[Shard]:
    """``images`` in their order, cut into shards."""
    size = config.shard_images
    return [Shard(at // size, tuple(images[at : at + size])) for at in range(0, len(images), size)]


def build_shards(
    shards: Iterable[Shard], out: Path | Store, config: PrepareConfig, console: Console, images: int
) -> list[DecodedRow]:
    """Decode the images of ``shards`` into ``out/images``; a row for each, in the same order.

    The bytes of the shards do not depend on the engine or the number of workers.

    Args:
        shards: drawn one by one, as the work goes on.
        images: how many images that are, for the progress and the number of processes.
    """
    store = out if isinstance(out, Store) else Store(out)
    done: dict[int, list[DecodedRow]] = {}
    for _ in console.track(_build(shards, store, config, done, images), images, "decode", "images"):
        pass
    return [row for shard in sorted(done) for row in done[shard]]


@dataclass(frozen=True)
class Task:
    """A few images of a shard; ``first`` is the place of the first of them in it."""

    shard: int
    first: int
    images: tuple[ImageFile, ...]


class Preparer:
    """What a worker does with a task: each image's row and bytes, in their order."""

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config

    def __call__(self, task: Task) -> list[tuple[DecodedRow, bytes]]:
        c = self.config
        return [prepare_image(image, c.size, c.crop, c.codec, c.depth) for image in task.images]


def again(task: Task, deaths: int) -> Sequence[Task]:
    """A decoder ended its process: the images one by one tell which of them it was."""
    if len(task.images) > 1:
        return [Task(task.shard, task.first + place, (image,)) for place, image in enumerate(task.images)]
    return [task] if deaths < _DEATHS else []


class _Open:
    """A shard in work: what its tasks brought so far, by place."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self._found: dict[int, tuple[DecodedRow, bytes]] = {}

    def add(self, task: Task, found: Sequence[tuple[DecodedRow, bytes]]) -> bool:
        """Whether that was all."""
        self._found.update(enumerate(found, task.first))
        return len(self._found) == len(self.shard.images)

    def write(self, store: Store, config: PrepareConfig) -> list[DecodedRow]:
        rows: list[DecodedRow] = []
        files: list[tuple[DecodedRow, bytes]] = []
        for place in range(len(self.shard.images)):
            row, data = self._found.pop(place)
            row = dataclasses.replace(row, row=len(files) if data else -1, shard=self.shard.number)
            rows.append(row)
            if data:
                files.append((row, data))
        write_decoded(store, self.shard.number, self.shard.images, files, rows, config)
        return rows


def _build(
    shards: Iterable[Shard], store: Store, config: PrepareConfig, done: dict[int, list[DecodedRow]], images: int
) -> Iterator[None]:
    """Fill ``done``; yields for each image."""
    workers = config.workers or cores()
    if config.engine == "local" and images <= 2 * workers:
        workers = 1  # processes take longer to start
    size = max(1, min(_TASK, images // (4 * workers)))
    work: dict[int, _Open] = {}
    found_done = 0

    def tasks() -> Iterator[Task]:
        nonlocal found_done
        for shard in shards:
            rows = done_rows(store, shard.number, shard.images, config)
            if rows is not None:
                done[shard.number] = rows
                found_done += len(rows)
                continue
            work[shard.number] = _Open(shard)
            for at in range(0, len(shard.images), size):
                yield Task(shard.number, at, shard.images[at : at + size])

    job = Job(Preparer, (config,), again)
    for task, found in run_tasks(job, tasks(), config.engine, workers, -(-images // size)):
        for _ in range(found_done):
            yield
        found_done = 0
        if work[task.shard].add(task, found if found is not None else [_crashed(task.images[0])]):
            done[task.shard] = work.pop(task.shard).write(store, config)
        for _ in task.images:
            yield
    for _ in range(found_done):
        yield


def _crashed(image: ImageFile) -> tuple[DecodedRow, bytes]:
    remedy = "A decoder died on this file; export it again."
    return dataclasses.replace(REFUSED, image_id=image.image_id, reason="decoder_crashed", remedy=remedy), b""


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
        working = working_image(decoded.pixels, decoded.spacing_mm or image.spacing_mm, size, crop, depth)
        pixels = to_8bit(working.pixels)
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
        spacing_mm=None if working.spacing_mm is None else _single(working.spacing_mm),
        bits=decoded.bits,
        photometric=decoded.photometric,
        window_path=decoded.window_path,
        decoder=decoded.decoder,
        digest=digest(pixels),
        perceptual_hash=perceptual_hash(pixels),
        mean=_single(pixels.mean()),
        shard=0,
        flags=" ".join(flags(seen)),
        file_rows=decoded.rows,
        file_columns=decoded.columns,
        **dict(zip(("shown_x0", "shown_y0", "shown_x1", "shown_y1"), working.shown, strict=True)),
    )
    return row, encode(working.pixels, codec)


def _single(value: float) -> float:
    """``value`` as the table stores it, so that a resumed preparation goes on with the same numbers."""
    return float(np.float32(value))
