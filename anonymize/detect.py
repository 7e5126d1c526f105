"""Spans of a JSON Lines file, for other programs: positions only, no text."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from anonymize.console import Console
from anonymize.engine import Anonymizer
from anonymize.files import open_atomic
from anonymize.measure import known_patient
from anonymize.report import Span


def detect_file(
    anonymizer: Anonymizer, source: Path, out: Path, known_identity: bool, console: Console
) -> dict[str, Any]:
    """Write ``{"id", "spans": [{"start", "end", "label", "score", "detector"}]}`` for each line of ``source``.

    Offsets are code points of ``text`` as given. A line that is no object with a text becomes
    ``{"line", "id", "error"}``. ``out`` appears whole or not at all.

    Returns:
        documents, refused, spans by label, seconds, documents per second, version and fingerprints.
    """
    began = time.monotonic()
    labels: Counter[str] = Counter()
    documents = refused = 0
    with source.open("rb") as stream:
        total = sum(1 for _ in stream)
    with source.open("rb") as lines, open_atomic(out) as sink:
        for number, line in enumerate(console.track(lines, total, "detect", "documents"), start=1):
            if not line.strip():
                continue
            row, error = _row(line)
            if error:
                refused += 1
                answer: dict[str, Any] = {"line": number, "id": row.get("id"), "spans": [], "error": error}
            else:
                documents += 1
                spans = anonymizer.find(row["text"], known_patient(row) if known_identity else None)
                labels.update(span.kind for span in spans)
                answer = {"id": row.get("id"), "spans": [_span(span) for span in spans]}
            sink.write((json.dumps(answer, ensure_ascii=False) + "\n").encode())
    seconds = time.monotonic() - began
    return {
        "documents": documents,
        "refused": refused,
        "spans": dict(labels.most_common()),
        "seconds": round(seconds, 1),
        "documents_per_second": round(documents / seconds, 1) if seconds else 0.0,
        **anonymizer.fingerprints(),
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "start": span.start,
        "end": span.end,
        "label": span.kind,
        "score": round(span.score, 3),
        "detector": span.rule,
    }


def _row(line: bytes) -> tuple[dict[str, Any], str]:
    """The object of a line, and what is wrong with it ("" = nothing)."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError):
        return {}, "not_json"
    if not isinstance(row, dict):
        return {}, "not_an_object"
    if not isinstance(row.get("text"), str):
        return {"id": row.get("id")}, "no_text"
    if not isinstance(row.get("meta") or {}, dict):
        return {"id": row.get("id")}, "bad_meta"
    return row, ""
