"""Image shards: Parquet files with the columns ``image_id`` and ``png`` (8-bit gray, lossless).

Row groups are small, so one image is read without its neighbours. PNG is already compressed, so the columns are stored
plain. A shard is written whole or not at all; its schema metadata hold the fingerprint of what it was made from, by
which an interrupted preparation knows the shards that are done.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.files import open_atomic

SCHEMA = pa.schema([("image_id", pa.string()), ("png", pa.binary())])
ROW_GROUP = 16
_FINGERPRINT = b"vlp.fingerprint"


def shard_path(corpus: Path, shard: int) -> Path:
    """Where shard number ``shard`` of the corpus in folder ``corpus`` lies."""
    return corpus / "images" / f"shard-{shard:05d}.parquet"


def write_shard(path: Path, rows: Sequence[tuple[str, bytes]], fingerprint: str = "") -> None:
    """Write ``(image_id, png)`` rows atomically. Equal rows give equal bytes."""
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


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """``pixels`` uint8 [H, W] as PNG; the same pixels give the same bytes."""
    # run lengths after PNG's filters: on radiographs smaller than level 6 and written in a quarter of its time
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    ok, data = cv2.imencode(".png", pixels, how)
    if not ok:
        raise ValueError(f"an image of shape {pixels.shape} cannot be written as PNG")
    return data.tobytes()


def decode_png(data: bytes) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`encode_png`: uint8 [H, W]."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError("a shard holds bytes that are not a PNG image; run `vlp prepare` again")
    return np.asarray(pixels, np.uint8)


class ShardReader:
    """Random access to the shards of one corpus.

    Files are opened at first use in each process and memory-mapped; a pickled copy holds no open file. The last few row
    groups stay in memory, so that reading in order is cheap too. Threads may share a reader: pyarrow's file objects crash
    when two threads read at once, so reads take turns.
    """

    def __init__(self, corpus: Path, open_files: int = 64, groups: int = 32) -> None:
        self._corpus = corpus
        self._limits = (open_files, groups)
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._turn = threading.Lock()

    def png(self, shard: int, row: int) -> bytes:
        """The PNG bytes of one row.

        Raises:
            IndexError: the shard has no such row.
            FileNotFoundError: there is no such shard.
        """
        with self._turn:
            return self._read(shard, row)

    def _read(self, shard: int, row: int) -> bytes:
        group, offset = divmod(row, ROW_GROUP)
        key = (shard, group)
        if key not in self._groups:
            file = self._file(shard)
            if not 0 <= row < file.metadata.num_rows:
                raise IndexError(f"shard {shard} has {file.metadata.num_rows} rows, so no row {row}")
            self._groups[key] = file.read_row_group(group, columns=["png"], use_threads=False)["png"].to_pylist()
            if len(self._groups) > self._limits[1]:
                self._groups.popitem(last=False)
        return self._groups[key][offset]

    def _file(self, shard: int) -> pq.ParquetFile:
        if shard not in self._files:
            self._files[shard] = pq.ParquetFile(shard_path(self._corpus, shard), memory_map=True)
            if len(self._files) > self._limits[0]:
                self._files.popitem(last=False)[1].close()
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {"corpus": self._corpus, "limits": self._limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["corpus"], *state["limits"])
