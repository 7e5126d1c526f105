"""What surrounds the reports: names and content of files, Parquet metadata, other tables, and the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.attack.chance import normal_tail
from anonymize.attack.originals import Case
from anonymize.text import fold

_RUN = re.compile(r"[^\W_]+")  # whole runs: letters inside a pseudonym are no word
_UNREAD = frozenset((".dcm", ".png"))
_SURE = 1e-6


@dataclass(frozen=True)
class Trace:
    """An original value in a file of the export that is no report."""

    file: str
    where: str  # name, content, metadata, or a column
    kind: str
    value: str


def search_files(safe: Path, names: Collection[str], numbers: Collection[str]) -> list[Trace]:
    """Search the export's files but for the texts of reports and images. ``names`` are folded words, not ordinary ones."""
    found: list[Trace] = []
    for path in sorted(path for path in safe.rglob("*") if path.is_file()):
        shown = str(path.relative_to(safe))
        for where, text in _texts(path, shown):
            runs = set(_RUN.findall(fold(text)))
            found += [Trace(shown, where, "name", word) for word in sorted(runs & set(names)) if len(word) > 3]
            found += [Trace(shown, where, "id", word) for word in sorted(runs & set(numbers)) if len(word) > 5]
    return found


def _texts(path: Path, shown: str) -> Iterator[tuple[str, str]]:
    yield "name", shown
    if path.suffix in _UNREAD:
        return
    if path.suffix != ".parquet":
        yield "content", path.read_bytes().decode("utf-8", "replace")
        return
    file = pq.ParquetFile(path)
    metadata = file.schema_arrow.metadata or {}
    yield "metadata", " ".join(part.decode("utf-8", "replace") for item in metadata.items() for part in item)
    if path.parent.name == "reports":
        return
    for column in file.schema_arrow:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for batch in file.iter_batches(columns=[column.name]):
                yield column.name, "\n".join(value for value in batch.column(0).to_pylist() if value)


def row_order(cases: Iterable[Case]) -> dict[str, Any]:
    """Whether the reports stand in the order of the original export: who holds that order could line them up.

    In a random order half of the neighbours ascend, with variance (n + 1) / 12.
    """
    linked = ((case.places[number], report.position) for case in cases for number, report in case.linked.items())
    places = [position for _, position in sorted(linked)]
    steps = len(places) - 1
    if steps < 20:
        return {"rows": len(places), "follows_export": False}
    ascending = sum(a < b for a, b in pairwise(places))
    z = (ascending - steps / 2) / ((steps + 2) / 12) ** 0.5
    p = min(1.0, 2 * normal_tail(abs(z)))
    return {
        "rows": len(places),
        "ascending_share": round(ascending / steps, 3),
        "p": round(p, 6),
        "follows_export": p < _SURE,
    }
