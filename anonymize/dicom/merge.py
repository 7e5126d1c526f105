"""The last step of a run: duplicates settled, index and quarantine written, what belongs to no row removed.

It reads the shards' own tables twice and holds 16 bytes an image; whatever order the shards were made in, by however many
tasks, the result is the same.
"""

from __future__ import annotations

import io
import json
import os
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.dicom.config import STAGE
from anonymize.dicom.instance import REMEDIES
from anonymize.dicom.work import digest_of
from anonymize.files import open_atomic, write_bytes_atomic
from anonymize.keys import Keys, private_folder
from anonymize.quarantine import Quarantined, write_quarantine

DUPLICATE = "duplicate_instance"
_TOGETHER = 100_000  # duplicated identifiers, or files of the export, that are looked at together
# names that this program gives: nothing else below SAFE/images is ever removed
_EMPTY = re.compile(r"P[A-Z2-7]{16}/S[A-Z2-7]{16}")
_OURS = re.compile(_EMPTY.pattern + r"/(I[A-Z2-7]{16}\.dcm|\.part-\w{8}|part-\d+\.tmp)")


@dataclass
class Merged:
    """What a run comes to."""

    written: int = 0
    burned_in: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Tables:
    """The shards' own tables: ``rows`` holds the index and its columns ``position`` and ``digest``."""

    rows: Sequence[Path]
    refused: Callable[[int], list[dict[str, Any]]]  # of a shard: position, reason, name


def losers(tables: Tables, images: Path, remake: Callable[[Sequence[int]], None]) -> npt.NDArray[np.int64]:
    """Sorted positions of the instances that another has already: the first in sorted order stays.

    ``remake`` cleans the files with the given positions anew, where a duplicate that differs stands in their place.
    """
    found = array("q")
    wrong = array("q")
    for some in _split(_repeated(tables)):
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for path in tables.rows:
            table = pq.read_table(path, columns=["image_id", "position", "digest", "path"])
            for row in table.filter(pa.array(np.isin(_keys(table["image_id"]), some))).to_pylist():
                groups[row["image_id"]].append(row)
        for rows in groups.values():
            rows.sort(key=lambda row: row["position"])
            found.extend(row["position"] for row in rows[1:])
            rivals = {row["digest"] for row in rows if row["path"] == rows[0]["path"]}
            if len(rivals) > 1 and digest_of(images / rows[0]["path"]) != rows[0]["digest"]:
                wrong.append(rows[0]["position"])
    if wrong:
        remake(sorted(wrong))
    return np.sort(np.frombuffer(found, np.int64)) if found else np.zeros(0, np.int64)


def write_index(tables: Tables, schema: pa.Schema, folder: Path, lost: npt.NDArray[np.int64]) -> Merged:
    """One part a shard, without the instances in ``lost``; a part that says the same already is left alone."""
    merged = Merged()
    folder.mkdir(parents=True, exist_ok=True)
    for shard, path in enumerate(tables.rows):
        table = pq.read_table(path)
        table = table.filter(_stays(table, lost))
        merged.written += table.num_rows
        merged.burned_in.update(table["burned_in"].to_pylist())
        stream = io.BytesIO()
        pq.write_table(table.select(schema.names).cast(schema), stream, compression="zstd")
        part = folder / f"part-{shard:05d}.parquet"
        if not part.is_file() or part.read_bytes() != stream.getvalue():
            write_bytes_atomic(part, stream.getvalue())
    for part in folder.glob("part-*.parquet"):  # of an earlier, longer source
        if int(part.stem.split("-")[1]) >= len(tables.rows):
            part.unlink()
    return merged


def write_refusals(
    tables: Tables, out: Path, keys: Keys, lost: npt.NDArray[np.int64], name_of: Callable[[int], str]
) -> Counter[str]:
    """The quarantine table and, in the private folder, its look-up; the reasons with their numbers."""
    reasons: Counter[str] = Counter()

    def items() -> Iterator[Quarantined]:
        lookup = private_folder(out) / "quarantine-lookup-dicom.jsonl"
        with open_atomic(lookup, "w", permissions=0o600) as stream:
            for position, reason, name in _refusals(tables, lost, name_of):
                ref = keys.pseudonym("file", name)
                stream.write(json.dumps({"ref": ref, "source": name}, ensure_ascii=False) + "\n")
                reasons[reason] += 1
                yield Quarantined(STAGE, ref, position, reason, REMEDIES[reason])

    write_quarantine(out / "quarantine" / "dicom.parquet", items())
    return reasons


def sweep(tables: Tables, images: Path, lost: npt.NDArray[np.int64]) -> int:
    """Remove files of ours that belong to no row: of killed runs, of another configuration, of duplicates; how many."""
    if not images.is_dir():
        return 0
    keys = np.zeros(0, np.uint64)
    if tables.rows:
        keys = np.concatenate([_paths(path, lost) for path in tables.rows])
    keys.sort()
    removed = 0
    ours = (name for name in _names(images) if _OURS.fullmatch(name))
    while some := list(islice(ours, _TOGETHER)):
        found = pd.util.hash_array(np.array(some, object), categorize=False)
        place = np.searchsorted(keys, found)
        known = place < len(keys)
        known[known] = keys[place[known]] == found[known]
        for name in np.array(some, object)[~known]:
            (images / name).unlink(missing_ok=True)
            removed += 1
            _remove_empty((images / name).parent)
    return removed


def keys_of(path: Path) -> npt.NDArray[np.uint64]:
    """8 bytes for each instance of a shard's own table."""
    return _keys(pq.read_table(path, columns=["image_id"])["image_id"])


def _keys(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    return pd.util.hash_array(values.to_numpy().astype(object), categorize=False)


def _repeated(tables: Tables) -> npt.NDArray[np.uint64]:
    """Keys that more than one row has: duplicates, and what collides with another by chance."""
    if not tables.rows:
        return np.zeros(0, np.uint64)
    keys = np.concatenate([keys_of(path) for path in tables.rows])
    keys.sort()
    return np.unique(keys[1:][keys[1:] == keys[:-1]])


def _split(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]


def _paths(path: Path, lost: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    table = pq.read_table(path, columns=["path", "position"])
    return _keys(table.filter(_stays(table, lost))["path"])


def _stays(table: pa.Table, lost: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(~np.isin(table["position"].to_numpy(), lost))


def _refusals(
    tables: Tables, lost: npt.NDArray[np.int64], name_of: Callable[[int], str]
) -> Iterator[tuple[int, str, str]]:
    """Position, reason and name of every refused file in the order of the source."""
    waiting = iter(lost.tolist())
    loser = next(waiting, None)
    for shard in range(len(tables.rows)):
        for row in tables.refused(shard):
            while loser is not None and loser < row["position"]:
                yield loser, DUPLICATE, name_of(loser)
                loser = next(waiting, None)
            yield row["position"], row["reason"], row["name"]
    while loser is not None:
        yield loser, DUPLICATE, name_of(loser)
        loser = next(waiting, None)


def _names(images: Path) -> Iterator[str]:
    """Names below ``images/<patient>/<study>``, relative to ``images``."""
    for patient in _folders(images):
        for study in _folders(images / patient):
            with os.scandir(images / patient / study) as entries:
                found = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
            if not found and _EMPTY.fullmatch(f"{patient}/{study}"):
                _remove_empty(images / patient / study)
            yield from (f"{patient}/{study}/{name}" for name in found)


def _remove_empty(study: Path) -> None:
    for folder in (study, study.parent):
        if any(folder.iterdir()):
            return
        folder.rmdir()


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
