"""``anonymize train-ner``: a tagger from a language pack's templates."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("train-ner")(train_ner)


def train_ner(
    overrides: Overrides = None,
    language: Annotated[str, typer.Option("--language", "-l", help="Language pack: a code or a folder.")] = "fr",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model.")] = Path("ner"),
    gold: Annotated[
        list[Path] | None,
        typer.Option("--gold", "-g", help="Annotated reports to score the model on, for its card. May be repeated."),
    ] = None,
    show: Annotated[int, typer.Option("--show", help="Print this many training documents and stop.", min=0)] = 0,
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a tagger of names, places and institutions on text generated from the pack's templates.yaml.

    No report of a hospital goes in. Needs torch; the model runs without it. Names of training, tuning and test text
    differ. The model's card (README.md) says what it was trained on and how it scores, also on the files of --gold.

    Examples:

        anonymize train-ner --language fr --show 5

        anonymize train-ner --language fr --out ner-fr --gold GOLD.jsonl documents=40000 epochs=4

        anonymize reports EXPORT.csv --out SAFE ner=ner-fr
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import UserError

        for path in gold or ():
            if not path.is_file():
                raise UserError(f"{path}: no such file")
        if find_spec("torch") is None and not show:
            raise UserError("training needs torch: pip install torch; running a trained model does not")
        from anonymize.ner.card import marked, write_card
        from anonymize.ner.train import NerConfig, generate, train

        settings = load_config(NerConfig, config, [*(overrides or []), f"language={language}"])
        if show:
            for document in generate(settings, "train", show):
                typer.echo(marked(document))
            return
        report = train(settings, out, console)
        scores = write_card(out, report, gold or [])
        console.result({**report, "gold": scores})
