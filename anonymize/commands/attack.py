"""``anonymize attack``: try to re-identify the people of a safe export, with the originals in hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anonymize.commands import ConfigFile, Json, Overrides, Quiet, SecretFile, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("attack")(attack)


def attack(
    safe: Annotated[Path, typer.Argument(help="Folder of the safe export.")],
    overrides: Overrides = None,
    originals: Annotated[
        Path | None, typer.Option("--originals", help="The export that it was made from; never leaves this machine.")
    ] = None,
    language: Annotated[str, typer.Option("--language", "-l", help="Language of the reports (else as in SAFE).")] = "",
    config: ConfigFile = None,
    secret_file: SecretFile = None,
    without_secret: Annotated[
        bool, typer.Option("--without-secret", help="Link reports to originals by their words, as an outsider would.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Look at this many patients only; 0 = all.")] = 0,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="Search every patient's names in every report, not only in the own ones.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the surviving values: identifying text.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Try to re-identify: search every original value in the safe reports, guess surrogates, link by dates, count k.

    Exit code 1 when an original survives in a report or another file, or the rows follow the order of the export.
    Ambiguous: a name that is an ordinary word where it stands ("petit fragment"); look at these by eye. Guessing,
    linkage and rarity are residual risks in figures. The secret, where it is at hand, links reports exactly.

    Examples:

        anonymize attack SAFE --originals EXPORT.csv

        anonymize attack SAFE --originals EXPORT.csv --secret-file SECRET --json > attack.json

        anonymize attack SAFE --originals EXPORT.csv --limit 2000 --show
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.attack import as_rows, by_kind, run_attack
        from anonymize.config import load_config
        from anonymize.console import Exit, UserError
        from anonymize.keys import SecretError, load_keys
        from anonymize.policy import ReportsConfig

        if originals is None:
            raise UserError("say what the export was made from: --originals EXPORT")
        held = safe / "reports" / "config.yaml"
        values = [*(overrides or []), *([f"language={language}"] if language else [])]
        settings = load_config(ReportsConfig, config or (held if held.is_file() else None), values)
        keys = None
        if not without_secret:
            try:
                keys, _ = load_keys(secret_file, safe, create=False)
            except SecretError:
                if secret_file is not None:
                    raise
                console.note("no secret is at hand: reports are linked to their originals by their words")
        found = run_attack(settings, safe, originals, keys, console, limit=limit, everyone=everyone)
        summary = {
            "patients": found.patients,
            "reports": found.reports,
            "linked": found.linked,
            "linked_by": found.linked_by,
            "surviving": len(found.leaks),
            "surviving_by_kind": by_kind(found.leaks),
            "traces_in_files": len(found.traces),
            "row_order": found.order,
            "ambiguous": len(found.ambiguous),
            "ambiguous_by_kind": by_kind(found.ambiguous),
            "equal_by_chance": found.chance,
            "guessing": found.guessing,
            "linkage": found.linkage,
            "rarity": found.rarity,
        }
        if as_json:
            traces = [{k: v for k, v in vars(item).items() if show or k != "value"} for item in found.traces]
            lists = {"findings": as_rows(found.leaks, show), "traces": traces}
            console.result({**summary, **lists, "ambiguous_places": as_rows(found.ambiguous, show)})
        else:
            _table(summary, found, show, quiet)
        if found.found:
            console.error("originals survive: this export must not leave the hospital")
            raise typer.Exit(Exit.FAILED)


def _table(summary: dict[str, Any], found: Any, show: bool, quiet: bool) -> None:
    from rich.console import Console as Rich
    from rich.markup import escape
    from rich.table import Table

    rich = Rich(highlight=False)
    for title, places in (("surviving originals", found.leaks), ("ambiguous", found.ambiguous)):
        if not places or (quiet and places is found.ambiguous):
            continue
        table = Table(title=f"{title} ({len(places)})", title_justify="left")
        for heading in ("report", "column", "place", "kind", "how", "words around", *(["value"] if show else [])):
            table.add_column(heading, overflow="fold")
        for item in places[:50]:
            cells = [item.report_id, item.column, f"{item.start}-{item.end}", item.kind, item.how, item.shape]
            table.add_row(*map(escape, [*cells, *([item.value] if show else [])]))
        rich.print(table)
    for trace in found.traces[:50]:
        value = f" {trace.value}" if show else ""
        rich.print(f"in file {trace.file}: {trace.where}: {trace.kind}{value}", markup=False)
    if quiet:
        return
    for key, value in summary.items():
        if isinstance(value, list):
            for cell in value:
                name = ", ".join(cell["columns"])
                rich.print(
                    f"rarity  {name}: {cell['alone']} of {cell['patients']} patients alone, {cell['below_5']} among fewer than 5"
                )
            continue
        shown = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        rich.print(f"{key.replace('_', ' '):<20}{shown or 'none'}", markup=False)
