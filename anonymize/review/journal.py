"""What a person decided, kept line by line in the private folder: offsets and kinds, never text.

Each line is written with one system call and synchronised; a line cut off by a crash is dropped at the next start. The
state of a report is the replay of its lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anonymize.console import UserError
from anonymize.report import KINDS, Span

RULE = "review"
ACTIONS = ("edit", "accept", "reopen", "undo")


@dataclass(frozen=True)
class Decision:
    """The spans of a report as a person left them."""

    spans: tuple[Span, ...]
    accepted: bool


@dataclass
class History:
    """Decisions on one report, oldest first; ``version`` counts the lines of the journal."""

    decisions: list[Decision] = field(default_factory=list)
    version: int = 0


class EditError(ValueError):
    """A correction that does not fit the report. Holds no text."""


class Journal:
    """The journal of one safe export. One process writes to it at a time.

    Raises:
        UserError: another review page has it open, or the file is not a journal.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.path = folder / "journal.jsonl"
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._lock()
            os.fchmod(self._file, 0o600)
            self.histories: dict[str, History] = {}
            self._replay()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._file)

    def history(self, report_id: str) -> History:
        """All decisions on a report; empty where there are none."""
        return self.histories.get(report_id) or History()

    def decision(self, report_id: str) -> Decision | None:
        """The last decision on a report."""
        decisions = self.history(report_id).decisions
        return decisions[-1] if decisions else None

    def record(self, report_id: str, action: str, spans: Iterable[Span] = ()) -> None:
        """Write one line to the disk, then change the state."""
        row: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "report": report_id,
            "action": action,
        }
        if action in ("edit", "accept", "reopen"):
            row["spans"] = [asdict(span) for span in spans]
        line = (json.dumps(row, ensure_ascii=True) + "\n").encode()
        if os.write(self._file, line) != len(line):
            raise OSError("the journal could not be written; is the disk full?")
        os.fsync(self._file)
        self._apply(row)

    def _apply(self, row: dict[str, Any]) -> None:
        history = self.histories.setdefault(row["report"], History())
        history.version += 1
        if row["action"] == "undo":
            if history.decisions:
                history.decisions.pop()
            return
        spans = tuple(Span(**span) for span in row["spans"])
        history.decisions.append(Decision(spans, row["action"] == "accept"))

    def _replay(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._file, whole)
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                if row["action"] not in ACTIONS:
                    raise ValueError
                self._apply(row)
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self.path}, line {number}: is no line of a review; mend or remove it") from None

    def _lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self.path}: another review page has it open; stop that one first") from None
        except (ImportError, OSError):  # no such lock on this system or file system
            pass


def with_span(text: str, spans: Sequence[Span], start: int, end: int, kind: str) -> list[Span]:
    """``spans`` with ``text[start:end]`` as ``kind``; what it overlaps is cut, and kept where letters or digits remain.

    Blanks and commas at both ends are left out.

    Raises:
        EditError: the range holds no letter or digit or lies outside of the text, or the kind is unknown.
    """
    if kind not in KINDS:
        raise EditError("no such kind")
    new = _trimmed(text, Span(start, end, kind, 1.0, RULE)) if 0 <= start < end <= len(text) else None
    if new is None:
        raise EditError("the selection holds no letter or digit")
    kept: list[Span] = []
    for span in spans:
        if span.end <= new.start or span.start >= new.end:
            kept.append(span)
            continue
        for low, high in ((span.start, new.start), (new.end, span.end)):
            part = _trimmed(text, Span(low, high, span.kind, span.score, span.rule)) if low < high else None
            if part:
                kept.append(part)
    return sorted([*kept, new], key=lambda span: span.start)


def without_span(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """``spans`` without the one at exactly ``start`` to ``end``.

    Raises:
        EditError: there is none.
    """
    left = [span for span in spans if (span.start, span.end) != (start, end)]
    if len(left) == len(spans):
        raise EditError("no such span")
    return left


def _trimmed(text: str, span: Span) -> Span | None:
    start, end = span.start, span.end
    while start < end and (text[start].isspace() or text[start] in ",;:"):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in ",;:"):
        end -= 1
    if not any(char.isalnum() for char in text[start:end]):
        return None
    return Span(start, end, span.kind, span.score, span.rule)
