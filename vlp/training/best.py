"""The weights with the best value of a check, kept beside the checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from anonymize.console import UserError
from anonymize.files import read_json, write_json
from vlp.encoders.weights import plain_state
from vlp.training.checkpoint import complete
from vlp.training.config import LoopConfig


@dataclass(frozen=True)
class Found:
    """``value`` of the check ``key`` at ``step``, the best so far."""

    step: int
    key: str
    value: float
    goal: str
    identity: str


class Best:
    """``checkpoints/best``: model.safetensors and state.json. With an average of the weights it is the averaged ones.

    Attributes:
        found: None before the first value.
    """

    def __init__(self, folder: Path, config: LoopConfig, identity: str, resumed: bool) -> None:
        """What was found before counts on only in a ``resumed`` run with the same ``best`` and ``best_goal``."""
        self.folder, self.config, self.identity = folder / "best", config, identity
        self.found: Found | None = None
        if resumed and (self.folder / "state.json").is_file():
            before = Found(**read_json(self.folder / "state.json"))
            if (before.key, before.goal, before.identity) == (config.best, config.best_goal, identity):
                self.found = before

    def offer(self, step: int, values: dict[str, float], model: nn.Module) -> None:
        """Keep ``model`` if ``values`` has a better one. A value that is not a number is never the best."""
        key, goal = self.config.best, self.config.best_goal
        if key is None or key not in values:
            return
        value, before = float(values[key]), self.found
        if value != value or (
            before is not None and (value <= before.value if goal == "max" else value >= before.value)
        ):
            return
        self.found = Found(step, key, value, goal, self.identity)
        partial = self.folder.with_name(".part-best")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(plain_state(model.state_dict()), partial / "model.safetensors")
        write_json(partial / "state.json", asdict(self.found))
        complete(partial, self.folder)

    def check(self, seen: set[str]) -> None:
        """Raises:
        UserError: ``best`` is none of ``seen``, the names of all values that checks have given.
        """
        if self.config.best is not None and self.config.best not in seen:
            names = ", ".join(sorted(seen)) or "none: this run has no checks (monitor=0, validation=0?)"
            raise UserError(f"best={self.config.best} is no value of a check; the values are: {names}")

    def load(self, model: nn.Module) -> None:
        """Put the best weights into ``model``."""
        model.load_state_dict(load_file(self.folder / "model.safetensors"), strict=True)

    def summary(self) -> dict[str, Any] | None:
        """Step, key, value and folder, for summary.json."""
        if self.found is None:
            return None
        found = self.found
        return {"step": found.step, "key": found.key, "value": found.value, "checkpoint": "checkpoints/best"}
