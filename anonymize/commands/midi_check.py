"""``anonymize midi-check``: judge a DICOM run over an answer key by the ten actions of the MIDI-B challenge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, Quiet, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("midi-check")(midi_check)


def midi_check(
    safe: Annotated[Path, typer.Argument(help="Folder of the safe export, made with mappings=true.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Parquet of sop_instance_uid, patient, action, path, value."),
    ] = None,
    failures: Annotated[
        Path | None, typer.Option("--failures", help="CSV to write: each answer that was not followed, without values.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Judge what was removed AND what was kept, action by action, over an answer key (MIDI-B, arXiv 2507.23608).

    `vlp phantom answer_key=true` writes such a key for its films (truth/answers.parquet). With mappings=true,
    `anonymize dicom` writes uid_mapping.csv and patid_mapping.csv into the private folder: the two files that the
    challenge's own script reads. Exit code 1 when a planted value or text is left.

    Examples:

        vlp phantom --out HOSPITAL patients=1000 answer_key=true

        anonymize dicom HOSPITAL/export/dicom --out SAFE mappings=true

        anonymize midi-check SAFE --key HOSPITAL/truth/answers.parquet --failures failures.csv
    """
    console = console_for(quiet, as_json)
    with reporting(console):
        from anonymize.console import Exit, UserError
        from anonymize.dicom.midi import judge, read_key, read_mapping
        from anonymize.keys import private_folder

        if key is None:
            raise UserError("say what had to happen: --key answers.parquet")
        private = private_folder(safe)
        uids, patients = (read_mapping(private / name) for name in ("uid_mapping.csv", "patid_mapping.csv"))
        summary = judge(read_key(key), safe / "images", uids, patients, console, failures)
        console.result(summary)
        left = [
            name
            for name in ("text_removed", "pixels_hidden")
            if summary["by_action"].get(name, {"share": 1})["share"] < 1
        ]
        if left:
            console.error("something that identifies is left: " + ", ".join(left))
            raise typer.Exit(Exit.FAILED)
