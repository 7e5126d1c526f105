"""``anonymize measure``: how much would leak, scored against gold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, KnownIdentity, Ner, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("measure")(measure)


def measure(
    overrides: Overrides = None,
    gold: Annotated[
        Path | None, typer.Option("--gold", "-g", help="JSON Lines with text and spans (start, end, label).")
    ] = None,
    language: Annotated[
        str, typer.Option("--language", "-l", help="Language of the reports: fr, es, de, nl, it, en.")
    ] = "",
    known_identity: KnownIdentity = False,
    ner: Ner = "",
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score the detectors on annotated reports, with 95 % intervals over documents.

    redact_recall: share of identifying words hidden. redact_full: share of documents with every one hidden.
    leak_rate: share of identifying spans wholly visible. false_positives_per_1000: other words hidden, per 1,000.
    clinical_damage: eponyms, clinical words, measures and levels altered, per 1,000 of them.

    Examples:

        anonymize measure --gold GOLD.jsonl --language fr

        anonymize measure --gold GOLD.jsonl --language fr --known-identity --json
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

        if gold is None:
            raise UserError("name the annotated reports: --gold FILE.jsonl")
        if not gold.is_file():
            raise UserError(f"{gold}: no such file")
        values = [*(overrides or []), *([f"language={language}"] if language else []), *([f"ner={ner}"] if ner else [])]
        settings = load_config(ReportsConfig, config, values)
        documents = list(read_gold(gold))
        result, _ = score_all(Anonymizer(settings, Keys(os.urandom(32))), documents, known_identity)
        console.result(result)
