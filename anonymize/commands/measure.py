"""``anonymize measure``: how much would leak, scored against gold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("measure")(measure)


def measure(
    gold: Annotated[
        Path, typer.Argument(help="JSON Lines with text and spans (start, end, label); offsets in characters.")
    ],
    overrides: Overrides = None,
    language: Annotated[str, typer.Option("--language", "-l", help="Language of the reports: fr, de, en, es.")] = "",
    without_identity: Annotated[
        bool, typer.Option("--without-identity", help="Do not use meta.known_patient: rules alone.")
    ] = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score the detectors on annotated reports, with 95 % intervals over documents.

    redact_recall: share of identifying words hidden. redact_full: share of documents with every one hidden.
    leak_rate: share of identifying spans wholly visible. false_positives_per_1000: other words hidden, per 1,000.

    Examples:

        anonymize measure GOLD.jsonl --language fr

        anonymize measure GOLD.jsonl --language fr --without-identity --json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        import os

        from anonymize.config import load_config
        from anonymize.console import UserError
        from anonymize.engine import Anonymizer
        from anonymize.keys import Keys
        from anonymize.measure import measure as score_all
        from anonymize.measure import read_gold
        from anonymize.policy import ReportsConfig

        if not gold.is_file():
            raise UserError(f"{gold}: no such file")
        values = [*(overrides or []), *([f"language={language}"] if language else [])]
        settings = load_config(ReportsConfig, config, values)
        documents = list(read_gold(gold))
        result, _ = score_all(Anonymizer(settings, Keys(os.urandom(32))), documents, not without_identity)
        console.result(result)
