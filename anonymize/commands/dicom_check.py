"""``anonymize dicom-check``: search planted values in the bytes of a safe export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("dicom-check")(dicom_check)


def dicom_check(
    folder: Annotated[Path, typer.Argument(help="Folder of the safe export, or any folder.")],
    planted: Annotated[
        Path | None, typer.Option("--planted", help='JSON: [{"value": "...", "where": "..."}], what must not be found.')
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 is one a core.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search planted values in the BYTES of every file: any encoding, case, without accents, and inside packed parts.

    Plant values nobody else has ("ZQ0001XK") in copies of your files, at every place you can think of; run `anonymize
    dicom` on them; then this. Exit code 1 when a value is left. The values themselves are not printed.

    Examples:

        anonymize dicom-check SAFE --planted markers.json

        anonymize dicom-check SAFE --planted markers.json --json > found.json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.console import Exit, UserError
        from anonymize.dicom.planted import check, read_planted

        if planted is None:
            raise UserError("say what was planted: --planted markers.json")
        summary = check(folder, read_planted(planted), console, workers or os.cpu_count() or 1)
        console.result(summary)
        if summary["left"]:
            console.error("planted values are left: this export must not leave the hospital")
            raise typer.Exit(Exit.FAILED)
