"""``anonymize dicom``: a DICOM tree to pseudonymised instances and their index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import (
    ConfigFile,
    EngineName,
    FinishStep,
    Json,
    Overrides,
    PlanStep,
    Quiet,
    SecretFile,
    ShardsStep,
    console_for,
    reporting,
)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("dicom")(dicom)


def dicom(
    source: Annotated[Path, typer.Argument(help="Folder with DICOM files, at any depth, under any name.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the safe export.")] = Path("safe"),
    config: ConfigFile = None,
    secret_file: SecretFile = None,
    engine: EngineName = "",
    plan: PlanStep = False,
    shards: ShardsStep = "",
    finish: FinishStep = False,
    fail_on_quarantine: Annotated[
        bool, typer.Option("--fail-on-quarantine", help="Exit with code 3 when files were quarantined.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pseudonymise radiographs: header by a keep-list or the Basic Profile, UIDs and dates keyed, burned-in text masked.

    The same secret gives the same pseudonyms in `anonymize reports` and `anonymize table`.
    The result is pseudonymised data. Run the same command again to go on after a stop.

    Examples:

        anonymize dicom EXPORT/dicom --out SAFE

        anonymize dicom EXPORT/dicom --out SAFE retain_longitudinal=none retain_device_identity=none

        anonymize dicom EXPORT/dicom --out SAFE pixels=ocr --fail-on-quarantine

        anonymize dicom EXPORT --out SAFE "objects=[images, reports, documents]" clean_structured_content=true

        anonymize dicom EXPORT/dicom --out SAFE --engine ray workers=64

    In a Slurm array (scripts/slurm-shards.sh) the three steps are commands of their own: --plan once, --shards i/n in
    each task, --finish once.
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import Exit
        from anonymize.dicom.batch import run_dicom
        from anonymize.dicom.config import DicomConfig
        from anonymize.engines import read_steps
        from anonymize.keys import load_keys, private_folder

        values = [*(overrides or []), *([f"engine={engine}"] if engine else [])]
        settings = load_config(DicomConfig, config, values)
        keys, place = load_keys(secret_file, out)
        if place is not None:
            console.note(f"secret: {place} (keep it apart from the safe export)")
        steps = read_steps(plan, shards, finish)
        summary = run_dicom(settings, source, out, keys, console, steps)
        if summary.get("doubtful") or "burned_in_doubtful" in summary.get("quarantined", {}):
            page = private_folder(out) / "pixel-review" / "index.html"
            console.note(f"doubtful text in pixels: look at {page}, write keep or mask into decisions.csv, run again")
        console.result(summary, next_command=f"vlp prepare {out} --out CORPUS" if steps.finish else None)
        if fail_on_quarantine and summary.get("quarantined"):
            raise typer.Exit(Exit.QUARANTINED)
