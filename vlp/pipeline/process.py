"""One stage as a child process: dies with its parent, measured while it runs, leftovers of a killed run removed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RUN_VARIABLE = "VLP_RUN_FOLDER"
_SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a child ended."""

    code: int
    seconds: float
    peak_memory_mb: float  # largest sum over the stage's processes of their proportional set size


def supervise(argv: list[str], run: Path, beat: Callable[[float, float], None], extra: dict[str, str]) -> Outcome:
    """Run ``argv`` to its end and measure it; call ``beat(seconds, peak_memory_mb)`` about every second.

    SIGINT and SIGTERM are handed to the child as SIGTERM; then KeyboardInterrupt is raised.
    """
    start = time.monotonic()
    peak = 0.0
    environment = {**os.environ, **extra, RUN_VARIABLE: str(run.resolve())}
    child = subprocess.Popen(argv, env=environment, start_new_session=True, preexec_fn=_die_with_parent)
    former = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_SAMPLE_SECONDS)
            peak = max(peak, _memory_mb(child.pid))
            beat(time.monotonic() - start, peak)
            if child.returncode is not None:
                break
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        beat(time.monotonic() - start, peak)
        raise
    finally:
        signal.signal(signal.SIGTERM, former)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return Outcome(child.returncode, time.monotonic() - start, peak)


def kill_leftovers(run: Path) -> int:
    """Kill processes that a killed run in this folder left behind (Linux); how many there were."""
    wanted = f"{RUN_VARIABLE}={run.resolve()}".encode()
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    return killed


def _die_with_parent() -> None:
    """prctl(PR_SET_PDEATHSIG, SIGKILL): a stage does not outlive a runner that was killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def _memory_mb(session: int) -> float:
    """Sum of the proportional set size of the processes of a session, in MB; 0 where /proc does not tell."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024
