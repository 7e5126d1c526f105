"""Runs the stages in order, skips what is done for the same inputs, goes on after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymize import __version__
from anonymize.config import dump_config
from anonymize.console import Console, UserError
from anonymize.files import append_jsonl, fingerprint, write_json
from vlp.evaluation.results import Stage
from vlp.pipeline.config import PROGRAMS, RunConfig, StageConfig
from vlp.pipeline.process import kill_leftovers, supervise

LEDGER = "stages.jsonl"
HEARTBEAT = ".heartbeat.json"


class StageFailed(UserError):
    """A stage's command ended with an error."""


@dataclass(frozen=True)
class Planned:
    """One stage and what will happen to it."""

    name: str
    stage: StageConfig
    fingerprint: str
    action: str  # skip, run, continue
    reason: str


class Ledger:
    """What was started, interrupted and finished in a run's folder: one JSON object a line, appended."""

    def __init__(self, run: Path) -> None:
        self.path = run / LEDGER
        self.heartbeat = run / HEARTBEAT
        self.rows: list[dict[str, Any]] = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                # the last line can be cut short by a kill
                with contextlib.suppress(json.JSONDecodeError):
                    self.rows.append(json.loads(line))

    def add(self, **row: Any) -> None:
        append_jsonl(self.path, row)
        self.rows.append(row)

    def last(self, stage: str) -> dict[str, Any] | None:
        """The latest row of a stage."""
        return next((row for row in reversed(self.rows) if row["stage"] == stage), None)

    def close_interrupted(self) -> None:
        """Account for a stage that a kill cut off: the heartbeat file tells how long it had run."""
        if self.heartbeat.is_file():
            with contextlib.suppress(json.JSONDecodeError):
                beat = json.loads(self.heartbeat.read_text(encoding="utf-8"))
                self.add(**{**beat, "event": "interrupted"})
            self.heartbeat.unlink()

    def cost(self, stage: str, mark: str) -> Stage:
        """Seconds over all attempts with this fingerprint, and the largest peak memory of one."""
        rows = [r for r in self.rows if r["stage"] == stage and r["fingerprint"] == mark and r["event"] != "started"]
        seconds = sum(r["seconds"] for r in rows)
        return Stage(stage, round(seconds, 1), round(max((r["peak_memory_mb"] for r in rows), default=0.0), 1))


def plan(config: RunConfig, run: Path, ledger: Ledger, start_at: str | None = None) -> list[Planned]:
    """What will happen to each stage, in order.

    A stage is skipped when its last row says it finished with the same fingerprint and its output is there; it
    continues when it was started with the same fingerprint; otherwise it runs.
    """
    active = {name: stage for name, stage in config.stages.items() if stage.enabled}
    if start_at is not None and start_at not in active:
        raise UserError(f"--from {start_at}: no such stage; there are: {', '.join(active)}")
    planned: list[Planned] = []
    forced = False
    for name, stage in active.items():
        forced = forced or name == start_at
        sources = [p for p in planned if any(_overlap(read, p.stage.out(run)) for read in stage.reads(run))]
        outside = [read for read in stage.reads(run) if not any(_overlap(read, s.out(run)) for s in active.values())]
        mark = fingerprint(
            __version__,
            stage.command,
            stage.set,
            stage.processes,
            [p.fingerprint for p in sources],
            [_stamp(p) for p in outside],
        )
        last = ledger.last(name)
        upstream = next((p.name for p in sources if p.action != "skip"), None)
        if forced:
            action, reason = "run", f"asked for by --from {start_at}"
        elif last is None:
            action, reason = "run", "not run yet"
        elif last["fingerprint"] != mark:
            action, reason = "run", "its command, values or inputs changed"
        elif upstream:
            action, reason = "run", f"reads what {upstream} writes anew"
        elif not stage.out(run).exists():
            action, reason = "run", "its output is gone"
        elif last["event"] == "finished":
            action, reason = "skip", "done for the same inputs"
        else:
            action, reason = "continue", "was interrupted"
        planned.append(Planned(name, stage, mark, action, reason))
    return planned


