"""The audit trail: what was done with which key and configuration. Each line holds the hash of the line before it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from anonymize import __version__
from anonymize.files import fingerprint
from anonymize.keys import private_folder

FIRST = "0" * 64


def append_audit(out: Path, stage: str, key_identifier: str, config: BaseModel, counts: dict[str, Any]) -> None:
    """Append one line to ``out/audit.jsonl``. ``counts`` holds numbers and reason codes only, never text or names."""
    row = {
        "tool": f"anonymize {__version__}",
        "stage": stage,
        "key": key_identifier,
        "config": fingerprint(config),
        "counts": counts,
    }
    append_chained(out / "audit.jsonl", row)


def reveal_log(out: Path) -> Path:
    """Where every call of ``anonymize reveal`` is written down."""
    return private_folder(out, create=False) / "reveal.log.jsonl"


def append_reveal(out: Path, asked: dict[str, Any], reason: str, outcome: str, count: int) -> None:
    """Append one call of ``anonymize reveal``: who asked for which pseudonym, why, and how many reports were shown."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = ""
    who = {"user": user, "uid": os.getuid() if hasattr(os, "getuid") else None}
    append_chained(
        reveal_log(out), {**who, **asked, "reason": reason, "outcome": outcome, "reports": count}, permissions=0o600
    )


def append_chained(path: Path, row: dict[str, Any], *, permissions: int = 0o644) -> None:
    """Append ``row`` with the time and the hash of the line before it: one write, whole or absent, flushed to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, permissions) as handle:
        lines = path.read_bytes().splitlines()
        last = hashlib.sha256(lines[-1]).hexdigest() if lines else FIRST
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time, **row, "previous": last}, ensure_ascii=False)
        os.write(handle, f"{line}\n".encode())
        os.fsync(handle)


def broken_line(path: Path) -> int | None:
    """Number (from 1) of the first line that does not continue the one before it; None where the chain is whole."""
    previous = FIRST
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            return number
        if row.get("previous") != previous:
            return number
        previous = hashlib.sha256(line).hexdigest()
    return None


@contextmanager
def _locked(path: Path, permissions: int) -> Iterator[int]:
    """``path`` open for appending; two processes that append take turns."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, permissions)
    try:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        except (ImportError, OSError):  # no such lock on this system or file system
            pass
        yield handle
    finally:
        os.close(handle)
