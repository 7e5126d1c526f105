"""The plan of a run: every file of the source in sorted order, cut into shards, with what tells a changed file.

It is made once and read by all who work: a shard is one row group, so that no process holds more names than it works on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.console import UserError
from anonymize.files import fingerprint, open_atomic

IGNORED_NAMES = {"dicomdir", "thumbs.db", ".ds_store", "desktop.ini", "lockfile", "version", "autorun.inf"}
# names as bytes: not every file system's names are text
_SCHEMA = pa.schema([("name", pa.binary()), ("size", pa.int64()), ("mtime_ns", pa.int64())])


@dataclass(frozen=True)
class Listed:
    """One file: its name relative to the source, its size in bytes and its time of change."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Plan:
    """A written plan."""

    path: Path
    run: str  # fingerprint of configuration, secret and version
    shard_size: int
    files: int
    ignored: int

    @property
    def shards(self) -> int:
        """How many shards there are; none where the source holds no file."""
        return -(-self.files // self.shard_size)

    def first(self, shard: int) -> int:
        """Ordinal (from 1) of the shard's first file among all files."""
        return shard * self.shard_size + 1

    def count(self, shard: int) -> int:
        """How many files the shard has."""
        return min(self.shard_size, self.files - shard * self.shard_size)

    def shard_of(self, position: int) -> int:
        """The shard of the file with an ordinal."""
        return (position - 1) // self.shard_size

    def shard(self, shard: int) -> list[Listed]:
        """The files of one shard."""
        rows = self._file.read_row_group(shard).to_pylist()
        return [Listed(os.fsdecode(row["name"]), row["size"], row["mtime_ns"]) for row in rows]

    def mark(self, files: list[Listed]) -> str:
        """Fingerprint of a shard: it changes with what the shard's output follows from."""
        return fingerprint(self.run, [(file.name, file.size, file.mtime_ns) for file in files])

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path)


def write_plan(source: Path, path: Path, run: str, shard_size: int) -> Plan:
    """List ``source`` into ``path`` (private: names can identify). Memory: the names of one folder and of one shard."""
    kept = ignored = 0

    def files() -> Iterator[Listed]:
        nonlocal kept, ignored
        for file in _walk(source):
            if _is_ignored(file.name):
                ignored += 1
            else:
                kept += 1
                yield file

    remaining = files()
    with open_atomic(path, permissions=0o600) as stream, pq.ParquetWriter(stream, _SCHEMA, compression="zstd") as out:
        while some := list(islice(remaining, shard_size)):
            rows = [{"name": os.fsencode(f.name), "size": f.size, "mtime_ns": f.mtime_ns} for f in some]
            out.write_table(pa.Table.from_pylist(rows, _SCHEMA), row_group_size=shard_size)
        values = {"run": run, "shard_size": shard_size, "files": kept, "ignored": ignored}
        out.add_key_value_metadata({key: str(value) for key, value in values.items()})
    return read_plan(path)


def read_plan(path: Path) -> Plan:
    """The plan that :func:`write_plan` wrote.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError("there is no plan of this export yet; run the same command with --plan first")
    values = pq.read_metadata(path).metadata
    run, *numbers = (values[key].decode() for key in (b"run", b"shard_size", b"files", b"ignored"))
    return Plan(path, run, *map(int, numbers))


def _walk(folder: Path, prefix: str = "") -> Iterator[Listed]:
    """All files in sorted order; links are not followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            continue
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:
            yield Listed(prefix + entry.name, 0, 0)
            continue
        yield Listed(prefix + entry.name, state.st_size, state.st_mtime_ns)


def _is_ignored(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].casefold()
    return last in IGNORED_NAMES or last.startswith(".")
