"""Parquet exports, read by batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.console import UserError
from anonymize.policy import ReportsConfig

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

SUFFIXES = (".parquet", ".pq")


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Column names."""
    try:
        return pq.ParquetFile(path).schema_arrow.names, {"format": "parquet"}
    except pa.ArrowInvalid:
        raise UserError(f"{path}: is not a Parquet file") from None


def rows(source: Source) -> Iterator[RawRow]:
    """Rows; numbers and dates as text, nulls as empty text."""
    from anonymize.readers import RawRow

    position = 1
    for batch in pq.ParquetFile(source.path).iter_batches(batch_size=2048):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            position += 1
            values = tuple("" if value is None else str(value) for value in row)
            yield RawRow(position, values, "nul_byte" if any("\0" in value for value in values) else "")
