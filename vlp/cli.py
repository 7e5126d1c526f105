"""The ``vlp`` command: assembles the subcommands; each imports its heavy libraries only when it runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import typer

from anonymize.commands import run_app

app = typer.Typer(
    name="vlp",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _main() -> None:
    """Train and use a vision-language model on a hospital's own radiographs and reports."""


for _path in sorted(Path(__file__).parent.joinpath("commands").glob("[a-z]*.py")):
    importlib.import_module(f"vlp.commands.{_path.stem}").register(app)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
