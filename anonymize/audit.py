"""The audit trail: what was done with which key and configuration. Each line holds the hash of the line before it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from anonymize import __version__
from anonymize.files import append_jsonl, fingerprint

FIRST = "0" * 64


def append_audit(out: Path, stage: str, key_identifier: str, config: BaseModel, counts: dict[str, Any]) -> None:
    """Append one line to ``out/audit.jsonl``. ``counts`` holds numbers and reason codes only, never text or names."""
    path = out / "audit.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": f"anonymize {__version__}",
        "stage": stage,
        "key": key_identifier,
        "config": fingerprint(config),
        "counts": counts,
        "previous": hashlib.sha256(lines[-1]).hexdigest() if lines else FIRST,
    }
    append_jsonl(path, row)


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
