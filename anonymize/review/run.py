"""``anonymize review``: load, serve, write the gold, sum up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonymize.audit import append_audit
from anonymize.config import load_config
from anonymize.console import Console, UserError
from anonymize.keys import load_keys, private_folder
from anonymize.policy import ReportsConfig
from anonymize.review.data import Pairs, choose
from anonymize.review.guard import is_loopback
from anonymize.review.journal import Journal
from anonymize.review.session import Session


@dataclass(frozen=True)
class Options:
    """What the command line says; see ``anonymize review --help``."""

    limit: int = 2000
    sample: int = 100
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    allow_network: bool = False
    show: bool = False
    gold_out: Path | None = None
    with_identity: bool = False
    export_only: bool = False


def run_review(
    safe: Path,
    originals: Path,
    secret_file: Path | None,
    options: Options,
    console: Console,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """Open the page and wait until it is stopped; then write the gold and a line of the audit trail.

    Returns:
        reports loaded, reviewed, edited and left, the leak estimate from the random sample, and where the gold is.

    Raises:
        UserError: a path or address that cannot be used.
        SecretError: there is no secret; a review makes none.
    """
    if not is_loopback(options.host) and not options.allow_network:
        raise UserError(
            f"--host {options.host} is an address that other machines can reach, and the page shows real reports without "
            "encryption; add --allow-network if that is what you want, or reach this machine through ssh -L"
        )
    stored = safe / "reports" / "config.yaml"
    if not stored.is_file():
        raise UserError(f"{stored}: is not there; give a folder that anonymize reports wrote")
    config = load_config(ReportsConfig, stored)
    keys, _ = load_keys(secret_file, safe, create=False)
    folder = private_folder(safe) / "review"
    journal = Journal(folder)
    try:
        gold = _gold_path(options.gold_out, safe, folder, console)
        choice = choose(safe, options.limit, options.sample, options.seed, list(journal.histories))
        pairs = Pairs(safe, originals, config, keys, choice.all, console)
        if pairs.missing:
            console.warn(
                f"{pairs.missing} of {len(choice.all)} reports have no original in {originals}; they are left out"
            )
        session = Session(pairs, choice, journal, folder, console)

        def export() -> dict[str, Any]:
            return {"gold": str(gold), "gold_reports": session.write_gold(gold, options.with_identity)}

        if not options.export_only:
            # before the first original is shown, so that a session that is killed is on record too
            append_audit(safe, "review-open", keys.identifier, config, {"reports": len(session.risks)})
            _serve(session, folder, options, console, announce, export)
        totals = session.totals()
        written = export() if totals["reviewed"] else {"gold": "", "gold_reports": 0}
        counts = {name: totals[name] for name in ("reports", "reviewed", "edited", "left", "sample", "sample_reviewed")}
        append_audit(safe, "review", keys.identifier, config, counts)
        return {
            **counts,
            "reports_with_a_leak": totals["leak"]["reports"],
            "spans_visible": totals["leak"]["spans"],
            **written,
            "language": config.language,
        }
    finally:
        journal.close()


def _serve(
    session: Session,
    folder: Path,
    options: Options,
    console: Console,
    announce: Callable[[str], None],
    export: Callable[[], dict[str, Any]],
) -> None:
    from anonymize.review.server import listen, serve

    if not is_loopback(options.host):
        console.warn("other machines can reach this page; what it shows travels without encryption")
    bound = listen(options.host, options.port)
    console.note("stop with Ctrl-C; every correction is saved at once")
    opener = folder / "open.html" if options.show else None
    serve(session, export, options.host, bound, console, announce, opener)


def _gold_path(wanted: Path | None, safe: Path, folder: Path, console: Console) -> Path:
    if wanted is None:
        return folder / "gold.jsonl"
    if wanted.resolve().is_relative_to(safe.resolve()):
        raise UserError(f"--gold-out {wanted}: lies inside the safe export, and gold holds originals; move it outside")
    if wanted.is_dir():
        raise UserError(f"--gold-out {wanted}: is a folder; name a file")
    if not wanted.resolve().is_relative_to(folder.parent.resolve()):
        console.warn(f"{wanted} will hold original reports outside of the private folder; keep it where they may be")
    return wanted
