"""``anonymize detect``: the spans that would be replaced, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, KnownIdentity, Ner, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("detect")(detect)


def detect(
    source: Annotated[Path, typer.Argument(help="JSON Lines with id, text and, where known, meta.known_patient.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON Lines with id and spans.")] = Path("spans.jsonl"),
    language: Annotated[
        str, typer.Option("--language", "-l", help="Language of the reports: fr, es, de, nl, it, en.")
    ] = "",
    known_identity: KnownIdentity = False,
    ner: Ner = "",
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write what would be replaced in each document: start, end (code points into the given text), label, score, detector.

    The output holds positions and no text. A line that cannot be read is written with its number and an "error" instead
    of spans, so that the output has as many lines as the input.

    Examples:

        anonymize detect REPORTS.jsonl --language fr --out SPANS.jsonl

        anonymize detect REPORTS.jsonl --language fr --known-identity --out SPANS.jsonl --json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        import os

        from anonymize.config import load_config
        from anonymize.console import UserError
        from anonymize.detect import detect_file
        from anonymize.engine import Anonymizer
        from anonymize.keys import Keys
        from anonymize.policy import ReportsConfig

        if not source.is_file():
            raise UserError(f"{source}: no such file")
        if out.resolve() == source.resolve():
            raise UserError(f"{out}: is the input; name another output")
        values = [*(overrides or []), *([f"language={language}"] if language else []), *([f"ner={ner}"] if ner else [])]
        settings = load_config(ReportsConfig, config, values)
        summary = detect_file(Anonymizer(settings, Keys(os.urandom(32))), source, out, known_identity, console)
        console.result(summary)
