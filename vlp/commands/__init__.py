"""The subcommands of ``vlp``, one file each. What they share with ``anonymize`` lives in ``anonymize.commands``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

AllowNonCommercial = Annotated[
    bool, typer.Option("--allow-non-commercial", help="Take weights whose licence forbids commercial use.")
]


def with_licence(overrides: Sequence[str] | None, allow_non_commercial: bool) -> list[str]:
    """``overrides`` of a configuration, with what the option says."""
    return [*(overrides or ()), *(["allow_non_commercial=true"] if allow_non_commercial else [])]
