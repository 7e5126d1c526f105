"""What a run consists of: named stages, each a command line of ``vlp`` or ``anonymize`` with its values."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from anonymize.config import Config, ConfigError, load_config

PROGRAMS = {"vlp": "vlp.cli", "anonymize": "anonymize.cli"}


class StageConfig(Config):
    """One stage. ``{run}`` in the command stands for the run's folder.

    What a stage writes is its ``--out``; what it reads is every other path of the command. The order of work and what
    must be done again after a change follow from these.
    """

    command: str
    set: dict[str, Any] = Field(default_factory=dict)  # configuration values, passed as key=value
    processes: int = Field(default=1, ge=1)  # more than one: started by torchrun
    enabled: bool = True

    @field_validator("command")
    @classmethod
    def _known_program(cls, command: str) -> str:
        words = shlex.split(command)
        if not words or words[0] not in PROGRAMS:
            raise ValueError(f"a stage's command starts with one of {', '.join(PROGRAMS)}")
        if "--out" not in words[:-1]:
            raise ValueError("a stage's command names its output with --out")
        return command

    def arguments(self, run: Path) -> list[str]:
        """The command's words after the program, with ``{run}`` filled in and the values of ``set`` behind them."""
        words = [word.replace("{run}", str(run)) for word in shlex.split(self.command)[1:]]
        return words + [f"{key}={_one_line(value)}" for key, value in self.set.items()]

    @property
    def program(self) -> str:
        return shlex.split(self.command)[0]

    def out(self, run: Path) -> Path:
        """The folder this stage writes."""
        words = shlex.split(self.command)
        return Path(words[words.index("--out") + 1].replace("{run}", str(run)))

    def reads(self, run: Path) -> list[Path]:
        """Paths among the command's other words: those below the run's folder, and those that exist."""
        words = shlex.split(self.command)[1:]
        out = words.index("--out")
        del words[out : out + 2]
        paths = [Path(word.replace("{run}", str(run))) for word in words if not word.startswith("-")]
        return [
            p
            for word, p in zip([w for w in words if not w.startswith("-")], paths, strict=True)
            if "{run}" in word or p.exists()
        ]


class RunConfig(Config):
    """A whole run."""

    title: str = "vlp run"
    data: str = "real"  # phantom or real: what the scores are about
    variables: dict[str, str] = Field(default_factory=dict)  # {name} in a command stands for its value
    stages: dict[str, StageConfig]

    @field_validator("data")
    @classmethod
    def _phantom_or_real(cls, data: str) -> str:
        if not data.startswith(("phantom", "real")):
            raise ValueError("'data' starts with phantom or real")
        return data


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's YAML. ``STAGE.KEY=VALUE`` sets a configuration value of that stage (``pretrain.steps=100``), and
    ``variables.NAME=VALUE`` what ``{NAME}`` in the commands stands for."""
    names = list(load_config(RunConfig, path).stages)
    full: list[str] = []
    for item in overrides:
        first = item.partition("=")[0].partition(".")[0]
        if first in names:
            full.append(f"stages.{first}.set.{item[len(first) + 1 :]}")
        elif first in RunConfig.model_fields:
            full.append(item)
        else:
            near = difflib.get_close_matches(first, [*names, *RunConfig.model_fields], n=1, cutoff=0.0)[0]
            raise ConfigError(f"the command line: unknown stage or key '{first}' in '{item}'; did you mean '{near}'?")
    config = load_config(RunConfig, path, full)
    return config.model_copy(update={"stages": {n: _filled(s, config.variables) for n, s in config.stages.items()}})


def _filled(stage: StageConfig, variables: dict[str, str]) -> StageConfig:
    command = stage.command
    for name, value in variables.items():
        command = command.replace(f"{{{name}}}", shlex.quote(value))
    return stage.model_copy(update={"command": command})


def _one_line(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("...\n").strip()
