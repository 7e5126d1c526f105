"""``vlp page``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("page")(page)


def page(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the results page of a run anew: one HTML file that opens offline.

    Examples:

    \b
        vlp page runs/demo
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.evaluation.page.build import build_page

        console.result({"results_page": str(build_page(run))})
