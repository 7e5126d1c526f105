"""``vlp export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting
from vlp.commands import AllowNonCommercial


class To(StrEnum):
    """Forms of a model folder."""

    OPEN_CLIP = "open-clip"
    TIMM = "timm"
    TRANSFORMERS = "transformers"
    ONNX = "onnx"


def export(
    model: Annotated[Path, typer.Argument(help="Model folder of `vlp pretrain`, `align` or `finetune`.")],
    to: Annotated[To, typer.Option("--to", "-t", help="Which library is to read it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("export"),
    allow_non_commercial: AllowNonCommercial = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a model for open_clip, timm, transformers (and sentence-transformers) or ONNX runtimes.

    What the other library cannot express is refused with the reason. docs/models.md has the code that reads each.

    Examples:

    \b
        vlp export ALIGN --to open-clip --out ALIGN-open-clip
        vlp export ALIGN --to onnx --out ALIGN-onnx
        vlp export PRETRAIN --to timm --out PRETRAIN-timm
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from vlp.hub.export import run_export

        console.result(run_export(model, out, to.value, allow_non_commercial, console))


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(export)
