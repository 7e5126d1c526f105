"""Millions of reports: shards by patient, worker processes, resume after a kill, quarantine, audit."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from anonymize import __version__
from anonymize.audit import append_audit
from anonymize.config import dump_config
from anonymize.console import Console
from anonymize.detectors.known_identity import KnownIdentity
from anonymize.engine import Anonymizer, Outcome
from anonymize.files import append_jsonl, fingerprint, read_json, write_json, write_table
from anonymize.keys import Keys, private_folder
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.quarantine import Quarantined, write_quarantine
from anonymize.readers import open_source, origin_of
from anonymize.readers.rows import REMEDIES, RowReader, map_columns
from anonymize.report import SAFE_SCHEMA, SECTIONS, Identity, Report, SafeReport, Span
from anonymize.spool import Plan, Refused, bucket_path, by_patient, deal, read_bucket, read_names, read_plan, strangers

STAGE = "anonymize-reports"


def run_reports(config: ReportsConfig, source: Path, out: Path, keys: Keys, console: Console) -> dict[str, Any]:
    """Pseudonymise the reports of ``source`` into ``out/reports``.

    Two passes: the first refuses unusable rows and deals reports to shards by patient (real text, in the private folder
    beside ``out``, deleted at the end); the second pseudonymises shard by shard. A shard is written whole or not at
    all; after a kill the finished ones are kept. Memory is bounded by the shards in work.

    Returns:
        rows, reports (safe), patients, quarantined by reason, spans by kind, seconds, reports per second.

    Raises:
        UserError: the source cannot be read or its columns not be recognised.
    """
    began = time.monotonic()
    opened = open_source(source, config)
    pack = load_pack(config.language)
    run = fingerprint(source, _relevant(config), keys.identifier, __version__)
    state = private_folder(out) / "reports"
    _discard_other_run(state, out, run)
    plan = read_plan(state)
    if plan is None or not _complete(plan, state, out):
        console.note("reading the export and dealing its reports to shards by patient")
        plan = deal(opened, pack, state, config.shard_mb)
        write_json(state / "run.json", run)
    dump_config(config, out / "reports" / "config.yaml")
    todo = [shard for shard in range(plan.shards) if not _done(state, out, shard)]
    for _ in console.track(_work(config, keys, state, out, todo), len(todo), "reports", "shards"):
        pass
    results = [read_json(_result_path(state, shard)) for shard in range(plan.shards)]
    summary = _summarise(plan, results, time.monotonic() - began)
    _write_quarantine(out, keys, source, plan, results)
    for bucket in (*state.glob("bucket-*.jsonl"), state / "names.json"):
        bucket.unlink(missing_ok=True)
    write_json(out / "reports" / "summary.json", summary)
    counted = ("rows", "reports", "patients", "quarantined", "spans", "second_look")
    append_audit(out, "reports", keys.identifier, config, {"source": run, **{key: summary[key] for key in counted}})
    return summary


def dry_run(config: ReportsConfig, source: Path, keys: Keys, console: Console, limit: int = 500) -> dict[str, Any]:
    """What :func:`run_reports` would find in the first ``limit`` usable rows. Writes nothing."""
    opened = open_source(source, config)
    pack = load_pack(config.language)
    columns = map_columns(opened.headings, config.columns, pack)
    reader, engine = RowReader(columns, pack), Anonymizer(config, keys)
    refused: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    sections: Counter[str] = Counter()
    used = 0
    for row in opened.rows():
        report, reason = (None, row.problem) if row.problem else reader.read(row.position, row.values)
        if report is None:
            refused[reason] += 1
            continue
        outcome = engine.anonymize(report)
        kinds.update(outcome.counts)
        sections.update(name for name in SECTIONS if getattr(outcome.report, name))
        used += 1
        if used >= limit:
            break
    return {
        **opened.details,
        "columns": {field: opened.headings[index] for field, index in columns.items()},
        "columns_not_used": [name for index, name in enumerate(opened.headings) if index not in columns.values()],
        "reports_tried": used,
        "spans": dict(kinds.most_common()),
        "sections": dict(sections.most_common()),
        "would_be_quarantined": dict(refused.most_common()),
    }


# -- shards -----------------------------------------------------------------------------------------------------------

_worker: tuple[Anonymizer, Path, Path] | None = None


def _work(config: ReportsConfig, keys: Keys, state: Path, out: Path, todo: list[int]) -> Iterator[int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(config.workers or cores, len(todo))
    if workers <= 1:
        if todo:
            _start(config, keys, state, out, os.getpid(), watch=False)
        for shard in todo:
            yield _shard(shard)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers, context, _start, (config, keys, state, out, os.getpid()))
    try:
        for future in as_completed([pool.submit(_shard, shard) for shard in todo]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(config: ReportsConfig, keys: Keys, state: Path, out: Path, parent: int, watch: bool = True) -> None:
    global _worker
    names, avoid = read_names(state)
    _worker = (Anonymizer(config, keys, names, avoid), state, out)
    if watch:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Workers must not outlive a killed parent: they hold patients' names in memory."""
    while True:
        time.sleep(1)
        try:
            os.kill(parent, 0)
        except OSError:
            os._exit(1)


