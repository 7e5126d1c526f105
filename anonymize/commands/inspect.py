"""``anonymize inspect``: what an export is, and a column mapping to check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("inspect")(inspect)


def inspect(
    source: Annotated[
        Path, typer.Argument(help="The export: a table, a file with messages, or a folder of documents.")
    ],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the mapping (YAML).")] = None,
    language: Annotated[str, typer.Option("--language", "-l", help="Language of the reports; default: found.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Look at an export: format, encoding, columns, what is missing; propose a mapping for `anonymize reports -c`.

    Columns are recognised by their headings, else by their values. No value is printed or written, only its form.

    Examples:

        anonymize inspect EXPORT.csv --out mapping.yaml

        anonymize inspect EXPORT.xlsx sheet=2 --json

        anonymize inspect FOLDER 'files.pattern={patient}_{accession}_{exam_date}'
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.files import write_text_atomic
        from anonymize.inspection import inspect_export, mapping_text
        from anonymize.policy import ReportsConfig

        values = [*(overrides or []), *([f"language={language}"] if language else [])]
        said = language or next((item.partition("=")[2] for item in values if item.startswith("language=")), "")
        found = inspect_export(source, load_config(ReportsConfig, None, values), said)
        if out is not None:
            write_text_atomic(out, mapping_text(found))
        for line in found.warnings:
            console.warn(line)
        if as_json:
            console.result(found.as_dict())
            return
        summary = {
            key: value for key, value in found.as_dict().items() if key not in ("columns", "warnings", "mapping")
        }
        summary["columns"] = {view.heading: f"→ {view.field or '-'}" for view in found.columns}
        command = f"anonymize reports {source} -c {out or 'mapping.yaml'} --out SAFE --dry-run"
        console.result(summary, next_command=command if out else f"anonymize inspect {source} --out mapping.yaml")
