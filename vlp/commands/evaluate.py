"""``vlp evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config
from vlp.commands import AllowNonCommercial, with_licence

EPILOG = """\
Examples:

\b
    vlp evaluate CORPUS --model ALIGN --out EVALUATE
    vlp evaluate CORPUS --model ALIGN --model PRETRAIN --out EVALUATE
    vlp evaluate CORPUS --model ALIGN --out EVALUATE labels=\\[0.1,1.0]
    vlp evaluate CORPUS --model ALIGN --out EVALUATE tasks=\\[fracture]

What each number means and all settings: docs/tasks.md.
"""


def evaluate(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder that `vlp prepare` wrote.")],
    overrides: Overrides = None,
    model: Annotated[
        list[Path], typer.Option("--model", "-m", help="Model folder to measure; give it again for another one.")
    ] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for metrics and pictures.")] = ...,  # type: ignore[assignment]
    allow_non_commercial: AllowNonCommercial = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a model on the test split: zero-shot, retrieval, linear probes.

    Every number comes with a 95 % interval (bootstrap over patients) and its n.
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.tasks.config import EvaluateConfig
        from vlp.tasks.evaluate import run_evaluate
        from vlp.tasks.table import show
        from vlp.training.failures import explained_failures

        settings = load_config(EvaluateConfig, config, with_licence(overrides, allow_non_commercial))
        with explained_failures():
            summary = run_evaluate(settings, corpus, model, out, console)
        show(summary, console)


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command(epilog=EPILOG)(evaluate)
