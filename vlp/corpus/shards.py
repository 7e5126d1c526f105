"""Image shards: Parquet files with the columns ``image_id`` and ``image`` (a TIFF or PNG file of one gray image).

Row groups are small, so one image is read without its neighbours, from a disk or by range over a network. The images
are compressed already, so the columns are stored plain. A shard is written whole or not at all; its schema metadata
hold the fingerprint of what it was made from, by which an interrupted preparation knows the shards that are done.
Corpora of other tools may keep them in tar files instead (:mod:`vlp.corpus.tar`).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.files import open_atomic
from vlp.corpus.store import Store

SCHEMA = pa.schema([("image_id", pa.string()), ("image", pa.binary())])
ROW_GROUP = 4  # images; a random read copies all of a group, and 16 took 2.3 times as long
_FINGERPRINT = b"vlp.fingerprint"


class Shards(Protocol):
    """Random access to the encoded images of a corpus."""

    def encoded(self, shard: int, row: int) -> bytes:
        """The bytes of one image file.

        Raises:
            IndexError: the shard has no such row.
            FileNotFoundError: there is no such shard.
        """
        ...


def shard_name(shard: int) -> str:
    """Name of shard number ``shard`` within its corpus."""
    return f"images/shard-{shard:05d}.parquet"


def shard_path(corpus: Path, shard: int) -> Path:
    """Where shard number ``shard`` of the corpus in folder ``corpus`` lies."""
    return corpus / shard_name(shard)


def write_shard(path: Path, rows: Sequence[tuple[str, bytes]], fingerprint: str = "") -> None:
    """Write ``(image_id, encoded image)`` rows atomically. Equal rows give equal bytes."""
    table = pa.Table.from_arrays(
        [pa.array([r[0] for r in rows], pa.string()), pa.array([r[1] for r in rows], pa.binary())],
        schema=SCHEMA.with_metadata({_FINGERPRINT: fingerprint.encode()}),
    )
    with open_atomic(path) as stream:
        pq.write_table(
            table, stream, row_group_size=ROW_GROUP, compression="none", use_dictionary=False, write_statistics=False
        )


def stored_fingerprint(path: Path) -> str | None:
    """The fingerprint in a Parquet file's metadata; None where the file is absent or not a shard of ours."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    value = metadata.get(_FINGERPRINT)
    return value.decode() if value is not None else None


def with_fingerprint(schema: pa.Schema, fingerprint: str) -> pa.Schema:
    """``schema`` with the fingerprint that :func:`stored_fingerprint` reads."""
    return schema.with_metadata({_FINGERPRINT: fingerprint.encode()})


class ParquetShards:
    """Random access to Parquet shards.

    Files are opened at first use in each process, and memory-mapped where they lie in a folder; a pickled copy holds no
    open file. The last few row groups stay in memory, so that reading in order is cheap too. Threads may share a
    reader: pyarrow's file objects crash when two threads read at once, so reads take turns.
    """

    def __init__(self, store: Store, open_files: int = 64, groups: int = 32) -> None:
        self._store = store
        self._limits = (open_files, groups)
        self._forget()

    def _forget(self) -> None:
        self._files: OrderedDict[int, tuple[pq.ParquetFile, int]] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], pa.ChunkedArray] = OrderedDict()
        self._turn = threading.Lock()
        self._process = os.getpid()

    def encoded(self, shard: int, row: int) -> bytes:
        """The bytes of one image file.

        Raises:
            IndexError: the shard has no such row.
            FileNotFoundError: there is no such shard.
        """
        if self._process != os.getpid():
            self._forget()  # a forked worker must not share positions and connections with its parent
        with self._turn:
            return self._read(shard, row)

    def _read(self, shard: int, row: int) -> bytes:
        file, size = self._file(shard)
        if not 0 <= row < file.metadata.num_rows:
            raise IndexError(f"shard {shard} has {file.metadata.num_rows} rows, so no row {row}")
        group, offset = divmod(row, size)
        key = (shard, group)
        if key not in self._groups:
            self._groups[key] = file.read_row_group(group, columns=["image"], use_threads=False)["image"]
            if len(self._groups) > self._limits[1]:
                self._groups.popitem(last=False)
        return self._groups[key][offset].as_py()

    def _file(self, shard: int) -> tuple[pq.ParquetFile, int]:
        if shard not in self._files:
            name = shard_name(shard)
            if self._store.folder is not None:
                file = pq.ParquetFile(self._store.folder / name, memory_map=True)
            else:
                file = pq.ParquetFile(self._store.open(name))
            size = file.metadata.row_group(0).num_rows if file.metadata.num_row_groups else 1
            self._files[shard] = file, size
            if len(self._files) > self._limits[0]:
                self._files.popitem(last=False)[1][0].close(force=True)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self._store, "limits": self._limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store"], *state["limits"])