def run_stages(config: RunConfig, run: Path, console: Console, start_at: str | None = None) -> list[Stage]:
    """Carry out the plan; returns the cost of every stage.

    Raises:
        StageFailed: a stage's command ended with an error; stages before it stay done.
    """
    run.mkdir(parents=True, exist_ok=True)
    with _only_one(run, console):
        kill_leftovers(run)
        ledger = Ledger(run)
        ledger.close_interrupted()
        dump_config(config, run / "config.yaml")
        stages = plan(config, run, ledger, start_at)
        for number, planned in enumerate(stages, 1):
            if planned.action == "skip":
                console.note(f"[{number}/{len(stages)}] {planned.name}: {planned.reason}")
                continue
            if planned.action == "run":
                _clear(planned, stages, run)
            console.note(f"[{number}/{len(stages)}] {planned.name}: {command_line(planned.stage, run)}")
            _run_stage(planned, run, ledger, console)
        return [ledger.cost(p.name, p.fingerprint) for p in stages]


def command_line(stage: StageConfig, run: Path) -> str:
    """The stage as a person would type it."""
    words = [stage.program, *stage.arguments(run)]
    if stage.processes > 1:
        words = [
            "torchrun",
            "--standalone",
            f"--nproc_per_node={stage.processes}",
            "-m",
            PROGRAMS[stage.program],
            *words[1:],
        ]
    return shlex.join(words)


def _run_stage(planned: Planned, run: Path, ledger: Ledger, console: Console) -> None:
    stage = planned.stage
    row = {"stage": planned.name, "fingerprint": planned.fingerprint}
    ledger.add(**row, event="started", seconds=0.0, peak_memory_mb=0.0)
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={stage.processes}"]
        if stage.processes > 1
        else []
    )
    argv = [sys.executable, *launcher, "-m", PROGRAMS[stage.program], *stage.arguments(run)]
    if console.mode != "pretty":
        argv.append("--quiet")
    share = str(max(1, (os.cpu_count() or 1) // stage.processes))
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)}

    def beat(seconds: float, peak: float) -> None:
        write_json(ledger.heartbeat, {**row, "seconds": seconds, "peak_memory_mb": peak})

    outcome = supervise(argv, run, beat, threads)
    event = "finished" if outcome.code == 0 else "failed"
    ledger.add(**row, event=event, seconds=outcome.seconds, peak_memory_mb=outcome.peak_memory_mb)
    ledger.heartbeat.unlink(missing_ok=True)
    if outcome.code != 0:
        raise StageFailed(
            f"stage '{planned.name}' ended with exit code {outcome.code}; mend it and run the same command again"
        )


def _clear(planned: Planned, stages: list[Planned], run: Path) -> None:
    """Remove a stale output below the run's folder; where another stage writes too, each clears its own part."""
    out = planned.stage.out(run)
    shared = any(p.name != planned.name and p.stage.out(run) == out for p in stages)
    if out.exists() and out.resolve().is_relative_to(run.resolve()) and not shared:
        shutil.rmtree(out)


def _overlap(read: Path, out: Path) -> bool:
    return read == out or out in read.parents


def _stamp(path: Path) -> Any:
    """What identifies an input outside the run: a file's content, a folder's names, sizes and times."""
    if path.is_file():
        return fingerprint(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


@contextlib.contextmanager
def _only_one(run: Path, console: Console) -> Iterator[None]:
    """Hold the run's lock; it is the kernel's, so a killed run leaves none behind."""
    with (run / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.note(f"another run is at work in {run}; waiting for it to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def describe(planned: Planned, run: Path) -> dict[str, Any]:
    """One line of ``--dry-run``."""
    return {
        **{key: value for key, value in asdict(planned).items() if key in ("name", "action", "reason")},
        "command": command_line(planned.stage, run),
    }