def _shard(shard: int) -> int:
    assert _worker is not None
    engine, state, out = _worker
    safe: list[tuple[int, SafeReport]] = []
    refused: list[Refused] = []
    counts: Counter[str] = Counter()
    residual = 0
    groups = by_patient(read_bucket(state, shard))
    kept_patients = 0
    for reports in groups.values():
        odd = strangers(reports)
        refused += [Refused(report.position, "two_patients") for report in reports if report.position in odd]
        kept = [report for report in reports if report.position not in odd]
        kept_patients += bool(kept)
        for outcome, position in _patient(engine, kept):
            safe.append((position, outcome.report))
            counts.update(outcome.counts)
            residual += outcome.residual
    safe.sort(key=lambda item: item[0])
    write_table(out / "reports" / f"part-{shard:05d}.parquet", (report for _, report in safe), SAFE_SCHEMA)
    result = {
        "reports": len(safe),
        "patients": kept_patients,
        "refused": [asdict(item) for item in refused],
        "spans": dict(counts),
        "second_look": residual,
    }
    write_json(_result_path(state, shard), result)
    return shard


def _patient(engine: Anonymizer, reports: list[Report]) -> Iterator[tuple[Outcome, int]]:
    """All reports of one patient: names found in any of them are searched in all of them."""
    if not reports:
        return
    staff = tuple(sorted({name for report in reports for name in report.identity.staff}))
    found: list[list[Span]] = [engine.by_rule(report.text) for report in reports]
    extra: set[str] = set()
    if engine.config.second_pass:
        for report, spans in zip(reports, found, strict=True):
            extra |= engine.names_in(report.text, spans)
    known_by_identity: dict[Identity, KnownIdentity] = {}
    for report, spans in zip(reports, found, strict=True):
        identity = replace(report.identity, staff=staff)
        if identity not in known_by_identity:
            known_by_identity[identity] = engine.known(identity, extra)
        yield engine.anonymize(report, known_by_identity[identity], spans), report.position


def _relevant(config: ReportsConfig) -> dict[str, Any]:
    """The part of the configuration that changes the result."""
    return config.model_dump(mode="json", exclude={"workers"})


def _discard_other_run(state: Path, out: Path, run: str) -> None:
    """Remove the shards of another source, key or configuration."""
    if state.is_dir() and (state / "run.json").is_file() and read_json(state / "run.json") == run:
        return
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700, parents=True)
    for part in (out / "reports").glob("part-*.parquet"):
        part.unlink()


def _result_path(state: Path, shard: int) -> Path:
    return state / f"shard-{shard:05d}.json"


def _done(state: Path, out: Path, shard: int) -> bool:
    return _result_path(state, shard).is_file() and (out / "reports" / f"part-{shard:05d}.parquet").is_file()


def _complete(plan: Plan, state: Path, out: Path) -> bool:
    """Whether every shard is done or can still be done; a removed output needs the first pass again."""
    return all(
        _done(state, out, shard) or (bucket_path(state, shard).is_file() and (state / "names.json").is_file())
        for shard in range(plan.shards)
    )


def _summarise(plan: Plan, results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    reasons = Counter(item.reason for item in plan.refused)
    spans: Counter[str] = Counter()
    for result in results:
        reasons.update(item["reason"] for item in result["refused"])
        spans.update(result["spans"])
    reports = sum(result["reports"] for result in results)
    if plan.rows != reports + reasons.total():
        raise RuntimeError("rows read, reports written and rows quarantined do not add up")
    return {
        "rows": plan.rows,
        "reports": reports,
        "patients": sum(result["patients"] for result in results),
        "quarantined": dict(reasons.most_common()),
        "spans": dict(spans.most_common()),
        "second_look": sum(result["second_look"] for result in results),
        "columns": plan.mapping,
        **plan.details,
        "seconds": round(seconds, 1),
        "reports_per_second": round(reports / seconds, 1) if seconds else 0.0,
    }


def _write_quarantine(out: Path, keys: Keys, source: Path, plan: Plan, results: list[dict[str, Any]]) -> None:
    refused = [*plan.refused, *(Refused(**item) for result in results for item in result["refused"])]
    refused.sort(key=lambda item: item.position)
    items = [
        Quarantined(
            STAGE,
            keys.pseudonym("quarantine", f"{source.resolve()}\0{item.position}"),
            item.position,
            item.reason,
            REMEDIES[item.reason],
        )
        for item in refused
    ]
    write_quarantine(out / "quarantine" / "reports.parquet", items)
    lookup = private_folder(out) / "quarantine-lookup-reports.jsonl"
    lookup.unlink(missing_ok=True)
    origins = [(first, name) for first, name in read_json(private_folder(out) / "reports" / "origins.json")]
    for item in items:
        place = source.resolve() / origin_of(origins, item.position) if source.is_dir() else source.resolve()
        append_jsonl(lookup, {"ref": item.ref, "source": str(place), "row": item.position})
