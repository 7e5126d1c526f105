"""Files that are whole or absent, and fingerprints of what they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def open_atomic(path: Path, mode: str = "wb", *, permissions: int | None = None) -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path``; it takes the name ``path`` only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    temporary = Path(name)
    try:
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
        with os.fdopen(handle, mode, encoding=encoding, newline=newline) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask if permissions is None else permissions)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: Path, data: bytes, *, permissions: int | None = None) -> None:
    """Write ``data`` to ``path`` so that a reader sees all of it or the former file."""
    with open_atomic(path, "wb", permissions=permissions) as stream:
        stream.write(data)


def write_text_atomic(path: Path, text: str, *, permissions: int | None = None) -> None:
    """:func:`write_bytes_atomic` for UTF-8 text."""
    write_bytes_atomic(path, text.encode("utf-8"), permissions=permissions)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def append_jsonl(path: Path, row: Any) -> None:
    """Append one JSON object as one line, flushed to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
        stream.flush()


def write_table(path: Path, rows: Iterable[Any], schema: pa.Schema | None = None) -> None:
    """Write dataclass instances or mappings as one Parquet file (zstd), atomically.

    Give ``schema`` where ``rows`` may be empty or a column may hold only nulls.
    """
    plain = [dataclasses.asdict(row) if _is_record(row) else dict(row) for row in rows]
    with open_atomic(path) as stream:
        pq.write_table(pa.Table.from_pylist(plain, schema=schema), stream, compression="zstd")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a Parquet file, or of all ``*.parquet`` files of a folder in name order."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    rows: list[dict[str, Any]] = []
    for file in files:
        # one open file, not a data set: pyarrow would read key=value folder names as columns
        rows.extend(pq.ParquetFile(file).read(columns=list(columns) if columns else None).to_pylist())
    return rows


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change with the content of ``parts``.

    A :class:`~pathlib.Path` stands for the bytes of that file, or of every file below that folder with its
    relative name (by its name alone where it cannot be opened); anything else for its JSON form.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]:
                digest.update(os.fsencode(file.relative_to(part) if part.is_dir() else file.name))
                try:
                    with file.open("rb") as stream:
                        digest.update(hashlib.file_digest(stream, "sha256").digest())
                except PermissionError:
                    if not part.is_dir():
                        raise
        else:
            digest.update(json.dumps(part, sort_keys=True, default=_plain).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _plain(value: Any) -> Any:
    if _is_record(value):
        return dataclasses.asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
