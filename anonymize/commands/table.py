"""``anonymize table``: labels by study, with the study's pseudonym instead of its number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Overrides, Quiet, SecretFile, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("table")(table)


def table(
    source: Annotated[Path, typer.Argument(help="CSV with one row per study.")],
    overrides: Overrides = None,
    study_column: Annotated[str, typer.Option("--study-column", help="Column with the accession number.")] = "",
    patient_column: Annotated[str, typer.Option("--patient-column", help="Column with the patient identifier.")] = "",
    keep: Annotated[str, typer.Option("--keep", help="Columns to keep, separated by commas; default all.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the safe export.")] = Path("safe"),
    secret_file: SecretFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Pseudonymise a table of labels: keyed study, numeric or closed-set columns, nothing else.

    A column that could identify a person (names, dates, long numbers, free text) is refused by its name.

    Examples:

        anonymize table EXPORT/labels.csv --out SAFE --study-column NUM_ACCESSION

        anonymize table labels.csv --out SAFE --study-column NUM_ACCESSION --patient-column IPP --keep fracture,kl_grade
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import UserError
        from anonymize.keys import load_keys
        from anonymize.table import TableConfig, run_table

        given = list(overrides or [])
        if not study_column and not any(item.startswith("study_column=") for item in given):
            raise UserError("name the column with the accession number: --study-column NUM_ACCESSION")
        options = {"study_column": study_column, "patient_column": patient_column}
        given = [f"{key}={value}" for key, value in options.items() if value] + given
        if keep:
            given.append(f"keep=[{', '.join(repr(name.strip()) for name in keep.split(','))}]")
        settings = load_config(TableConfig, None, given)
        keys, place = load_keys(secret_file, out)
        if place is not None:
            console.note(f"secret: {place} (keep it apart from the safe export)")
        console.result(run_table(settings, source, out, keys, console))
