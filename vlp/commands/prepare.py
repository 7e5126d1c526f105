"""``vlp prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("prepare")(prepare)


def prepare(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Safe export, or folder of images with --table.")],
    overrides: Overrides = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder of the corpus, or a location as s3://bucket/corpus.")
    ] = "corpus",
    config: ConfigFile = None,
    table: Annotated[Path | None, typer.Option("--table", help="CSV with one row per image.")] = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", help="YAML that says what its columns mean.")] = None,
    describe_labels: Annotated[
        str, typer.Option("--describe-labels", metavar="LANGUAGE", help="Write a text from the labels where none is.")
    ] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a training corpus: decode, window, pair, split by patient, shard; with a data card.

    The source is a safe export of `anonymize`, or a folder of images with a table (public data sets).
    A killed run goes on where it was when the same command is typed again.

    Examples:

    \b
        vlp prepare SAFE --out CORPUS
        vlp prepare SAFE --out CORPUS size=128 split.test=0.2 workers=8
        vlp prepare SAFE --out s3://bucket/corpus store=tar depth=16
        vlp prepare IMAGES --table images.csv --mapping mapping.yaml --out CORPUS
        vlp prepare IMAGES --table images.csv --mapping mapping.yaml \\
            --describe-labels fr --out CORPUS
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import UserError
        from vlp.corpus.adapters.images_csv import run_prepare_images
        from vlp.corpus.config import PrepareConfig
        from vlp.corpus.prepare import run_prepare
        from vlp.corpus.store import Store

        settings = load_config(PrepareConfig, config, overrides or ())
        if (table is None) != (mapping is None):
            raise UserError("--table and --mapping go together: the mapping says what the table's columns mean")
        if not source.is_dir():
            raise UserError(f"{source}: no such folder")
        if table is not None and mapping is not None:
            summary = run_prepare_images(settings, source, table, mapping, out, console, describe_labels)
        elif describe_labels:
            summary = run_prepare(settings, source, out, console, describe_labels)
        else:
            summary = run_prepare(settings, source, out, console)
        console.result({**summary, "card": Store(out).address("card.md")}, f"vlp pretrain {out}")
