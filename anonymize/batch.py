"""Millions of reports: shards by patient, local processes or Ray, resume after a kill, quarantine, audit."""

from __future__ import annotations

import json
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from anonymize import __version__
from anonymize.audit import append_audit
from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.engine import TOGETHER, Anonymizer, Outcome, settle
from anonymize.engines import Engine, Job, Steps, alone, run_tasks
from anonymize.files import fingerprint, open_atomic, read_json, write_json, write_table
from anonymize.keys import Keys, private_folder
from anonymize.languages import load_pack
from anonymize.policy import ReportsConfig
from anonymize.quarantine import Quarantined, write_quarantine
from anonymize.readers import open_source, origin_of
from anonymize.readers.rows import REMEDIES, RowReader, map_columns
from anonymize.report import SAFE_SCHEMA, SECTIONS, Report, Span
from anonymize.spool import Plan, Refused, Spool, by_patient, strangers
from anonymize.vault import Vault

STAGE = "anonymize-reports"
_REASONS = tuple(REMEDIES)
_TRIES = 3


def run_reports(
    config: ReportsConfig, source: Path, out: Path, keys: Keys, console: Console, steps: Steps | None = None
) -> dict[str, Any]:
    """Pseudonymise the reports of ``source`` into ``out/reports``.

    Two passes: the first refuses unusable rows and deals reports to shards by patient (sealed, in the private folder
    beside ``out``, deleted when done); the second pseudonymises shard by shard. A shard is written whole or not at
    all; after a kill the finished ones are kept. Memory is bounded by the shards in work and by the words of the
    export's name columns.

    Args:
        steps: the steps to do; all by default.

    Returns:
        rows, reports (safe), patients, quarantined by reason, spans by kind, seconds, reports per second. Of the plan alone
        ``rows, shards``, of the work alone ``shards``, each with its ``seconds``.

    Raises:
        UserError: the source cannot be read, its columns not be recognised, another run writes to ``out``, or a step is
            missing before this one.
    """
    steps = steps or Steps()
    began = time.monotonic()
    opened = open_source(source, config)
    pack = load_pack(config.language)
    run = fingerprint(source, _relevant(config), keys.identifier, __version__)
    with alone(out, "reports", shared=not steps.plan and not steps.finish):
        state = private_folder(out) / "reports"
        spool = Spool(state, keys, run, pack)
        if steps.plan:
            _discard_other_run(state, out, run)
            plan = spool.plan()
            if plan is None or not _complete(plan, spool, out, config):
                plan = spool.deal(
                    opened, config.shard_mb, lambda rows, about: console.track(rows, about, "first pass", "rows")
                )
                write_json(state / "run.json", run)
            dump_config(config, out / "reports" / "config.yaml")
        else:
            plan = _planned(spool, run)
        summary: dict[str, Any] = {"rows": plan.rows, "shards": plan.shards}
        if steps.work:
            mine = filter(steps.work.takes, range(plan.shards))
            todo = [shard for shard in mine if not _done(state, out, shard, config)]
            job = Job(ShardWorker, (config, keys, state.resolve(), out.resolve(), run), partial(_lost, config.engine))
            work = run_tasks(job, todo, config.engine, config.workers, len(todo))
            for _ in console.track(work, len(todo), "second pass", "shards"):
                pass
            summary = {"shards": len(todo)}
        if not steps.finish:
            return {**summary, "seconds": round(time.monotonic() - began, 1)}
        left = sum(not _done(state, out, shard, config) for shard in range(plan.shards))
        if left:
            raise UserError(f"{left} of {plan.shards} shards are not done; run the tasks of the array again")
        results = [read_json(_result_path(state, shard)) for shard in range(plan.shards)]
        _write_quarantine(out, keys, source, spool, results)
        spool.clear()
        summary = _summarise(plan, results, time.monotonic() - began)
        write_json(out / "reports" / "summary.json", summary)
        counted = ("rows", "reports", "patients", "quarantined", "spans", "second_look")
        append_audit(out, "reports", keys.identifier, config, {"source": run, **{key: summary[key] for key in counted}})
    return summary


def _planned(spool: Spool, run: str) -> Plan:
    """The plan that another command wrote."""
    plan = spool.plan()
    note = spool.folder / "run.json"
    if plan is None or not note.is_file() or read_json(note) != run:
        raise UserError(
            "there is no plan of this source, configuration and secret; run the same command with --plan first"
        )
    return plan


def _lost(engine: Engine, shard: int, deaths: int) -> list[int]:
    """A shard whose process died is tried again in a cluster, where machines come and go; here memory is short."""
    if engine == "ray" and deaths <= _TRIES:
        return [shard]
    raise UserError(
        "a worker process was killed, often for lack of memory; run the same command again to go on, "
        "with fewer processes (workers=1) or smaller shards (shard_mb=1, which starts anew)"
    )


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


