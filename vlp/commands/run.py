"""``vlp run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Overrides, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("run")(run)


def run(
    config: Annotated[Path, typer.Argument(help="YAML file with the stages of the run.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder (default: runs/<name of CONFIG>).")
    ] = None,
    start_at: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Do this stage and all after it again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, be skipped or go on, and why.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the results page in a browser at the end.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the stages of CONFIG in order: skip what is done for the same inputs, go on after an interruption.

    Each stage is a command that you can type yourself; `--dry-run` prints them.

    Examples:

    \b
        vlp run configs/demo.yaml --out runs/demo
        vlp run configs/demo.yaml --dry-run
        vlp run configs/demo.yaml --out runs/long pretrain.steps=2000 align.steps=4000
        vlp run configs/demo.yaml --out runs/demo --from evaluate
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.pipeline.collect import collect_metrics
        from vlp.pipeline.config import load_run_config
        from vlp.pipeline.runner import Ledger, describe, plan, run_stages

        settings = load_run_config(config, overrides or ())
        folder = out or Path("runs") / config.stem
        if dry_run:
            planned = plan(settings, folder, Ledger(folder), start_at)
            rows = [describe(p, folder) for p in planned]
            if as_json:
                console.result({"stages": rows})
            else:
                for row in rows:
                    typer.echo(f"{row['name']}: {row['action']} ({row['reason']})\n    {row['command']}")
            return
        stages = run_stages(settings, folder, console, start_at)
        metrics = collect_metrics(settings, folder, stages)
        from vlp.evaluation.page.build import build_page

        page = build_page(folder)
        seconds = {stage.name: f"{stage.seconds:.0f} s, {stage.peak_memory_mb:.0f} MB;" for stage in stages}
        console.result({"run": str(folder), "stages": seconds, "metrics": str(metrics), "results_page": str(page)})
        if open_page:
            _open(page)


def _open(page: Path) -> None:
    """Open the page where there is a desktop; a server without one is no error."""
    import os
    import sys
    import webbrowser

    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
        webbrowser.open(page.resolve().as_uri())
