"""``labels.parquet``: the labels of every report of a safe export, one row per report and label."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from anonymize.config import Config
from anonymize.console import Console, UserError
from anonymize.files import open_atomic, write_json
from anonymize.labels.miner import miner
from anonymize.labels.row import LABEL_SCHEMA, Mention, Qualifiers, ReportLabel, Value

_COLUMNS = ["report_id", "study", "patient", "language", "text"]


class LabelsConfig(Config):
    """Configuration of ``anonymize labels``."""

    not_mentioned: bool = Field(default=True, description="write a row also for labels that a report does not name")
    workers: int = Field(default=0, ge=0, description="processes; 0 = one per core")


def rows_of(report: Mapping[str, str], *, not_mentioned: bool = True) -> Iterator[ReportLabel]:
    """The rows of one report (``report_id``, ``study``, ``patient``, ``language``, ``text``), in the pack's order."""
    rules = miner(report["language"])
    read = rules.read(report["text"])
    for label in rules.labels:
        mention = read.get(label)
        if mention is not None or not_mentioned:
            yield _row(report, label, mention)


def _row(report: Mapping[str, str], label: str, mention: Mention | None) -> ReportLabel:
    found = mention or Mention(label, Value.NOT_MENTIONED, 0, 0, "")
    return ReportLabel(
        report["report_id"],
        report["study"],
        report["patient"],
        label,
        str(found.value),
        found.grade,
        found.start if mention else None,
        found.end if mention else None,
        found.section,
        **asdict(found.qualifiers if mention else Qualifiers()),
    )


def run_labels(config: LabelsConfig, safe: Path, console: Console) -> dict[str, Any]:
    """Mine the labels of ``safe/reports`` into ``safe/labels/labels.parquet`` (row group per shard of reports).

    Memory is bounded by one shard per process. The file appears whole or not at all.

    Returns:
        reports, rows, values by label, seconds, reports per second.

    Raises:
        UserError: ``safe`` holds no pseudonymised reports.
        ConfigError: a language pack has no usable ``labels.yaml``.
    """
    parts = sorted((safe / "reports").glob("part-*.parquet"))
    if not parts:
        raise UserError(f"{safe / 'reports'}: no part-*.parquet; run `anonymize reports EXPORT --out {safe}` first")
    began = time.monotonic()
    values: dict[str, Counter[str]] = {}
    reports = rows = 0
    with (
        open_atomic(safe / "labels" / "labels.parquet") as stream,
        pq.ParquetWriter(stream, LABEL_SCHEMA, compression="zstd") as writer,
    ):
        shards = _shards(parts, config)
        for count, table in console.track(shards, len(parts), "labels", "shards"):
            writer.write_table(table)
            reports += count
            rows += table.num_rows
            pairs = zip(table["label"].to_pylist(), table["value"].to_pylist(), strict=True)
            for (label, value), number in Counter(pairs).items():
                values.setdefault(label, Counter())[value] += number
    seconds = time.monotonic() - began
    summary = {
        "reports": reports,
        "rows": rows,
        "labels": {label: dict(counts.most_common()) for label, counts in values.items()},
        "seconds": round(seconds, 1),
        "reports_per_second": round(reports / seconds, 1) if seconds else 0.0,
    }
    write_json(safe / "labels" / "summary.json", summary)
    return summary


def _shards(parts: Iterable[Path], config: LabelsConfig) -> Iterator[tuple[int, pa.Table]]:
    parts = list(parts)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(config.workers or cores, len(parts))
    work = partial(_shard, not_mentioned=config.not_mentioned)
    if workers <= 1:
        yield from map(work, parts)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        # a window of tasks: the results of later shards wait on disk, not in memory
        for begin in range(0, len(parts), 4 * workers):
            yield from pool.map(work, parts[begin : begin + 4 * workers])


def _shard(path: Path, *, not_mentioned: bool) -> tuple[int, pa.Table]:
    reports = pq.ParquetFile(path).read(columns=_COLUMNS).to_pylist()
    rows = [asdict(row) for report in reports for row in rows_of(report, not_mentioned=not_mentioned)]
    return len(reports), pa.Table.from_pylist(rows, schema=LABEL_SCHEMA)
