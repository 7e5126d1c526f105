"""``vlp prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import (
    ConfigFile,
    EngineName,
    FinishStep,
    Json,
    Overrides,
    PlanStep,
    Quiet,
    ShardsStep,
    console_for,
    reporting,
)
from anonymize.console import Console, Exit, UserError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("prepare")(prepare)


def prepare(
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help="Safe export; or folder of images with --table or --set.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder of the corpus, or a location as s3://bucket/corpus.")
    ] = "corpus",
    config: ConfigFile = None,
    table: Annotated[Path | None, typer.Option("--table", help="CSV with one row per image.")] = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", help="YAML that says what its columns mean.")] = None,
    public: Annotated[str, typer.Option("--set", metavar="NAME", help="SOURCE is this public set.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only say what of the set's layout is missing.")] = False,
    list_sets: Annotated[bool, typer.Option("--list-sets", help="Print the public sets and their layouts.")] = False,
    describe_labels: Annotated[
        str, typer.Option("--describe-labels", metavar="LANGUAGE", help="Write a text from the labels where none is.")
    ] = "",
    engine: EngineName = "",
    plan: PlanStep = False,
    shards: ShardsStep = "",
    finish: FinishStep = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a training corpus: decode, window, pair, split by patient, shard; with a data card.

    The source is a safe export of `anonymize`, a public set in its published layout, or a folder of images with a table.
    A killed run goes on where it was when the same command is typed again.

    Examples:

    \b
        vlp prepare SAFE --out CORPUS
        vlp prepare SAFE --out CORPUS size=128 split.test=0.2 workers=8
        vlp prepare --list-sets
        vlp prepare MURA-v1.1 --set mura --check
        vlp prepare MURA-v1.1 --set mura --out CORPUS split.official=true
        vlp prepare SAFE --out s3://bucket/corpus store=tar depth=16
        vlp prepare IMAGES --table images.csv --mapping mapping.yaml --out CORPUS
        vlp prepare IMAGES --table images.csv --mapping mapping.yaml \\
            --describe-labels fr --out CORPUS
        vlp prepare SAFE --out CORPUS --engine ray workers=64

    In a Slurm array (scripts/slurm-shards.sh) the three steps are commands of their own: --plan once, --shards i/n in
    each task, --finish once.
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.config import load_config
        from anonymize.engines import read_steps
        from vlp.corpus.adapters.images_csv import run_prepare_images
        from vlp.corpus.config import PrepareConfig
        from vlp.corpus.plan import work_on
        from vlp.corpus.prepare import run_prepare
        from vlp.corpus.store import Store

        if list_sets:
            _list_sets(console)
            return
        values = [*(overrides or []), *([f"engine={engine}"] if engine else [])]
        settings = load_config(PrepareConfig, config, values)
        steps = read_steps(plan, shards, finish)
        if source is None:
            raise UserError("name the folder of the safe export or of the images; --list-sets names the public sets")
        if (table is None) != (mapping is None):
            raise UserError("--table and --mapping go together: the mapping says what the table's columns mean")
        if (table is not None and public) or (check and not public):
            raise UserError("--set stands alone or with --check; --table and --mapping are for other images")
        if not source.is_dir():
            raise UserError(f"{source}: no such folder")
        if check:
            from vlp.corpus.adapters.sets import check_set

            found, missing = check_set(public, source, settings)
            optional = found.pop("optional_parts_missing")
            if console.mode == "json":
                found |= {"missing": missing, "optional_parts_missing": optional}
            console.result(found)
            for line in optional:
                console.note(f"not here, and not needed: {line}")
            for line in missing:
                console.error(f"missing: {line}")
            if missing:
                raise typer.Exit(Exit.FAILED)
            return
        if steps.work and not steps.finish:
            console.result(work_on(steps.work, Store(out), settings, console))
            return
        if public:
            from vlp.corpus.adapters.sets import run_prepare_set

            summary = run_prepare_set(settings, public, source, out, console, describe_labels, steps)
        elif table is not None and mapping is not None:
            summary = run_prepare_images(settings, source, table, mapping, out, console, describe_labels, steps)
        else:
            summary = run_prepare(settings, source, out, console, describe_labels, steps)
        if not steps.finish:
            console.result(summary)
            return
        console.result({**summary, "card": Store(out).address("card.md")}, f"vlp pretrain {out}")


def _list_sets(console: Console) -> None:
    from dataclasses import asdict

    from vlp.corpus.adapters.sets import SETS, describe_sets

    if console.mode == "json":
        fields = ("languages", "labels", "patients", "tree")
        console.result(
            {name: asdict(s.origin) | {field: getattr(s, field) for field in fields} for name, s in SETS.items()}
        )
    else:
        typer.echo(describe_sets())
