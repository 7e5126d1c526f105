"""The training log: one JSON object a line, TensorBoard, and trackers if asked. Numbers only; written by rank 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anonymize.files import append_jsonl, write_text_atomic


class TrainingLog:
    """``log.jsonl`` and ``tensorboard/`` in ``out``; lines after ``start`` (a former run's, past its checkpoint) are cut."""

    def __init__(
        self,
        out: Path,
        start: int,
        tensorboard: bool,
        active: bool = True,
        trackers: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
    ) -> None:
        """``settings`` go to the ``trackers`` (:mod:`vlp.training.trackers`) beside the numbers.

        Raises:
            UserError: a tracker that is not installed.
        """
        self.path = out / "log.jsonl"
        self._active = active
        self._board: Any = None
        self._trackers: list[Any] = []
        if not active:
            return
        rows = [row for row in read_log(self.path) if row["step"] <= start]
        write_text_atomic(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        if trackers:
            from vlp.training.trackers import start_trackers

            self._trackers = start_trackers(trackers, out, settings or {})

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line: ``step`` (updates done) and ``values``."""
        if not self._active:
            return
        append_jsonl(self.path, {"step": step, **{key: float(f"{value:.7g}") for key, value in values.items()}})
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)
        for tracker in self._trackers:
            tracker.log(values, step=step)

    def close(self) -> None:
        """Flush TensorBoard and the trackers."""
        for tracker in self._trackers:
            tracker.finish()
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``log.jsonl``; a line that a kill cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
