"""``vlp pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config
from vlp.commands import AllowNonCommercial, with_licence


def pretrain(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder that `vlp prepare` wrote.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")] = Path("pretrain"),
    allow_non_commercial: AllowNonCommercial = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train an image encoder by self-supervision: no label and no report is read.

    A killed run goes on from its last checkpoint when the same command is typed again, and ends with the same
    weights. All settings: docs/training.md.

    Examples:

    \b
        vlp pretrain CORPUS --out PRETRAIN
        vlp pretrain CORPUS --out PRETRAIN objective=dino steps=2000
        vlp pretrain CORPUS --out PRETRAIN --config configs/pretrain.yaml
        torchrun --nproc_per_node 2 -m vlp.cli pretrain CORPUS --out PRETRAIN
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.training.distributed import rank
        from vlp.training.failures import explained_failures
        from vlp.training.pretrain import PretrainConfig, run_pretrain

        settings = load_config(PretrainConfig, config, with_licence(overrides, allow_non_commercial))
        with explained_failures():
            summary = run_pretrain(settings, corpus, out, console)
        if rank() == 0:
            console.result(summary, f"vlp align {corpus} --encoder {out} --out ALIGN")


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(pretrain)
