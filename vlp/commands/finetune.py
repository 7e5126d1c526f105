"""``vlp finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config
from vlp.commands import AllowNonCommercial, with_licence

REPORTS = "report-generation"
EPILOG = """\
Examples:

\b
    vlp finetune fracture CORPUS --encoder ALIGN --out FRACTURE
    vlp finetune bone-age CORPUS --encoder PRETRAIN --out BONE protocol=linear
    vlp finetune osteoarthritis CORPUS --encoder PRETRAIN --out OA \\
        labels=\\[0.1,1.0] protocol=\\[linear,finetune,scratch] seeds=\\[0,1,2]
    vlp finetune report-generation CORPUS --encoder ALIGN --out REPORTS

Protocols: `linear` and `attentive` train a head on the frozen encoder,
`finetune` trains everything, `scratch` trains the same network from random
weights. A killed run goes on when the same command is given again. What each
number means and all settings: docs/tasks.md.
"""


def finetune(
    task: Annotated[str, typer.Argument(help="bone-age, osteoarthritis, fracture, effusion ..., report-generation.")],
    corpus: Annotated[Path, typer.Argument(help="Corpus folder that `vlp prepare` wrote.")],
    overrides: Overrides = None,
    encoder: Annotated[
        Path, typer.Option("--encoder", "-e", help="Model folder to start from (`vlp pretrain` or `vlp align`).")
    ] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for models, predictions and metrics.")] = ...,  # type: ignore[assignment]
    allow_non_commercial: AllowNonCommercial = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model for one task, with all or some of the labels."""
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.tasks.table import show
        from vlp.training.failures import explained_failures

        changes = with_licence(overrides, allow_non_commercial)
        if task.replace("_", "-") == REPORTS:
            from vlp.tasks.config import ReportConfig
            from vlp.tasks.report_generation import run_report_generation

            settings = load_config(ReportConfig, config, changes)
            with explained_failures():
                summary = run_report_generation(settings, corpus, encoder, out, console)
        else:
            from vlp.tasks.config import FinetuneConfig
            from vlp.tasks.finetune import run_finetune

            settings = load_config(FinetuneConfig, config, changes)
            with explained_failures():
                summary = run_finetune(settings, task, corpus, encoder, out, console)
        show(summary, console)


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command(epilog=EPILOG)(finetune)
