"""``anonymize clean``: a cleaned copy of the safe reports with offsets back, and the near-duplicates among them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from anonymize.cleaning.clean import Cleaner, Steps
from anonymize.cleaning.duplicates import near_duplicates
from anonymize.cleaning.layout import LineCounts
from anonymize.cleaning.sentences import split_sentences
from anonymize.config import Config, dump_config
from anonymize.console import Console, UserError
from anonymize.files import write_json, write_table
from anonymize.languages import load_pack
from anonymize.report import SECTIONS
from anonymize.sections import parser_of

_OFFSETS = pa.list_(pa.struct([(name, pa.int32()) for name in ("start", "end", "safe_start", "safe_end")]))
CLEAN_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("report_id", "study", "patient", "language", *SECTIONS, "text")],
        ("offsets", _OFFSETS),  # text[start:end] came from the safe text's [safe_start:safe_end]
        ("sentences", pa.list_(pa.int32())),  # where each begins in text
    ]
)
DUPLICATE_SCHEMA = pa.schema([("report_id", pa.string()), ("group", pa.int64()), ("jaccard", pa.float64())])


class CleanConfig(Config):
    """Configuration of ``anonymize clean``."""

    steps: Steps = Steps()
    sentences: Literal["none", "rules", "eds", "sentencizer"] = Field(
        default="rules", description="eds: EDS-NLP, French; sentencizer: spaCy"
    )
    repeated_share: float = Field(
        default=0.02, gt=0, le=1, description="share of the reports that a line stands in to be boilerplate"
    )
    near_duplicates: bool = Field(default=True, description="find near-duplicates")
    jaccard: float = Field(default=0.85, gt=0, le=1, description="similarity of near-duplicates")


def run_clean(config: CleanConfig, safe: Path, console: Console) -> dict[str, Any]:
    """Clean ``safe/reports`` into ``safe/clean``; write ``safe/near_duplicates.parquet``. The safe reports stay as they are.

    Two passes over the shards: lines are counted, then reports are cleaned. Memory is bounded by a shard, the line
    counts and one signature for each different report.

    Returns:
        reports, edits by step, lines that many reports share, near-duplicate groups and reports, seconds.

    Raises:
        UserError: ``safe`` holds no pseudonymised reports.
        ConfigError: a language pack has no usable ``cleaning.yaml``, or a library is missing.
    """
    parts = sorted((safe / "reports").glob("part-*.parquet"))
    if not parts:
        raise UserError(f"{safe / 'reports'}: no part-*.parquet; run `anonymize reports EXPORT --out {safe}` first")
    began = time.monotonic()
    counts = LineCounts(config.repeated_share)
    if config.steps.boilerplate:
        for part in console.track(parts, len(parts), "lines", "shards"):
            for report in _reports(part, ["text"]):
                counts.add(report["text"])
    repeated = counts.repeated()
    cleaners: dict[str, Cleaner] = {}
    edits: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    reports = 0
    out = safe / "clean"
    for old in out.glob("part-*.parquet"):
        old.unlink()
    for part in console.track(parts, len(parts), "reports", "shards"):
        rows = []
        for report in _reports(part, ["report_id", "study", "patient", "language", "text"]):
            language = report["language"]
            cleaner = cleaners.get(language) or cleaners.setdefault(
                language, Cleaner(load_pack(language), config.steps, repeated)
            )
            rows.append(_row(report, cleaner, config, edits, changed))
        reports += len(rows)
        write_table(out / part.name, rows, CLEAN_SCHEMA)
    summary: dict[str, Any] = {
        "reports": reports,
        "edits": dict(edits.most_common()),
        "reports_changed": dict(changed.most_common()),
        "lines_shared": len(repeated),
    }
    if config.near_duplicates:
        found = list(near_duplicates(_bodies(out), threshold=config.jaccard))
        write_table(safe / "near_duplicates.parquet", found, DUPLICATE_SCHEMA)
        summary["near_duplicates"] = {"groups": len({row.group for row in found}), "reports": len(found)}
    seconds = time.monotonic() - began
    summary |= {"seconds": round(seconds, 1), "reports_per_second": round(reports / seconds, 1) if seconds else 0.0}
    dump_config(config, out / "config.yaml")
    write_json(out / "summary.json", summary)
    return summary


def _row(
    report: dict[str, str], cleaner: Cleaner, config: CleanConfig, edits: Counter[str], changed: Counter[str]
) -> dict[str, Any]:
    cleaned = cleaner.clean(report["text"])
    edits.update(cleaned.counts)
    changed.update(cleaned.counts.keys())
    text, pack = cleaned.edited.text, load_pack(report["language"])
    # the titles are still in the cleaned text; what was around the body is gone
    method = config.sentences
    starts = [start for start, _ in split_sentences(text, pack, method)] if method != "none" else []
    return {
        **{name: report[name] for name in ("report_id", "study", "patient", "language")},
        **parser_of(pack).parse(text),
        "text": text,
        "offsets": [
            {"start": p.start, "end": p.end, "safe_start": p.source_start, "safe_end": p.source_end}
            for p in cleaned.edited.pieces
        ],
        "sentences": starts,
    }


def _reports(part: Path, columns: list[str]) -> Iterator[dict[str, str]]:
    yield from pq.ParquetFile(part).read(columns=columns).to_pylist()


def _bodies(out: Path) -> Iterator[tuple[str, str]]:
    """Findings and conclusion of each cleaned report: the indication is often the same in different reports."""
    for part in sorted(out.glob("part-*.parquet")):
        for row in _reports(part, ["report_id", "results", "conclusion"]):
            yield row["report_id"], f"{row['results']}\n{row['conclusion']}"
