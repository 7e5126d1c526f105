"""``anonymize dicom``: a DICOM tree to pseudonymised instances and their index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, SecretFile, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("dicom")(dicom)


def dicom(
    source: Annotated[Path, typer.Argument(help="Folder with DICOM files, at any depth, under any name.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the safe export.")] = Path("safe"),
    config: ConfigFile = None,
    secret_file: SecretFile = None,
    fail_on_quarantine: Annotated[
        bool, typer.Option("--fail-on-quarantine", help="Exit with code 3 when files were quarantined.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pseudonymise radiographs: header by a keep-list, UIDs and dates keyed, burned-in text masked.

    The same secret gives the same pseudonyms in `anonymize reports` and `anonymize table`.
    The result is pseudonymised data. Run the same command again to go on after a stop.

    Examples:

        anonymize dicom EXPORT/dicom --out SAFE

        anonymize dicom EXPORT/dicom --out SAFE dates=remove device=remove

        anonymize dicom EXPORT/dicom --out SAFE pixels=ocr --fail-on-quarantine
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import Exit
        from anonymize.dicom.batch import run_dicom
        from anonymize.dicom.config import DicomConfig
        from anonymize.keys import load_keys, private_folder

        settings = load_config(DicomConfig, config, overrides or [])
        keys, place = load_keys(secret_file, out)
        if place is not None:
            console.note(f"secret: {place} (keep it apart from the safe export)")
        summary = run_dicom(settings, source, out, keys, console)
        if summary["doubtful"] or "burned_in_doubtful" in summary["quarantined"]:
            page = private_folder(out) / "pixel-review" / "index.html"
            console.note(f"doubtful text in pixels: look at {page}, write keep or mask into decisions.csv, run again")
        console.result(summary, next_command=f"vlp prepare {out} --out CORPUS")
        if fail_on_quarantine and summary["quarantined"]:
            raise typer.Exit(Exit.QUARANTINED)
