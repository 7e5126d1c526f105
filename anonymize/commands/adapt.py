"""``anonymize adapt``: a tagger for this hospital, from its own export, without annotation."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Language, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("adapt")(adapt)


def adapt(
    source: Annotated[Path, typer.Argument(help="The export, as for anonymize reports.")],
    overrides: Overrides = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the model. It names staff: keep it private.")
    ] = Path("adapted.private"),
    language: Language = "",
    corrections: Annotated[
        list[Path] | None, typer.Option("--corrections", help="Gold of anonymize review. May be repeated.")
    ] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learn this hospital's letterheads, staff and ways of writing from its export. Nobody annotates.

    The record's columns label the names in its text; labelled values are exchanged before the tagger sees them. Terms
    that recur over patients (letterheads, staff, phone lists) are listed in hospital.json. The gain is measured on a tenth
    of the patients, whose columns are hidden from the detectors.

    Examples:

        anonymize adapt EXPORT.csv --language fr --out adapted.private

        anonymize reports EXPORT.csv --out SAFE ner=adapted.private
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.adapt.run import AdaptConfig, run_adapt
        from anonymize.config import load_config
        from anonymize.console import UserError

        if find_spec("torch") is None:
            raise UserError("training needs torch: pip install torch; running a trained model does not")
        values = [*(overrides or []), *([f"language={language}"] if language else [])]
        settings = load_config(AdaptConfig, config, values)
        summary = run_adapt(settings, source, out, console, corrections or [])
        console.result(summary, next_command=f"anonymize reports {source} --out SAFE ner={out}")
