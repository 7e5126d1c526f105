"""The subcommands of ``anonymize``, one file each, and what every command line of the project shares."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from anonymize.config import ConfigError
from anonymize.console import Console, Exit, UserError, scrubbed_traceback
from anonymize.keys import SecretError

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Configuration values, such as seed=1 or a.b=2.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file with configuration values.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object on standard output.")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        help="File with the secret (else ANONYMIZE_SECRET, else one is made beside the output, outside of it).",
    ),
]
EngineName = Annotated[
    str, typer.Option("--engine", help="local: processes of this machine; ray: a Ray cluster (RAY_ADDRESS).")
]
PlanStep = Annotated[bool, typer.Option("--plan", help="Only the first step: list the source and cut it into shards.")]
ShardsStep = Annotated[
    str,
    typer.Option("--shards", metavar="I/N", help="Only the work, and of it every N-th shard: task I (from 1) of N."),
]
FinishStep = Annotated[bool, typer.Option("--finish", help="Only the last step: merge what the tasks did.")]
Language = Annotated[
    str, typer.Option("--language", "-l", help="Language of the reports: fr, es, de, nl, it, en, or a pack's folder.")
]
KnownIdentity = Annotated[
    bool, typer.Option("--known-identity", help="Use meta.known_patient of each document, as a record's columns.")
]
Ner = Annotated[str, typer.Option("--ner", help="Another tagger: folder or name; 'none' for rules alone.")]

OFFLINE = {
    "ACCELERATE_DISABLE_RICH": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "LIGHTLY_DID_VERSION_CHECK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "offline",
}


def go_offline() -> None:
    """Turn telemetry and hub look-ups of every dependency off, before any of them is imported.

    A value that the user has set stays.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)


def console_for(quiet: bool, as_json: bool) -> Console:
    """The console that the two output options ask for."""
    return Console("json" if as_json else "quiet" if quiet else "pretty")


@contextmanager
def reporting(console: Console, *, debug: bool = False) -> Iterator[None]:
    """Run a command's body: known errors become one line and an exit code, unknown ones a scrubbed traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGUSR1"):  # what schedulers send before a job's time is up
        signal.signal(signal.SIGUSR1, _interrupt)
    try:
        yield
    except (ConfigError, SecretError, UserError) as error:
        for line in str(error).splitlines():
            console.error(line)
        raise typer.Exit(Exit.USAGE) from None
    except KeyboardInterrupt:
        console.error("interrupted; run the same command again to go on")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if debug or os.environ.get("VLP_DEBUG"):
            raise
        console.error(
            f"{scrubbed_traceback(error)} (set VLP_DEBUG=1 for the full traceback, which can hold patient data)"
        )
        raise typer.Exit(Exit.FAILED) from None


def _interrupt(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def run_app(app: typer.Typer) -> None:
    """Entry point of both commands."""
    go_offline()
    app()
    sys.exit(Exit.OK)
