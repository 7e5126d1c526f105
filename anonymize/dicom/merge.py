"""The last step of a run: duplicates settled, index and quarantine written, what belongs to no row removed.

It reads the shards' own tables twice and holds 16 bytes an image; whatever order the shards were made in, by however many
tasks, the result is the same.
"""

from __future__ import annotations

import heapq
import io
import json
import os
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_array as _pandas_hash

from anonymize.dicom.config import STAGE
from anonymize.dicom.refusal import REMEDIES
from anonymize.dicom.stores import Store
from anonymize.dicom.work import digest_of
from anonymize.files import open_atomic, write_bytes_atomic
from anonymize.keys import Keys, private_folder
from anonymize.quarantine import Quarantined, write_quarantine

DUPLICATE = "duplicate_instance"
_ROWS = 1_000_000  # of the index that are held together
_TOGETHER = 100_000  # duplicated identifiers, or files of the export, that are looked at together
# names that this program gives: nothing else below SAFE is ever removed
_EMPTY = re.compile(r"P[A-Z2-7]{16}/S[A-Z2-7]{16}")
_OURS = re.compile(_EMPTY.pattern + r"/([A-Z][A-Z2-7]{16}\.dcm|\.part-\w{8}|part-\d+\.tmp)")


def losers(
    store: Store, tables: Sequence[Path], folder: Path, remake: Callable[[Sequence[int]], None]
) -> npt.NDArray[np.int64]:
    """Sorted positions of the instances that another file holds already: the first in sorted order stays.

    Args:
        tables: the shards' own, in order.
        folder: where the store's files lie.
        remake: cleans the files with the given positions anew, where a duplicate that differs stands in their place.
    """
    found = array("q")
    wrong = array("q")
    for some in _split(_repeated(store, tables)):
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for path in tables:
            table = pq.read_table(path, columns=[store.key, "position", "digest", "path"])
            for row in table.filter(pa.array(np.isin(_keys(table[store.key]), some))).to_pylist():
                groups[row[store.key]].append(row)
        for rows in groups.values():
            rows.sort(key=lambda row: row["position"])
            found.extend(row["position"] for row in rows[1:])
            rivals = {row["digest"] for row in rows if row["path"] == rows[0]["path"]}
            if len(rivals) > 1 and digest_of(folder / rows[0]["path"]) != rows[0]["digest"]:
                wrong.append(rows[0]["position"])
    if wrong:
        remake(sorted(wrong))
    return np.sort(np.frombuffer(found, np.int64)) if found else np.zeros(0, np.int64)


