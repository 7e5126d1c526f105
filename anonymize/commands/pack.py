"""``anonymize pack``: what a language pack lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting

pack_app = typer.Typer(no_args_is_help=True, help="Language packs: check what one lacks.")


def register(app: typer.Typer) -> None:
    """Add the group to ``app``."""
    app.add_typer(pack_app, name="pack")


@pack_app.callback()
def _group() -> None:
    """Language packs: check what one lacks."""


@pack_app.command("check")
def check(
    code: Annotated[
        str, typer.Argument(metavar="[CODE]", help="Code of a language (nl) or the folder of a pack.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Check every pack that is installed.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what a language pack lacks and what will not work for that reason.

    Exit code 1 where reports cannot be pseudonymised with a pack.

    Examples:

        anonymize pack check nl

        anonymize pack check ./my-packs/pt

        anonymize pack check --all --json
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.console import Exit, UserError
        from anonymize.languages import available, load_pack
        from anonymize.languages.check import check_pack

        if bool(code) == every:
            raise UserError("name one pack (anonymize pack check nl) or give --all")
        if code and Path(code).is_dir() and not (Path(code) / "pack.yaml").is_file():
            raise UserError(f"{code}/pack.yaml: no such file; a pack begins with it, see docs/add-a-language.md")
        checked = [check_pack(load_pack(name)) for name in (available() if every else [code])]
        if as_json:
            console.result(
                {
                    "usable": all(one.usable for one in checked),
                    "packs": [
                        {
                            "language": one.language,
                            "usable": one.usable,
                            "capabilities": one.capabilities(),
                            "lacks": [vars(lack) for lack in one.lacks],
                        }
                        for one in checked
                    ],
                }
            )
        else:
            for one in checked:
                console.result({f"{one.language} {name}": state for name, state in one.capabilities().items()})
                for lack in one.lacks:
                    console.note(
                        f"  {lack.level}: {lack.file}: {lack.what}"
                        + (f" ({lack.consequence})" * bool(lack.consequence))
                    )
        if not all(one.usable for one in checked):
            raise typer.Exit(Exit.FAILED)
