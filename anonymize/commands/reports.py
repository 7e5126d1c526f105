"""``anonymize reports``: an export of reports to pseudonymised reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import (
    ConfigFile,
    EngineName,
    FinishStep,
    Json,
    Language,
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
    app.command("reports")(reports)


def reports(
    source: Annotated[
        Path, typer.Argument(help="A table, messages, or a folder of documents (docs/report-formats.md).")
    ],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the safe export.")] = Path("safe"),
    language: Language = "",
    config: ConfigFile = None,
    secret_file: SecretFile = None,
    engine: EngineName = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be found; write nothing.")] = False,
    plan: PlanStep = False,
    shards: ShardsStep = "",
    finish: FinishStep = False,
    fail_on_quarantine: Annotated[
        bool, typer.Option("--fail-on-quarantine", help="Exit with code 3 when rows were quarantined.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pseudonymise reports: names, dates, places and numbers give way to made-up ones, the same within a patient.

    The record's own columns (name, birth date, address, numbers) are searched in the text in any spelling. Columns are
    recognised by their headings. The result is pseudonymised data. Run the same command again to go on after a stop.
    The originals of all replacements are kept encrypted in the private folder (vault=false to keep none).

    Examples:

        anonymize reports EXPORT.csv --out SAFE --language fr --dry-run

        anonymize reports EXPORT.csv --out SAFE --language fr

        anonymize reports EXPORT.csv --out SAFE columns.text=TEXTE policy.phone=tag

        anonymize reports EXPORT.parquet --out SAFE --engine ray workers=64

    In a Slurm array (scripts/slurm-shards.sh) the three steps are commands of their own: --plan once, --shards i/n in
    each task, --finish once.
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        import os

        from anonymize import batch
        from anonymize.config import load_config
        from anonymize.console import Exit
        from anonymize.engines import read_steps
        from anonymize.keys import Keys, load_keys
        from anonymize.policy import ReportsConfig

        values = [*(overrides or []), *([f"language={language}"] if language else [])]
        values += [f"engine={engine}"] if engine else []
        settings = load_config(ReportsConfig, config, values)
        if dry_run:
            console.result(batch.dry_run(settings, source, Keys(os.urandom(32)), console))
            return
        keys, place = load_keys(secret_file, out)
        if place is not None:
            console.note(f"secret: {place} (keep it apart from the safe export)")
        steps = read_steps(plan, shards, finish)
        summary = batch.run_reports(settings, source, out, keys, console, steps)
        console.result(summary, next_command=f"anonymize dicom DICOM_FOLDER --out {out}" if steps.finish else None)
        if fail_on_quarantine and summary.get("quarantined"):
            raise typer.Exit(Exit.QUARANTINED)
