"""What the commands print: progress with rate and time left, results, errors, in pretty, quiet or JSON form.

Results go to standard output, everything else to standard error, so that ``--json`` can be piped.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, TypeVar

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1  # the stage could not finish
    USAGE = 2  # wrong option, configuration or input path
    QUARANTINED = 3  # finished, items were quarantined, and --fail-on-quarantine was given
    INTERRUPTED = 130  # Ctrl-C or SIGTERM; run the same command again to go on


class UserError(Exception):
    """An error a user can mend. The message names the file or key and the remedy, and holds no patient text."""


class Console:
    """One command's output. ``mode`` is ``pretty``, ``quiet`` or ``json``."""

    def __init__(self, mode: str = "pretty") -> None:
        if mode not in ("pretty", "quiet", "json"):
            raise ValueError(f"mode must be pretty, quiet or json, not {mode!r}")
        self.mode = mode
        self._err = RichConsole(stderr=True, highlight=False)
        self._out = RichConsole(highlight=False)

    def note(self, text: str) -> None:
        """A line for the person watching (standard error; nothing in quiet and JSON mode)."""
        if self.mode == "pretty":
            self._err.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A warning, shown in every mode (standard error)."""
        self._err.print(f"warning: {text}", style="yellow", markup=False)

    def error(self, text: str) -> None:
        """An error, shown in every mode (standard error)."""
        self._err.print(f"error: {text}", style="red", markup=False)

    def result(self, summary: dict[str, Any], next_command: str | None = None) -> None:
        """The outcome: a table of ``summary`` or, in JSON mode, one JSON object on one line; then the next command."""
        if self.mode == "json":
            sys.stdout.write(json.dumps(summary, ensure_ascii=False, default=str) + "\n")
            return
        if self.mode == "quiet":
            return
        width = max((len(key) for key in summary), default=0)
        for key, value in summary.items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) or "none" if isinstance(value, dict) else value
            self._out.print(f"{key.replace('_', ' '):<{width}}  {shown}", markup=False)
        if next_command:
            self._out.print(f"next: {next_command}", markup=False, style="bold", soft_wrap=True)

    def track(self, items: Iterable[T], total: int | None, what: str, unit: str = "items") -> Iterator[T]:
        """Yield ``items`` under a progress bar with rate and time left.

        Without a terminal (Slurm, CI) it prints a line about every 30 seconds instead.
        """
        if self.mode != "pretty":
            yield from items
        elif self._err.is_terminal:
            with self._bar(unit) as progress:
                task = progress.add_task(what, total=total)
                for item in items:
                    yield item
                    progress.advance(task)
        else:
            yield from self._plain(items, total, what, unit)

    def _bar(self, unit: str) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._err,
        )

    def _plain(self, items: Iterable[T], total: int | None, what: str, unit: str) -> Iterator[T]:
        start = last = time.monotonic()
        done = 0
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - last >= 30:
                last = now
                rate = done / (now - start)
                left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
                self.note(f"{what}: {done}{f' of {total}' if total else ''}, {rate:.1f} {unit}/s{left}")
        self.note(f"{what}: {done} {unit} in {time.monotonic() - start:.1f} s")


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}/s" if task.speed else f"- {self._unit}/s")


def scrubbed_traceback(error: BaseException) -> str:
    """Where an error happened, without its message or any value: safe to log where text may identify a person."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    return f"{type(error).__name__} in {places}"
