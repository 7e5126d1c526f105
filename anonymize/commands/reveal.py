"""``anonymize reveal``: the originals of a report, for a person who may see them. Every call is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymize.commands import Json, SecretFile, console_for, reporting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("reveal")(reveal)


def reveal(
    safe: Annotated[Path, typer.Argument(help="Folder of the safe export; its private folder stands beside it.")],
    report: Annotated[str, typer.Option("--report", help="Identifier of one report (column report_id).")] = "",
    patient: Annotated[str, typer.Option("--patient", help="Pseudonym of a patient: all reports.")] = "",
    study: Annotated[str, typer.Option("--study", help="Pseudonym of a study.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the log.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Put back only this kind (name, date ...); may be repeated.")
    ] = None,
    secret_file: SecretFile = None,
    as_json: Json = False,
) -> None:
    """Show original text to an authorised person who holds the secret.

    The call is first appended to reveal.log.jsonl in the private folder: time, user, what was asked, why, how many
    reports. Each line holds the hash of the line before it, so that a removed line shows.

    Examples:

        anonymize reveal SAFE --report R7Q2XXXXXXXXXXXXX --reason "recall of an implant" --secret-file SECRET

        anonymize reveal SAFE --patient P7Q2XXXXXXXXXXXXX --kind name --kind phone --reason "..." --json
    """
    console = console_for(False, as_json)
    with reporting(console):
        from dataclasses import asdict

        from anonymize.audit import append_reveal, broken_line, reveal_log
        from anonymize.console import UserError
        from anonymize.keys import SecretError, load_keys
        from anonymize.report import KINDS
        from anonymize.vault import Vault

        asked = {
            name: value for name, value in (("report_id", report), ("patient", patient), ("study", study)) if value
        }
        if len(asked) != 1:
            raise UserError("say whose original is wanted: one of --report, --patient, --study")
        if not reason.strip():
            raise UserError('say why: --reason "..." is kept in the log')
        if unknown := sorted(set(kind or ()) - set(KINDS)):
            raise UserError(f"--kind {unknown[0]} is not known; there are: {', '.join(KINDS)}")
        if not (safe / "reports").is_dir():
            raise UserError(f"{safe} holds no reports; give the folder that `anonymize reports --out` made")
        if not reveal_log(safe).parent.is_dir():
            raise UserError(f"{reveal_log(safe).parent}: the private folder of the export is not there")
        if reveal_log(safe).is_file() and (number := broken_line(reveal_log(safe))):
            console.warn(f"{reveal_log(safe)}: line {number} does not follow the one before it; lines were changed")
        what = {"asked": asked, **({"kinds": sorted(kind)} if kind else {})}
        (column, value), found = next(iter(asked.items())), []
        try:
            keys, _ = load_keys(secret_file, safe, create=False)
            found = Vault(safe, keys).reveal(column, value, kind or ())
        except (SecretError, UserError):
            append_reveal(safe, what, reason.strip(), "refused", 0)
            raise
        append_reveal(safe, what, reason.strip(), "shown" if found else "not found", len(found))
        if not found:
            raise UserError(f"no report of {safe} has {column} {value}")
        if as_json:
            console.result({"reports": [asdict(item) for item in found]})
            return
        for item in found:
            typer.echo(f"report {item.report_id}  patient {item.patient}  study {item.study}  date {item.date}")
            if item.exam:
                typer.echo(item.exam)
            typer.echo(f"\n{item.text}\n")
