"""Squares of a corpus as they were once decoded, in a file that all processes of a machine map into memory.

For training over many epochs: what one process decodes, no other does again, and the operating system keeps in memory
what fits. The file holds pixels of patients, so it is made for its owner alone, and only where a folder was named.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.console import UserError
from anonymize.files import fingerprint
from vlp.corpus.frame import Square

_VERSION = 1  # raise it when the same image would give another square
_ABSENT = 0


class SquareCache:
    """``count`` squares uint8 [side, side] by position; absent until put.

    A square is written before its checksum, and its checksum compared at a process's first read of it. So nothing is
    read that a kill, a crash of the machine or a full disk left half written; two writers of one square write the same.
    Space on disk is taken as squares come (``count * side * side`` bytes in the end).
    """

    def __init__(self, folder: Path, corpus: str, square: Square, count: int) -> None:
        """Open the cache of the corpus with fingerprint ``corpus`` below ``folder``, or make it.

        Raises:
            UserError: the folder cannot be written.
        """
        self._files: list[int] = []
        count = max(1, count)  # nothing cannot be mapped
        name = fingerprint(corpus, square.side, square.framing, count, _VERSION, cv2.__version__)
        self._bytes = square.side**2
        self._shape = (square.side, square.side)
        self._writable = True
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for suffix, size in (("pixels", count * self._bytes), ("checks", count * 4)):
                file = os.open(folder / f"squares-{name}.{suffix}", os.O_RDWR | os.O_CREAT, 0o600)
                self._files.append(file)
                if os.fstat(file).st_size != size:
                    os.ftruncate(file, size)
            pixels, checks = (os.fdopen(os.dup(file), "rb") for file in self._files)
            with pixels, checks:
                self._pixels = np.memmap(pixels, np.uint8, "r", shape=(count, *self._shape))
                self._checks = np.memmap(checks, np.uint32, "r", shape=(count,))
        except OSError as error:
            self.close()
            raise UserError(f"{folder} cannot hold decoded images ({error.strerror}); name another folder") from None
        self._known = np.zeros(count, bool)

    def get(self, position: int) -> npt.NDArray[np.uint8] | None:
        """The square, read-only; None where it is not there yet."""
        found = self._pixels[position]
        if not self._known[position]:
            check = int(self._checks[position])
            if check == _ABSENT or check != _check(found):
                return None
            self._known[position] = True
        return found

    def put(self, position: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Keep a square. Where the disk is full, this and what follows is not kept."""
        if not self._writable:
            return
        data = np.ascontiguousarray(pixels)
        try:  # not through the map: a full disk would end the process there
            done = os.pwrite(self._files[0], data.data, position * self._bytes)
            if done == self._bytes:
                os.pwrite(self._files[1], np.uint32(_check(data)).tobytes(), position * 4)
        except OSError:
            self._writable = False

    def close(self) -> None:
        """Close the files; squares that were handed out stay readable."""
        while self._files:
            os.close(self._files.pop())

    def __del__(self) -> None:
        self.close()


def _check(pixels: npt.NDArray[np.uint8]) -> int:
    return zlib.crc32(pixels.data) or 1