class ShardWorker:
    """Pseudonymises shards: in this process, in a local one or in a Ray actor. Equal shards give equal bytes."""

    def __init__(self, config: ReportsConfig, keys: Keys, state: Path, out: Path, run: str) -> None:
        self.state, self.out, self.run = state, out, run
        self.spool = Spool(state, keys, run, load_pack(config.language))
        self.vault = Vault(out, keys) if config.vault else None
        names, avoid = self.spool.names()
        self.engine = Anonymizer(config, keys, names, avoid)
        settle()

    def __call__(self, shard: int) -> int:
        """Write vault, part and result of one shard, in this order; then its originals are deleted."""
        reports, refused = self.spool.read(shard)
        safe: list[tuple[str, int, Outcome]] = []
        counts: Counter[str] = Counter()
        patients = residual = 0
        for some in _together(by_patient(reports).values()):
            kept: list[list[Report]] = []
            for group in some:
                odd = strangers(group)
                refused += [Refused(report.position, "two_patients") for report in group if report.position in odd]
                kept.append([report for report in group if report.position not in odd])
            patients += sum(map(bool, kept))
            for outcome, position in pseudonymised(self.engine, kept):
                safe.append((outcome.report.report_id, position, outcome))
                counts.update(outcome.counts)
                residual += outcome.residual
        safe.sort(key=lambda item: item[:2])  # by pseudonym: the order of the export would link the rows to it
        if self.vault is not None:
            self.vault.write(shard, self.run, [outcome.replacements for _, _, outcome in safe])
        write_table(_part(self.out, shard), (outcome.report for _, _, outcome in safe), SAFE_SCHEMA)
        by_reason: dict[str, list[int]] = {}
        for item in refused:
            by_reason.setdefault(item.reason, []).append(item.position)
        result = {
            "reports": len(safe),
            "patients": patients,
            "refused": by_reason,
            "spans": dict(counts),
            "second_look": residual,
        }
        write_json(_result_path(self.state, shard), result)
        self.spool.bucket(shard).unlink(missing_ok=True)
        return shard


def _together(groups: Iterable[list[Report]]) -> Iterator[list[list[Report]]]:
    """Patients whose reports the detectors look at together."""
    some: list[list[Report]] = []
    for group in groups:
        some.append(group)
        if sum(map(len, some)) >= TOGETHER:
            yield some
            some = []
    yield some


def pseudonymised(engine: Anonymizer, groups: list[list[Report]]) -> Iterator[tuple[Outcome, int]]:
    """The reports of some patients, a group for each, with their positions."""
    found = iter(engine.by_rules([report.text for reports in groups for report in reports]))
    for reports in filter(None, groups):
        yield from _patient(engine, reports, list(islice(found, len(reports))))


def _patient(engine: Anonymizer, reports: list[Report], found: list[list[Span]]) -> Iterator[tuple[Outcome, int]]:
    """All reports of one patient: the columns of each record, and names found in any report, are searched in all."""
    extra: set[str] = set()
    if engine.config.second_pass:
        for report, spans in zip(reports, found, strict=True):
            extra |= engine.names_in(report.text, spans)
    known = engine.known(reports[0].identity, extra, [report.identity for report in reports])
    for report, spans in zip(reports, found, strict=True):
        yield engine.anonymize(report, known, spans), report.position


def _relevant(config: ReportsConfig) -> dict[str, Any]:
    """The part of the configuration that changes the result."""
    return config.model_dump(mode="json", exclude={"workers", "engine"})


def _discard_other_run(state: Path, out: Path, run: str) -> None:
    """Remove the shards of another source, key or configuration, and what a killed run was just writing."""
    vault = private_folder(out) / "vault"
    for folder in (state, vault, out / "reports", out / "quarantine", out, private_folder(out)):
        for leftover in folder.glob(".part-*"):
            leftover.unlink(missing_ok=True)
    if state.is_dir() and (state / "run.json").is_file() and read_json(state / "run.json") == run:
        return
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700, parents=True)
    for part in (*(out / "reports").glob("part-*.parquet"), *vault.glob("part-*.vault")):
        part.unlink()


def _part(out: Path, shard: int) -> Path:
    return out / "reports" / f"part-{shard:05d}.parquet"


def _result_path(state: Path, shard: int) -> Path:
    return state / f"shard-{shard:05d}.json"


def _done(state: Path, out: Path, shard: int, config: ReportsConfig) -> bool:
    sealed = private_folder(out) / "vault" / f"part-{shard:05d}.vault"
    return (
        _result_path(state, shard).is_file() and _part(out, shard).is_file() and (not config.vault or sealed.is_file())
    )


def _complete(plan: Plan, spool: Spool, out: Path, config: ReportsConfig) -> bool:
    """Whether every shard is done or can still be done; a removed output needs the first pass again."""
    return all(spool.waits(shard) or _done(spool.folder, out, shard, config) for shard in range(plan.shards))


def _summarise(plan: Plan, results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    reasons = Counter(plan.refused)
    spans: Counter[str] = Counter()
    for result in results:
        reasons.update({reason: len(positions) for reason, positions in result["refused"].items()})
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


def _write_quarantine(out: Path, keys: Keys, source: Path, spool: Spool, results: list[dict[str, Any]]) -> None:
    """Table and look-up of all refused rows in the order of the export: nine bytes a row in memory."""
    positions, reasons = array("q"), array("B")
    for item in spool.refused():
        positions.append(item.position)
        reasons.append(_REASONS.index(item.reason))
    for result in results:
        for reason, numbers in result["refused"].items():
            positions.extend(numbers)
            reasons.extend([_REASONS.index(reason)] * len(numbers))
    origins = [(first, name) for first, name in read_json(spool.folder / "origins.json")]
    where = source.resolve()

    def items() -> Iterator[Quarantined]:
        with open_atomic(private_folder(out) / "quarantine-lookup-reports.jsonl", "w", permissions=0o600) as lookup:
            for index in np.argsort(np.frombuffer(positions, np.int64), kind="stable") if positions else ():
                position, reason = int(positions[index]), _REASONS[reasons[index]]
                ref = keys.pseudonym("quarantine", f"{where}\0{position}")
                file = where / origin_of(origins, position) if source.is_dir() else where
                lookup.write(json.dumps({"ref": ref, "source": str(file), "row": position}, ensure_ascii=False) + "\n")
                yield Quarantined(STAGE, ref, position, reason, REMEDIES[reason])

    write_quarantine(out / "quarantine" / "reports.parquet", items())
