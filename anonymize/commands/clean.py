"""``anonymize clean``: safe reports without letterhead, signature and boilerplate, and their near-duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("clean")(clean)


def clean(
    safe: Annotated[Path, typer.Argument(help="Safe export (folder), as `anonymize reports` wrote it.")],
    overrides: Overrides = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a cleaned copy of the safe reports to SAFE/clean, and SAFE/near_duplicates.parquet.

    Steps: characters, pages, letterhead, signature, boilerplate, wraps, abbreviations (off unless asked for).

    Examples:

        anonymize clean SAFE

        anonymize clean SAFE steps.abbreviations=true sentences=eds

        anonymize clean SAFE steps.boilerplate=false near_duplicates=false --json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.cleaning.table import CleanConfig, run_clean
        from anonymize.config import load_config

        console.result(run_clean(load_config(CleanConfig, config, list(overrides or [])), safe, console))
