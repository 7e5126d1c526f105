"""A tree of files to a safe export: all cores, shard by shard, resumable, nothing lost and nothing named.

A shard is ``shard_size`` files in sorted order. It is finished when its table and its progress file are in the private
folder; a run that was killed does the others. The steps (plan, work, finish) can be commands of their own: tasks of an
array then share the work, and the output is that of one run.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anonymize import __version__
from anonymize.audit import append_audit
from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.dicom import merge, pixel_review
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.instance import quiet
from anonymize.dicom.listing import Plan, read_plan, write_plan
from anonymize.dicom.mapping import write_mappings
from anonymize.dicom.regions import templates
from anonymize.dicom.stores import DOCUMENTS, RECORDS, STORES, Store, store_of
from anonymize.dicom.words import vocabulary
from anonymize.dicom.work import Cleaner, Outcome, Task, again, crashed
from anonymize.engines import Job, Steps, alone, cores, run_tasks
from anonymize.files import fingerprint, open_atomic, read_json, write_json, write_table
from anonymize.keys import Keys, private_folder

_TASK = 16
"""Files that a worker gets at once, at most."""


def run_dicom(
    config: DicomConfig, source: Path, out: Path, keys: Keys, console: Console, steps: Steps | None = None
) -> dict[str, Any]:
    """Pseudonymise every DICOM file below ``source`` into ``out`` (formats: docs/architecture.md).

    Args:
        steps: the steps to do; all by default.

    Returns:
        ``files_in, ignored, written, documents, masked, doubtful, quarantined {reason: n}, seconds,
        images_per_second_core``; files_in = written + the quarantined, and ``documents`` of the written are reports and
        PDFs. Of the plan alone ``files_in, ignored, shards``, of the work alone ``shards, files``.

    Raises:
        UserError: the source is missing, one folder lies inside the other, another run writes there, or a step is
            missing before this one.
    """
    steps = steps or Steps()
    _check(source, out)
    vocabulary(tuple(config.languages))  # a missing pack is an error of the command, not of every file
    if config.pixels == "ocr":
        from anonymize.dicom.ocr import engine

        engine()
    templates(config.regions)
    quiet()
    started = time.monotonic()
    run = _Run(config, source, out, keys)
    with alone(out, "dicom", shared=not steps.plan and not steps.finish):
        plan = run.plan() if steps.plan else run.planned()
        summary: dict[str, Any] = {"files_in": plan.files, "ignored": plan.ignored, "shards": plan.shards}
        fresh = 0
        if steps.work:
            todo = [shard for shard in range(plan.shards) if steps.work.takes(shard)]
            fresh = run.work(plan, todo, console)
            summary = {"shards": len(todo), "files": fresh}
        seconds = time.monotonic() - started
        if steps.finish:
            summary = run.finish(plan, console)
            seconds = time.monotonic() - started
            summary["seconds"] = round(seconds, 2)
            summary["images_per_second_core"] = (
                round(fresh / seconds / (config.workers or cores()), 2) if fresh else None
            )
            dump_config(config, out / "dicom" / "config.yaml")
            write_json(out / "dicom" / "summary.json", summary)
            counts = {
                key: summary[key]
                for key in ("files_in", "ignored", "written", "documents", "masked", "doubtful", "quarantined")
            }
            append_audit(out, "dicom", keys.identifier, config, counts)
    return summary if steps.finish else {**summary, "seconds": round(seconds, 2)}


def _check(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; give the folder that holds the DICOM files")
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise UserError(f"--out {out} and the source {source} lie one inside the other; choose another output folder")


class _Run:
    """The steps of one run, and where its shards are."""

    def __init__(self, config: DicomConfig, source: Path, out: Path, keys: Keys) -> None:
        self.config, self.source, self.out, self.keys = config, source.resolve(), out.resolve(), keys
        self.progress = private_folder(out) / "dicom-progress"
        settings = config.model_dump(mode="json", exclude={"workers", "engine"})
        own = [Path(config.regions)] if config.regions else []  # what the user's templates hold decides what is filled
        self.fingerprint = fingerprint(settings, keys.identifier, __version__, *own)
        self.decisions = pixel_review.read_decisions(out)

    def plan(self) -> Plan:
        """List the source, and forget the shards that it or the configuration changed."""
        plan = write_plan(self.source, self.progress / "plan.parquet", self.fingerprint, self.config.shard_size)
        kept, stale = [], []
        for state in self.progress.glob("shard-*.json"):
            shard = int(state.stem.split("-")[1])
            (kept if shard < plan.shards and self._is_done(plan, shard) else stale).append(shard)
        while stale:
            lost = np.concatenate([self._keys(shard) for shard in stale])
            for shard in stale:
                self._state(shard).unlink(missing_ok=True)
                for store in (*STORES, RECORDS):
                    self._table(shard, store).unlink(missing_ok=True)
            # a duplicate of what is forgotten may have been overwritten by it
            stale = [shard for shard in kept if np.isin(self._keys(shard), lost).any()]
            kept = [shard for shard in kept if shard not in set(stale)]
        return plan

    def planned(self) -> Plan:
        """The plan that another command wrote."""
        plan = read_plan(self.progress / "plan.parquet")
        if plan.run != self.fingerprint:
            raise UserError("the plan is of another configuration, secret or version; run --plan with this one first")
        return plan

    def work(self, plan: Plan, shards: Sequence[int], console: Console) -> int:
        """Do the shards that are not done; how many files that were."""
        total = sum(map(plan.count, shards))
        return sum(console.track(self._worked(plan, shards), total, "DICOM files", "files"))

    def finish(self, plan: Plan, console: Console) -> dict[str, Any]:
        """Merge the shards: index, quarantine, mappings, counts."""
        missing = [shard for shard in range(plan.shards) if not self._is_done(plan, shard)]
        if missing:
            shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
            raise UserError(
                f"{len(missing)} of {plan.shards} shards are not done ({shown}, from 0); run the tasks of the array "
                "again, they do only what is left; if the source changed meanwhile, begin with --plan"
            )

        def name_of(position: int) -> str:
            shard = plan.shard_of(position)
            return plan.shard(shard)[position - plan.first(shard)].name

        def remake(positions: Sequence[int]) -> None:
            tasks = [Task(position, (name_of(position),)) for position in positions]
            for _ in run_tasks(self._job(), tasks, "local", self.config.workers, len(tasks)):
                pass

        console.note(f"merging {plan.shards} shards")
        written, documents, losers = 0, 0, []
        seen: Counter[str] = Counter()
        for store in STORES:
            tables = [self._table(shard, store) for shard in range(plan.shards)]
            lost = merge.losers(store, tables, self.out / store.folder, remake)
            counts = merge.write_index(store, tables, self.out / store.folder / "index", lost)
            merge.sweep(store, tables, self.out / store.folder, lost)
            written += counts.total()
            documents += counts.total() if store is DOCUMENTS else 0
            seen += counts
            losers.append(lost)
        refused = (row for shard in range(plan.shards) for row in read_json(self._state(shard))["refused"])
        lost = np.sort(np.concatenate(losers))
        records = [self._table(shard, RECORDS) for shard in range(plan.shards)]
        merge.write_index(RECORDS, records, self.out / RECORDS.folder, lost)
        pixel_review.assemble(self.out, records, self.decisions, lost)
        reasons = merge.write_refusals(refused, self.out, self.keys, lost, name_of)
        if self.config.mappings:
            states = (read_json(self._state(shard)) for shard in range(plan.shards))
            write_mappings(private_folder(self.out), (tuple(pair) for state in states for pair in state["pairs"]))
        if written + reasons.total() != plan.files:
            raise UserError("the source folder changed while it was read; run the same command again")
        return {
            "files_in": plan.files,
            "ignored": plan.ignored,
            "written": written,
            "documents": documents,
            "masked": seen["masked"],
            "doubtful": seen["doubtful"],
            "quarantined": dict(reasons.most_common()),
        }

    def _worked(self, plan: Plan, shards: Sequence[int]) -> Iterator[bool]:
        """One value for each file: whether it was done now."""
        todo: list[int] = []
        for shard in shards:
            if self._is_done(plan, shard):
                yield from (False for _ in range(plan.count(shard)))
            else:
                todo.append(shard)
        order = self.keys.random("order of work", "")  # times of files must not tell the order of the source's names
        order.shuffle(todo)
        size = max(1, min(_TASK, plan.files // (4 * (self.config.workers or cores()))))
        names: dict[int, list[str]] = {}  # of the shards in work
        marks: dict[int, str] = {}
        outcomes: dict[int, list[Outcome]] = {}

        def tasks() -> Iterator[Task]:
            for shard in todo:
                files = plan.shard(shard)
                names[shard], marks[shard] = [file.name for file in files], plan.mark(files)
                outcomes[shard] = []
                for start in order.sample(range(0, len(files), size), -(-len(files) // size)):
                    yield Task(plan.first(shard) + start, tuple(names[shard][start : start + size]))

        at_most = sum(-(-plan.count(shard) // size) for shard in todo)
        for task, found in run_tasks(self._job(), tasks(), self.config.engine, self.config.workers, at_most):
            shard = plan.shard_of(task.first)
            outcomes[shard] += crashed(task) if found is None else found
            if len(outcomes[shard]) == len(names[shard]):
                self._write(plan, shard, names.pop(shard), marks.pop(shard), outcomes.pop(shard))
            yield from (True for _ in task.names)

    def _write(self, plan: Plan, shard: int, names: list[str], mark: str, outcomes: list[Outcome]) -> None:
        """Tables and, last, state of a shard."""
        outcomes.sort(key=lambda outcome: outcome.position)
        for store in STORES:
            found = [(o.row, o) for o in outcomes if o.row is not None and store_of(o.row) is store]
            rows = [{**asdict(row), "position": o.position, "digest": o.digest} for row, o in found]
            write_table(self._table(shard, store), rows, store.table)
        judged = [(o.judged, o.position) for o in outcomes if o.judged is not None]
        pixel_review.write_crops(self.out, (one for one, _ in judged))
        found_in = [{**asdict(one.record), "position": position, "digest": ""} for one, position in judged]
        write_table(self._table(shard, RECORDS), found_in, RECORDS.table)
        first = plan.first(shard)
        refused = [
            {"position": o.position, "reason": o.reason, "name": names[o.position - first]}
            for o in outcomes
            if o.row is None
        ]
        with open_atomic(self._state(shard), "w", permissions=0o600) as stream:
            pairs = [pair for outcome in outcomes for pair in outcome.pairs]
            json.dump({"fingerprint": mark, "refused": refused, "pairs": pairs}, stream)

    def _is_done(self, plan: Plan, shard: int) -> bool:
        tables = (self._table(shard, store) for store in (*STORES, RECORDS))
        if not all(path.is_file() for path in (self._state(shard), *tables)):
            return False
        if not pixel_review.settled(self._table(shard, RECORDS), self.decisions):
            return False
        return read_json(self._state(shard))["fingerprint"] == plan.mark(plan.shard(shard))

    def _job(self) -> Job[Task, list[Outcome]]:
        return Job(Cleaner, (self.config, self.source, self.out, self.keys), again, isolate=True)

    def _keys(self, shard: int) -> npt.NDArray[np.uint64]:
        tables = [(store, self._table(shard, store)) for store in STORES]
        return np.concatenate([merge.keys_of(store, [table] if table.is_file() else []) for store, table in tables])

    def _table(self, shard: int, store: Store) -> Path:
        return self.progress / f"shard-{shard:05d}-{store.name}.parquet"

    def _state(self, shard: int) -> Path:
        return self.progress / f"shard-{shard:05d}.json"
