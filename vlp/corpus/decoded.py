"""What became of the images of a shard, and how a killed preparation knows the shards that are done.

Beside every shard lies ``decoded/shard-NNNNN.parquet``: one row per image tried, with what became of it. It is written
after its shard and carries the fingerprint of what both were made from, and the shard's SHA-256; a shard with a
matching one is not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.files import fingerprint, read_rows, write_table
from vlp.corpus.codec import SUFFIXES
from vlp.corpus.config import PrepareConfig
from vlp.corpus.shards import shard_name, stored_fingerprint, with_fingerprint, write_shard
from vlp.corpus.source import ImageFile
from vlp.corpus.store import Store
from vlp.corpus.tar import TarRow, index_name, tar_name, write_index, write_tar

VERSION = 5  # raise it when the same file would give other bytes


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
    flags: str = ""  # of vlp.corpus.quality.FLAGS, separated by blanks
    file_rows: int = 0  # of the file's image, in which boxes are counted (vlp.corpus.boxes)
    file_columns: int = 0
    shown_x0: float = 0.0  # the part of it that the working image shows, as fractions
    shown_y0: float = 0.0
    shown_x1: float = 0.0
    shown_y1: float = 0.0


_CHECKSUM = b"vlp.sha256"
REFUSED = DecodedRow("", -1, "", "", 0, 0, None, 0, "", "", "", "", "", 0.0, 0)
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
        ("flags", pa.string()),
        *[(n, pa.int32()) for n in ("file_rows", "file_columns")],
        *[(n, pa.float64()) for n in ("shown_x0", "shown_y0", "shown_x1", "shown_y1")],
    ]
)


def _index(shard: int) -> str:
    return f"decoded/shard-{shard:05d}.parquet"


def _mark(part: Sequence[ImageFile], config: PrepareConfig) -> str:
    stats = []
    for image in part:
        try:
            stat = os.stat(image.file)
            stats.append([image.image_id, stat.st_size, stat.st_mtime_ns, image.spacing_mm, *(image.box or ())])
        except OSError:
            stats.append([image.image_id, -1, -1, image.spacing_mm])
    how = (config.size, config.crop, config.depth, config.codec, config.store)
    return fingerprint(VERSION, *how, cv2.__version__, stats)


def done_rows(store: Store, shard: int, part: Sequence[ImageFile], config: PrepareConfig) -> list[DecodedRow] | None:
    """The rows of a shard that is done and was made from the same files in the same way; else None."""
    if not (store.exists(_index(shard)) and store.exists(_images_name(shard, config))):
        return None
    with store.reading(_index(shard)) as index:
        if stored_fingerprint(index) != _mark(part, config):
            return None
        return [DecodedRow(**row) for row in read_rows(index)]


def remove_leftovers(store: Store, shards: int, config: PrepareConfig) -> None:
    """Shards of a former, larger preparation at the same place, or of the other kind."""
    kept = {name(shard) for shard in range(shards) for name in (tar_name, index_name, shard_name, _index)}
    other = (shard_name,) if config.store == "tar" else (tar_name, index_name)
    kept -= {name(shard) for shard in range(shards) for name in other}
    for name in (*store.names("images"), *store.names("decoded")):
        if name.rpartition("/")[2].startswith("shard-") and name not in kept:
            store.remove(name)


def shard_checksums(out: Store, shards: int, config: PrepareConfig) -> dict[str, str]:
    """SHA-256 of each shard, by its name in the corpus."""
    found = {}
    for shard in range(shards):
        with out.reading(_index(shard)) as path:
            metadata = pq.read_schema(path).metadata or {}
        found[_images_name(shard, config)] = metadata[_CHECKSUM].decode()
    return found


def write_decoded(
    store: Store,
    shard: int,
    part: Sequence[ImageFile],
    files: Sequence[tuple[DecodedRow, bytes]],
    rows: Sequence[DecodedRow],
    config: PrepareConfig,
) -> None:
    """One shard and then its index. The former index goes first: it must not vouch for a shard of other settings."""
    store.remove(_index(shard))
    with store.writing(_images_name(shard, config)) as path:
        if config.store == "tar":
            members = [TarRow(row.image_id, data, _facts(row)) for row, data in files]
            places = write_tar(path, members, SUFFIXES[config.codec])
        else:
            places = None
            write_shard(path, [(row.image_id, data) for row, data in files])
        with path.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    if places is not None:
        with store.writing(index_name(shard)) as path:
            write_index(path, places)
    schema = with_fingerprint(_SCHEMA, _mark(part, config))
    schema = schema.with_metadata({**schema.metadata, _CHECKSUM: checksum.encode()})
    with store.writing(_index(shard)) as path:
        write_table(path, rows, schema)


def _images_name(shard: int, config: PrepareConfig) -> str:
    return tar_name(shard) if config.store == "tar" else shard_name(shard)


def _facts(row: DecodedRow) -> bytes:
    names = ("image_id", "height", "width", "spacing_mm", "photometric", "window_path")
    return json.dumps({name: getattr(row, name) for name in names}).encode()
