"""Items that could not be processed: each with a reason, none lost, none identifying."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.files import open_atomic, read_rows

_ROWS = 50_000


@dataclass(frozen=True)
class Quarantined:
    """One refused item.

    ``ref`` is a keyed pseudonym of the item's source (file path, or file and row), never the source itself, which can
    hold a name; the private folder beside the safe export holds the look-up from ``ref`` to the source.
    """

    stage: str  # anonymize-reports, anonymize-dicom, anonymize-table, prepare
    ref: str
    position: int  # row number in the table from 1 (the header is row 1), or ordinal of the file in sorted order
    reason: str  # short code in snake case, such as truncated_dicom, empty_report, ambiguous_pair
    remedy: str  # one sentence for a person; free of source text


SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("ref", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("remedy", pa.string()),
    ]
)


def write_quarantine(path: Path, items: Iterable[Quarantined]) -> None:
    """Write the items as Parquet, in their given order and in constant memory."""
    remaining = iter(items)
    with open_atomic(path) as stream, pq.ParquetWriter(stream, SCHEMA, compression="zstd") as writer:
        while rows := [asdict(item) for item in islice(remaining, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))


def read_quarantine(path: Path) -> list[Quarantined]:
    """The items of one Parquet file, or of all files of a folder; none where it does not exist."""
    return [Quarantined(**row) for row in read_rows(path)] if path.exists() else []


def count_reasons(items: Iterable[Quarantined]) -> dict[str, int]:
    """How many items each reason has, commonest first."""
    return dict(Counter(item.reason for item in items).most_common())
