"""``vlp rewrite-descriptions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config


def rewrite_descriptions(
    overrides: Overrides = None,
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", help="A chat server of this network: http://localhost:8080/v1#MODEL.")
    ] = "http://localhost:8080/v1",
    language: Annotated[str, typer.Option("--language", "-l", help="Language pack: its code, or its folder.")] = "fr",
    remote: Annotated[
        str, typer.Option("--remote-host", help="A host outside of this network that may be asked; else it is refused.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="YAML file to write, for review.")] = Path(
        "descriptions.yaml"
    ),
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Ask a local language model for more wordings of the descriptions of findings.

    Only the pack's own sentences are sent, no report. Every answer is checked (language, the finding is named and not
    denied, no side, length), and a person reviews the file before it is used: docs/text-knowledge.md.

    Examples:

    \b
        vlp rewrite-descriptions --endpoint http://localhost:8080/v1#mistral --language fr --out rewritten.yaml
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.tasks.rewrite_descriptions import RewriteConfig, run_rewrite

        settings = load_config(RewriteConfig, config, overrides or ())
        console.result(run_rewrite(settings, language, endpoint, out, console, remote))


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("rewrite-descriptions")(rewrite_descriptions)