def write_index(store: Store, tables: Sequence[Path], folder: Path, lost: npt.NDArray[np.int64]) -> Counter[str]:
    """As many parts as shards, without the instances in ``lost``; a part that says the same already is left alone.

    Parts and the rows in them follow the identifiers, which are keyed: in the order of the source, whose folders can have
    patients' names, the place of a row would say where in the alphabet its patient stands.

    Returns:
        how many rows have each value of ``burned_in`` ("" where the index has no such column).
    """
    counts: Counter[str] = Counter()
    names = store.schema.names
    step = max(1, _ROWS * len(tables) // max(1, sum(pq.read_metadata(path).num_rows for path in tables)))
    wanted = set()
    for start in range(0, len(tables), step):
        chosen = []
        for path in tables:
            table = pq.read_table(path)
            place = _part_of(table[store.key], len(tables))
            stays = _stays(table, lost) & (place >= start) & (place < start + step)
            chosen.append(table.filter(pa.array(stays)).append_column("part", pa.array(place[stays])))
        found = pa.concat_tables(chosen)
        counts.update(found["burned_in"].to_pylist() if "burned_in" in names else [""] * found.num_rows)
        found = found.sort_by([("part", "ascending"), (store.key, "ascending")]).combine_chunks()
        numbers = np.arange(start, min(start + step, len(tables)))
        edges = np.searchsorted(found["part"].to_numpy(), [*numbers, numbers[-1] + 1])
        for shard, first, last in zip(numbers.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            table = found.slice(first, last - first).select(names)
            if store.optional and not table.num_rows:
                continue
            stream = io.BytesIO()
            pq.write_table(table.cast(store.schema).combine_chunks(), stream, compression="zstd")
            part = folder / f"part-{shard:05d}.parquet"
            wanted.add(part)
            if not part.is_file() or part.read_bytes() != stream.getvalue():
                write_bytes_atomic(part, stream.getvalue())
    for part in set(folder.glob("part-*.parquet")) - wanted:  # of an earlier source
        part.unlink()
    return counts


def write_refusals(
    refused: Iterator[dict[str, Any]],
    out: Path,
    keys: Keys,
    lost: npt.NDArray[np.int64],
    name_of: Callable[[int], str],
) -> Counter[str]:
    """The quarantine table and, in the private folder, its look-up; the reasons with their numbers.

    Args:
        refused: ``position, reason, name`` in the order of the source.
    """
    reasons: Counter[str] = Counter()
    duplicates = ({"position": place, "reason": DUPLICATE, "name": name_of(place)} for place in lost.tolist())

    def items() -> Iterator[Quarantined]:
        lookup = private_folder(out) / "quarantine-lookup-dicom.jsonl"
        with open_atomic(lookup, "w", permissions=0o600) as stream:
            for row in heapq.merge(refused, duplicates, key=lambda row: row["position"]):
                ref, reason = keys.pseudonym("file", row["name"]), row["reason"]
                stream.write(json.dumps({"ref": ref, "source": row["name"]}, ensure_ascii=False) + "\n")
                reasons[reason] += 1
                yield Quarantined(STAGE, ref, row["position"], reason, REMEDIES[reason])

    write_quarantine(out / "quarantine" / "dicom.parquet", items())
    return reasons


def sweep(store: Store, tables: Sequence[Path], folder: Path, lost: npt.NDArray[np.int64]) -> int:
    """Remove files of ours that belong to no row: of killed runs, of another configuration, of duplicates; how many."""
    if not folder.is_dir():
        return 0
    keys = np.concatenate([np.zeros(0, np.uint64), *(_paths(path, lost) for path in tables)])
    keys.sort()
    removed = 0
    ours = (name for name in _names(folder) if _OURS.fullmatch(name))
    while some := list(islice(ours, _TOGETHER)):
        found = _hashes(np.array(some, object))
        place = np.searchsorted(keys, found)
        known = place < len(keys)
        known[known] = keys[place[known]] == found[known]
        for name in np.array(some, object)[~known]:
            (folder / name).unlink(missing_ok=True)
            removed += 1
            _remove_empty((folder / name).parent)
    return removed


def keys_of(store: Store, tables: Sequence[Path]) -> npt.NDArray[np.uint64]:
    """8 bytes for each instance of the shards' own tables."""
    found = (_keys(pq.read_table(path, columns=[store.key])[store.key]) for path in tables)
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _hashes(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.uint64]:
    """8 bytes a text, the same in every process."""
    hash_array: Any = _pandas_hash  # its type is not published
    return hash_array(texts, categorize=False)


def _keys(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    return _hashes(values.to_numpy().astype(object))


def _repeated(store: Store, tables: Sequence[Path]) -> npt.NDArray[np.uint64]:
    """Keys that more than one row has: duplicates, and what collides with another by chance."""
    keys = keys_of(store, tables)
    keys.sort()
    return np.unique(keys[1:][keys[1:] == keys[:-1]])


def _split(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]


def _paths(path: Path, lost: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    table = pq.read_table(path, columns=["path", "position"])
    return _keys(table.filter(pa.array(_stays(table, lost)))["path"])


def _stays(table: pa.Table, lost: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return ~np.isin(table["position"].to_numpy(), lost)


def _part_of(identifiers: pa.ChunkedArray, parts: int) -> npt.NDArray[np.int64]:
    """The part of each pseudonym (:meth:`Keys.pseudonym`), by the 25 bits of its first five digits of base 32."""
    digits = np.array(identifiers.to_pylist(), "S17").view(np.uint8).reshape(-1, 17)[:, 1:6].astype(np.int64)
    digits -= np.where(digits >= 65, 65, 50 - 26)  # A-Z, 2-7
    return (digits @ (32 ** np.arange(4, -1, -1))) * parts >> 25


def _names(folder: Path) -> Iterator[str]:
    """Names below ``folder/<patient>/<study>``, relative to ``folder``."""
    for patient in _folders(folder):
        for study in _folders(folder / patient):
            with os.scandir(folder / patient / study) as entries:
                found = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
            if not found and _EMPTY.fullmatch(f"{patient}/{study}"):
                _remove_empty(folder / patient / study)
            yield from (f"{patient}/{study}/{name}" for name in found)


def _remove_empty(study: Path) -> None:
    for folder in (study, study.parent):
        if any(folder.iterdir()):
            return
        folder.rmdir()


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
