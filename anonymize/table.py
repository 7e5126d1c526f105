"""A table of labels by study, made fit to travel: keyed study, numbers and closed sets of short values."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from anonymize.audit import append_audit
from anonymize.config import Config, dump_config
from anonymize.console import Console, UserError
from anonymize.dicom.words import tokens, vocabulary
from anonymize.files import open_atomic, write_json, write_table
from anonymize.keys import Keys, private_folder
from anonymize.quarantine import Quarantined, count_reasons, write_quarantine

STAGE = "anonymize-table"
REMEDIES = {
    "empty_key": "the row has no study identifier; fill the study column",
    "conflicting_rows": "several rows give this study different values; keep the right one",
    "duplicate_row": "an earlier row says the same; nothing is lost",
    "broken_row": "the row has another number of cells than the header; mend its quotes or separators",
}
_NUMBER = re.compile(r"[+-]?\d{1,6}([.,]\d+)?")
_DATE = re.compile(r"(19|20)\d{6}|(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(19|20)\d\d")
_DIGITS = re.compile(r"\d{4,}")


class TableConfig(Config):
    """Configuration of ``anonymize table``."""

    study_column: str
    patient_column: str = ""
    keep: list[str] = Field(default=[], description="columns to keep; empty keeps all but the two keys")
    closed_set: int = Field(default=20, ge=2, le=200)  # most different values that a text column may have
    value_length: int = Field(default=24, ge=1, le=64)  # characters of its longest value
    languages: list[str] = Field(
        default=["fr", "en"], description="packs whose vocabulary a text value may use (dicom.yaml)"
    )
    separator: str = ""  # found by itself where empty


@dataclass(frozen=True)
class _Row:
    position: int
    study: str
    patient: str
    values: tuple[str, ...]


def run_table(config: TableConfig, source: Path, out: Path, keys: Keys, console: Console) -> dict[str, Any]:
    """Write ``out/tables/<name>.parquet``: ``study``, ``patient`` where asked for, and the kept columns.

    Returns:
        ``rows_in, written, columns, quarantined {reason: n}, seconds``; rows_in = written + quarantined.

    Raises:
        UserError: file or column missing, or a column that could identify a person.
    """
    started = time.monotonic()
    header, rows, broken = _read(source, config)
    kept = _kept_columns(header, config)
    columns = {name: header.index(name) for name in kept}
    study_at = _index(header, config.study_column)
    patient_at = _index(header, config.patient_column) if config.patient_column else None
    records, refused = [], [(position, "broken_row") for position in broken]
    for position, cells in rows:
        study = cells[study_at].strip()
        if not study:
            refused.append((position, "empty_key"))
            continue
        patient = cells[patient_at].strip() if patient_at is not None else ""
        records.append(_Row(position, study, patient, tuple(cells[i].strip() for i in columns.values())))
    records, conflicts = _without_conflicts(records)
    refused += conflicts
    data = {name: _column(name, [r.values[i] for r in records], config) for i, name in enumerate(kept)}
    _write(out, source.stem, records, data, keys, with_patient=patient_at is not None)
    items = _quarantine(out, source.name, refused, keys)
    summary = {
        "rows_in": len(rows) + len(broken),
        "written": len(records),
        "columns": len(kept),
        "quarantined": count_reasons(items),
        "seconds": round(time.monotonic() - started, 2),
    }
    dump_config(config, out / "table" / "config.yaml")
    write_json(out / "table" / "summary.json", summary)
    counts = {key: summary[key] for key in ("rows_in", "written", "columns", "quarantined")}
    append_audit(out, "table", keys.identifier, config, counts)
    return summary


def _read(source: Path, config: TableConfig) -> tuple[list[str], list[tuple[int, list[str]]], list[int]]:
    """Header, rows with their position (the header is row 1), and positions of rows of another width."""
    if not source.is_file():
        raise UserError(f"{source}: no such table")
    text = _decode(source.read_bytes())
    first = text.split("\n", 1)[0]
    separator = config.separator or max(";,\t|", key=first.count)
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    if not lines:
        raise UserError(f"{source}: the table is empty")
    header = [name.strip() for name in lines[0]]
    if len(set(header)) < len(header):
        raise UserError(f"{source}: two columns have the same name; rename one")
    rows = [(number, cells) for number, cells in enumerate(lines[1:], start=2) if cells]
    whole = [(number, cells) for number, cells in rows if len(cells) == len(header)]
    return header, whole, [number for number, cells in rows if len(cells) != len(header)]


def _decode(raw: bytes) -> str:
    """UTF-16 by its mark, else UTF-8, else Windows-1252, which is what a spreadsheet writes in western Europe."""
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _kept_columns(header: list[str], config: TableConfig) -> list[str]:
    keys = {config.study_column, config.patient_column}
    for name in config.keep:
        _index(header, name)
        if name in keys:
            raise UserError(f"column '{name}' is a key and becomes a pseudonym; leave it out of keep")
    kept = config.keep or [name for name in header if name not in keys]
    if taken := {"study", "patient"} & set(kept):
        raise UserError(f"column '{min(taken)}' has the name of a pseudonym's column; rename it")
    return kept


def _index(header: list[str], name: str) -> int:
    if name not in header:
        raise UserError(f"no column '{name}'; there are: {', '.join(header)}")
    return header.index(name)


def _without_conflicts(records: list[_Row]) -> tuple[list[_Row], list[tuple[int, str]]]:
    """One row a study. Rows that repeat one are dropped; studies whose rows differ are refused as a whole."""
    by_study: dict[str, list[_Row]] = {}
    for record in records:
        by_study.setdefault(record.study, []).append(record)
    kept, refused = [], []
    for rows in by_study.values():
        if len({(row.patient, row.values) for row in rows}) > 1:
            refused += [(row.position, "conflicting_rows") for row in rows]
        else:
            kept.append(rows[0])
            refused += [(row.position, "duplicate_row") for row in rows[1:]]
    return kept, refused


def _column(name: str, values: list[str], config: TableConfig) -> pa.Array:
    """A column as numbers (float64) or as strings of a closed set; empty cells are null.

    Raises:
        UserError: the column could identify a person. The message names the column, never a value.
    """
    filled = [value for value in values if value]
    if all(_NUMBER.fullmatch(value) for value in filled):
        if any(_DATE.fullmatch(value) for value in filled):
            raise UserError(_refusal(name, "holds dates"))
        whole = [value for value in filled if len(value.lstrip("+-").split(".")[0].split(",")[0]) >= 5]
        if whole and len(set(filled)) > 0.5 * len(filled):
            raise UserError(_refusal(name, "holds long numbers, as identifiers are"))
        return pa.array([float(value.replace(",", ".")) if value else None for value in values], pa.float64())
    distinct = set(filled)
    if len(distinct) > config.closed_set or (len(filled) > 3 and len(distinct) > 0.5 * len(filled)):
        raise UserError(_refusal(name, f"has more than {config.closed_set} values, or a new one on every other row"))
    if any(len(value) > config.value_length or "\n" in value for value in distinct):
        raise UserError(_refusal(name, f"holds text longer than {config.value_length} characters"))
    if any(_DIGITS.search(value) or "@" in value for value in distinct):
        raise UserError(_refusal(name, "holds runs of digits or addresses"))
    words = vocabulary(tuple(config.languages))
    if not all(len(token) <= 2 or token.isdigit() or token in words for value in distinct for token in tokens(value)):
        raise UserError(_refusal(name, "holds words outside the radiology vocabulary, as names are"))
    return pa.array([value or None for value in values], pa.string())


def _refusal(name: str, why: str) -> str:
    return f"column '{name}' {why}: it could identify a person. Leave it out with --keep, or code it as numbers"


def _write(
    out: Path, name: str, records: list[_Row], data: dict[str, pa.Array], keys: Keys, *, with_patient: bool
) -> None:
    columns: dict[str, pa.Array] = {"study": pa.array([keys.pseudonym("study", r.study) for r in records], pa.string())}
    if with_patient:
        columns["patient"] = pa.array(
            [keys.pseudonym("patient", r.patient) if r.patient else None for r in records], pa.string()
        )
    table = pa.table(columns | data)
    rows = table.sort_by("study").to_pylist()  # source order could tell who is who
    write_table(out / "tables" / f"{_safe_name(name, keys)}.parquet", rows, table.schema)


def _safe_name(name: str, keys: Keys) -> str:
    """The file's own name where it is a plain word, else a pseudonym: names of files can hold names of people."""
    return name if re.fullmatch(r"[a-z_]{1,24}", name) else keys.pseudonym("table", name)


def _quarantine(out: Path, source: str, refused: list[tuple[int, str]], keys: Keys) -> list[Quarantined]:
    items = []
    with open_atomic(private_folder(out) / "quarantine-lookup-table.jsonl", "w", permissions=0o600) as stream:
        for position, reason in sorted(refused):
            ref = keys.pseudonym("row", f"{source}#{position}")
            items.append(Quarantined(STAGE, ref, position, reason, REMEDIES[reason]))
            stream.write(json.dumps({"ref": ref, "source": f"{source}#{position}"}, ensure_ascii=False) + "\n")
    write_quarantine(out / "quarantine" / "table.parquet", items)
    return items
