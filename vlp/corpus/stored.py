"""The images of a corpus by their place in its shards, whatever holds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlp.corpus.codec import decode, to_8bit, to_16bit
from vlp.corpus.shards import ParquetShards, Shards
from vlp.corpus.store import Store
from vlp.corpus.tar import TarShards


class StoredImages:
    """Random access to decoded images. Cheap to make and to pickle: files are opened at first use."""

    def __init__(self, store: Store, kind: str) -> None:
        """``kind`` is the configuration's ``store``: parquet or tar."""
        self._shards: Shards = TarShards(store) if kind == "tar" else ParquetShards(store)

    def pixels(self, shard: int, row: int) -> npt.NDArray[np.uint8]:
        """uint8 [H, W], 0 is air (MONOCHROME2 sense); raises what :meth:`Shards.encoded` does."""
        return to_8bit(decode(self._shards.encoded(shard, row)))

    def deep_pixels(self, shard: int, row: int) -> npt.NDArray[np.uint16]:
        """uint16 [H, W] over 0-65535; with 256 levels where the corpus has ``depth`` 8."""
        return to_16bit(decode(self._shards.encoded(shard, row)))
