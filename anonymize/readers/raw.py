"""Byte streams of files, plain or gzip-compressed, with limits on what they may unpack to."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from anonymize.readers.problems import Unreadable

_RATIO = 200  # text packs 3 to 20 times smaller; repeated bytes a thousand times
_FREE = 64 * 1024 * 1024  # bytes that any file may unpack to
LINE_LIMIT = 32 * 1024 * 1024  # bytes or characters of one line


class _Guarded(io.RawIOBase):
    """A gzip stream that refuses to unpack to many times its size."""

    def __init__(self, path: Path) -> None:
        self._inner = gzip.GzipFile(path, "rb")
        self._limit = max(_FREE, _RATIO * path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except EOFError:
            raise Unreadable("truncated_file") from None
        except (OSError, zlib.error):
            raise Unreadable("damaged_file") from None
        self._read += len(data)
        if self._read > self._limit:
            raise Unreadable("zip_bomb")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of ``path``, unpacked where it is gzip.

    Reading raises :class:`Unreadable` (truncated_file, damaged_file, zip_bomb) from a bad gzip stream.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return io.BufferedReader(_Guarded(path), 1024 * 1024) if packed else path.open("rb")


def read_whole(path: Path, limit: int) -> bytes:
    """All bytes of ``path``, unpacked where it is gzip.

    Raises:
        Unreadable: too_large, or as :func:`open_bytes`.
    """
    with open_bytes(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise Unreadable("too_large")
    return data


def lines_of(stream: IO[Any]) -> Iterator[Any]:
    """Lines with their ends; of one longer than :data:`LINE_LIMIT` only the start, then None."""
    while line := stream.readline(LINE_LIMIT):
        yield line
        if len(line) < LINE_LIMIT or line[-1:] in ("\n", b"\n", "\r"):
            continue
        yield None
        while rest := stream.readline(LINE_LIMIT):
            if len(rest) < LINE_LIMIT or rest[-1:] in ("\n", b"\n", "\r"):
                break


def readable_lines(path: Path) -> Iterator[bytes]:
    """Lines of ``path`` up to where it can be read, for finding its encoding and headings."""
    with open_bytes(path) as stream:
        try:
            for line in lines_of(stream):
                if line is not None:
                    yield line
        except Unreadable:
            return
