"""``vlp phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("phantom")(phantom)


def phantom(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the hospital.")] = Path("hospital"),
    config: ConfigFile = None,
    patients: Annotated[int | None, typer.Option("--patients", "-n", min=1, help="How many; 300 if not given.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Another seed is another hospital.")] = None,
    language: Annotated[str | None, typer.Option("--language", "-l", help="fr, es, de or en.")] = None,
    level: Annotated[str | None, typer.Option("--level", help="easy (learns in minutes) or hard.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be made; write nothing.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a synthetic hospital: DICOM radiographs, reports with fake identities, and truth.

    Patients, names and films are made up; scores on them say nothing clinical.
    A seed gives the same bytes on any number of cores.
    A killed run goes on where it was when the same command is typed again.

    Examples:

    \b
        vlp phantom --out HOSPITAL --patients 300
        vlp phantom --out HOSPITAL -n 2000 --level hard encoding=cp1252
        vlp phantom --out HOSPITAL faults=true shares.chest=1 shares.knee=0
        vlp phantom planted_shortcut.label=fracture planted_gap.group=sex
        vlp phantom --patients 100000 --dry-run
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from vlp.phantom.config import PhantomConfig
        from vlp.phantom.export import count_phantom, run_phantom

        given = {"patients": patients, "seed": seed, "language": language, "level": level}
        given_values = [f"{name}={value}" for name, value in given.items() if value is not None]
        settings = load_config(PhantomConfig, config, [*given_values, *(overrides or ())])
        if dry_run:
            console.result(count_phantom(settings))
            return
        summary = run_phantom(settings, out, console)
        reports = out / "export" / "reports.csv"
        options = f"--out SAFE --language {settings.language} --secret-file {out / 'secret.key'}"
        console.result(summary, f"anonymize reports {reports} {options}")
