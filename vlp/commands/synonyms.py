"""``vlp synonyms``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting
from anonymize.config import load_config
from vlp.commands import AllowNonCommercial, with_licence


def synonyms(
    overrides: Overrides = None,
    terms: Annotated[
        list[str] | None,
        typer.Option(
            "--terms",
            "-t",
            help="Names of concepts: MRCONSO.RRF or its folder, an RF2 description file, a CSV (concept, term, "
            "language), or a language code for the pack's own list. May be given several times.",
        ),
    ] = None,
    text: Annotated[Path | None, typer.Option("--text", help="Folder of a transformers encoder to start from.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Model folder of `vlp align` whose text tower to start from.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", help="Corpus whose training reports the tokenizer learns from too (from scratch)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Text tower folder to write.")] = Path("synonyms"),
    allow_non_commercial: AllowNonCommercial = False,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Teach a text tower that synonyms mean the same (SapBERT).

    Names that are kept out of training are asked for before and after; see docs/text-knowledge.md.

    Examples:

    \b
        vlp synonyms --terms fr --corpus CORPUS --out SYNONYMS
        vlp synonyms --terms META/MRCONSO.RRF --text /models/camembert --out SYNONYMS lr=2e-5 terms.languages=[fr]
        vlp align CORPUS --encoder PRETRAIN --out ALIGN text.folder=SYNONYMS
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.tasks.synonyms import SynonymsConfig, check_sources, run_synonyms
        from vlp.training.distributed import rank
        from vlp.training.failures import explained_failures

        check_sources(terms or (), text, model)
        changes = with_licence(overrides, allow_non_commercial) + ([f"text.folder={text}"] if text else [])
        settings = load_config(SynonymsConfig, config, changes)
        with explained_failures():
            summary = run_synonyms(settings, terms or (), out, console, model=model, corpus=corpus)
        if rank() == 0:
            console.result(summary, f"vlp align CORPUS --encoder PRETRAIN --out ALIGN text.folder={out}")


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(synonyms)
