"""Image shards as tar files, as ``webdataset`` reads them: ``<key>.tif`` (or ``.png``) and ``<key>.json`` per image.

The JSON says what the image is (``image_id``, size, spacing, window); text and labels of its study stand in the
manifest. Beside each tar lies ``shard-NNNNN.index.npy``, int64 [images, 2] of offset and length, for random access.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from anonymize.files import open_atomic
from vlp.corpus.store import Store

_BLOCK = tarfile.BLOCKSIZE


class TarRow(NamedTuple):
    """One image of a tar shard."""

    image_id: str
    data: bytes  # the image file
    facts: bytes  # the JSON


def tar_name(shard: int) -> str:
    """Name of tar shard number ``shard`` within its corpus."""
    return f"images/shard-{shard:05d}.tar"


def index_name(shard: int) -> str:
    """Name of the offsets of tar shard number ``shard``."""
    return f"images/shard-{shard:05d}.index.npy"


def key_of(image_id: str) -> str:
    """The identifier as a webdataset key: a dot would end it and a slash make a folder, so both are percent-encoded."""
    return quote(image_id, safe=" ").replace(".", "%2E")


def write_tar(path: Path, rows: Sequence[TarRow], suffix: str) -> npt.NDArray[np.int64]:
    """Write ``rows`` atomically; their offsets, [rows, 2]. Equal rows give equal bytes: headers hold no time and owner."""
    places = np.empty((len(rows), 2), np.int64)
    with open_atomic(path) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for row, (image_id, data, facts) in enumerate(rows):
            key = key_of(image_id)
            _add(archive, f"{key}.{suffix}", data)
            places[row] = archive.offset - -(-len(data) // _BLOCK) * _BLOCK, len(data)  # a long name takes more headers
            _add(archive, f"{key}.json", facts)
    return places


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o644
    archive.addfile(header, io.BytesIO(content))


def write_index(path: Path, places: npt.NDArray[np.int64]) -> None:
    """Write what :func:`write_tar` returned, atomically."""
    with open_atomic(path) as stream:
        np.save(stream, places, allow_pickle=False)


class TarShards:
    """Random access to tar shards; opens files and takes turns as :class:`vlp.corpus.shards.ParquetShards` does."""

    def __init__(self, store: Store, open_files: int = 64) -> None:
        self._store = store
        self._limit = open_files
        self._forget()

    def _forget(self) -> None:
        self._files: OrderedDict[int, tuple[IO[bytes], npt.NDArray[np.int64]]] = OrderedDict()
        self._turn = threading.Lock()
        self._process = os.getpid()

    def encoded(self, shard: int, row: int) -> bytes:
        """The bytes of one image file.

        Raises:
            IndexError: the shard has no such row.
            FileNotFoundError: there is no such shard.
        """
        if self._process != os.getpid():
            self._forget()
        with self._turn:
            stream, places = self._file(shard)
            if not 0 <= row < len(places):
                raise IndexError(f"shard {shard} has {len(places)} rows, so no row {row}")
            offset, length = places[row].tolist()
            stream.seek(offset)
            return stream.read(length)

    def _file(self, shard: int) -> tuple[IO[bytes], npt.NDArray[np.int64]]:
        if shard not in self._files:
            places = np.load(io.BytesIO(self._store.read(index_name(shard))), allow_pickle=False)
            self._files[shard] = self._store.open(tar_name(shard)), places
            if len(self._files) > self._limit:
                self._files.popitem(last=False)[1][0].close()
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self._store, "limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store"], state["limit"])
