"""``anonymize review``: a local page where a person checks and corrects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, SecretFile, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("review")(review)


def review(
    safe: Annotated[Path, typer.Argument(help="Folder that anonymize reports wrote.")],
    originals: Annotated[Path, typer.Option("--originals", help="The export it was made from.")],
    secret_file: SecretFile = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Reports to load, drawn at random; 0 = all of the export.")
    ] = 2000,
    sample: Annotated[
        int,
        typer.Option("--sample", min=0, help="Reports of the random sample, from which the leak rate is estimated."),
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other reports.")] = 0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 = a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow_network: Annotated[
        bool,
        typer.Option("--allow-network", help="Needed for an address that other machines reach. They see real reports."),
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    gold_out: Annotated[
        Path | None,
        typer.Option("--gold-out", help="File for the gold; else SAFE.private/review/gold.jsonl. It holds originals."),
    ] = None,
    with_identity: Annotated[
        bool, typer.Option("--with-identity", help="Add the record's columns to the gold (measure --known-identity).")
    ] = False,
    export_only: Annotated[
        bool, typer.Option("--export-only", help="Write the gold of what was reviewed before; open no page.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check and correct on a local page: original and safe text side by side, the doubtful reports first.

    Corrections are saved at once and become gold for anonymize measure and anonymize adapt. Only this machine reaches the
    page, and only with the token in its address. Ctrl-C stops it; the same command goes on where it was.

    Examples:

        anonymize review SAFE --originals EXPORT.csv --open

        anonymize review SAFE --originals EXPORT.csv --limit 500 --sample 200 --seed 1

        anonymize review SAFE --originals EXPORT.csv --export-only --gold-out GOLD.jsonl
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.console import UserError
        from anonymize.review.run import Options, run_review

        try:
            if not export_only:
                import fastapi  # noqa: F401
                import uvicorn  # noqa: F401
        except ImportError:
            raise UserError("the page needs fastapi and uvicorn: pip install fastapi uvicorn") from None
        options = Options(limit, sample, seed, host, port, allow_network, show, gold_out, with_identity, export_only)
        summary = run_review(
            safe, originals, secret_file, options, console, lambda line: typer.echo(f"review page: {line}", err=True)
        )
        following = f"anonymize measure --gold {summary['gold']} --language {summary['language']}"
        console.result(summary, next_command=following if summary["gold_reports"] else None)
