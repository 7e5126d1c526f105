"""Parquet exports, read by batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.console import UserError
from anonymize.policy import ReportsConfig
from anonymize.readers.encoding import is_broken
from anonymize.readers.problems import MAXIMUM_TEXT

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Column names."""
    try:
        return pq.ParquetFile(path).schema_arrow.names, {"format": "parquet"}
    except (pa.ArrowException, OSError):
        raise UserError(f"{path}: is no whole Parquet file; copy or export it again") from None


def rows(source: Source) -> Iterator[RawRow]:
    """Rows; numbers and dates as text, nulls as empty text. A part that cannot be read is one row with its reason."""
    from anonymize.readers import RawRow

    file = pq.ParquetFile(source.path)
    position = 1
    for group in range(file.num_row_groups):
        try:
            for batch in file.iter_batches(batch_size=2048, row_groups=[group]):
                for row in zip(*(_cells(column) for column in batch.columns), strict=True):
                    position += 1
                    yield RawRow(position, row, _problem(row))
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            position += 1
            yield RawRow(position, (), "damaged_file")


def _cells(column: pa.Array) -> list[str]:
    return [_text(value) for value in column.to_pylist()]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # numbers beside nulls come as floats from pandas
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if isinstance(value, float) and value != value else str(value)


def _problem(row: tuple[str, ...]) -> str:
    if any("\0" in value for value in row):
        return "nul_byte"
    if any(len(value) > MAXIMUM_TEXT for value in row):
        return "too_large"
    return "wrong_encoding" if any(map(is_broken, row)) else ""
