"""``vlp align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config
from vlp.commands import AllowNonCommercial, with_licence


def align(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder that `vlp prepare` wrote.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")] = Path("align"),
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder", "-e", help="Model folder to start from (`vlp pretrain`); without it, random weights."
        ),
    ] = None,
    allow_non_commercial: AllowNonCommercial = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bring images and reports into one space, by contrastive learning.

    A killed run goes on from its last checkpoint when the same command is typed again, and ends with the same
    weights. All settings: docs/training.md.

    Examples:

    \b
        vlp align CORPUS --encoder PRETRAIN --out ALIGN
        vlp align CORPUS --encoder PRETRAIN --out ALIGN contrastive.loss=siglip
        vlp align CORPUS --encoder PRETRAIN --out ALIGN text.folder=/models/camembert text.max_length=512
        vlp align CORPUS --encoder ALIGN --out MORE both_towers=true contrastive.hard_negatives=8
        torchrun --nproc_per_node 2 -m vlp.cli align CORPUS --encoder PRETRAIN --out ALIGN
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.training.align import AlignConfig, run_align
        from vlp.training.distributed import rank
        from vlp.training.failures import explained_failures

        settings = load_config(AlignConfig, config, with_licence(overrides, allow_non_commercial))
        with explained_failures():
            summary = run_align(settings, corpus, out, encoder, console)
        if rank() == 0:
            console.result(summary, f"vlp evaluate {corpus} --model {out} --out EVALUATE")


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(align)
