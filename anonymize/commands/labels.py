"""``anonymize labels``: findings mined from the words of the safe reports, or the score of the mining."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("labels")(labels)


def labels(
    safe: Annotated[Path, typer.Argument(help="Safe export (folder), or with --measure a gold file.")],
    overrides: Overrides = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="SAFE is a JSON Lines file with text and labels: score the miner on it.")
    ] = False,
    language: Annotated[str, typer.Option("--language", "-l", help="Language of the gold: fr, de, en, es.")] = "fr",
    half: Annotated[str, typer.Option("--half", help="Score only this part of the gold (its key 'half').")] = "",
    config: ConfigFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write SAFE/labels/labels.parquet: present, absent, uncertain or not mentioned, by report and label.

    What is asked, old, or of the family does not count as present; the conclusion outranks the results.

    Examples:

        anonymize labels SAFE

        anonymize labels SAFE not_mentioned=false workers=4

        anonymize labels --measure GOLD.jsonl --language fr --half held_out --json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.console import UserError
        from anonymize.labels.table import LabelsConfig, run_labels

        if not measure:
            settings = load_config(LabelsConfig, config, list(overrides or []))
            console.result(run_labels(settings, safe, console))
            return
        from anonymize.labels.measure import measure_labels, read_gold_labels
        from anonymize.labels.miner import miner

        if not safe.is_file():
            raise UserError(f"{safe}: no such file")
        gold = [item for item in read_gold_labels(safe) if half in ("", item.half)]
        if not gold:
            raise UserError(f"{safe}: no line has half '{half}'")
        result = measure_labels(miner(language), gold)
        if not as_json:
            result = {
                "reports": result["reports"],
                **{
                    f"F1 {name}": _line(scores) for name, scores in {"all": result["all"], **result["by_label"]}.items()
                },
                "grades": result["grades"],
                "qualifiers": result["qualifiers"],
            }
        console.result(result)


def _line(scores: dict[str, float | None]) -> str:
    def shown(name: str) -> str:
        value = scores[name]
        return "-" if value is None else f"{value:.3f}"

    return (
        f"{shown('f1')} [{shown('f1_low')}, {shown('f1_high')}], precision {shown('precision')}, "
        f"recall {shown('recall')}, n {scores['n']}"
    )
