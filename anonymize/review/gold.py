"""From decisions to gold for ``anonymize measure`` and ``anonymize adapt``, and to an estimate of what leaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anonymize.files import open_atomic
from anonymize.policy import Policy
from anonymize.report import Span
from anonymize.review.data import Pair
from anonymize.review.journal import Decision

LABELS = {
    "name": "NOM",
    "initials": "NOM",
    "birth_date": "DATE_NAISSANCE",
    "date": "DATE",
    "age": "AGE",
    "address": "ADRESSE",
    "postcode": "ZIP",
    "town": "VILLE",
    "institution": "HOPITAL",
    "phone": "TEL",
    "email": "MAIL",
    "url": "URL",
    "national_id": "SECU",
    "patient_id": "IPP",
    "visit_id": "NDA",
    "professional_id": "RPPS",
    "id": "ID",
}
"""Kinds as labels of gold sets; ``anonymize measure`` does not count AGE."""

_TOKEN = re.compile(r"\w+")
VISIBLE, PARTLY, HIDDEN, KEPT = "visible", "partly", "hidden", "kept"


@dataclass(frozen=True)
class Estimate:
    """A share with its 95 % Wilson score interval (Wilson 1927, JASA 22:209)."""

    count: int
    n: int
    share: float | None
    low: float | None
    high: float | None


def wilson(count: int, n: int) -> Estimate:
    """The share ``count / n``; None where ``n`` is 0."""
    from scipy.stats import binomtest

    if not n:
        return Estimate(count, 0, None, None, None)
    interval = binomtest(count, n).proportion_ci(method="wilson")
    return Estimate(count, n, round(count / n, 4), round(float(interval.low), 4), round(float(interval.high), 4))


def status(pair: Pair, span: Span, policy: Policy) -> str:
    """Whether the safe export hides ``span``: every word of it, some, none; or keeps it, as the policy says."""
    if getattr(policy, span.kind) == "keep" or span.kind == "age":
        return KEPT
    covered = bytearray(len(pair.original.text))
    for found in pair.spans:
        if getattr(policy, found.kind) != "keep":
            covered[found.start : found.end] = b"\1" * (found.end - found.start)
    words = list(_TOKEN.finditer(pair.original.text, span.start, span.end))
    if all(all(covered[word.start() : word.end()]) for word in words):
        return HIDDEN
    return PARTLY if any(covered[span.start : span.end]) else VISIBLE


def leaks(pair: Pair, decision: Decision, policy: Policy) -> tuple[int, int, int]:
    """Of an accepted report: spans that identify, those of them wholly visible, those visible in part."""
    found = [status(pair, span, policy) for span in decision.spans]
    counted = [item for item in found if item != KEPT]
    return len(counted), counted.count(VISIBLE), counted.count(PARTLY)


def estimate(results: Iterable[tuple[int, int, int]]) -> dict[str, Estimate]:
    """From :func:`leaks` of a random sample: reports that show an identifying word, and spans wholly visible.

    The interval of spans takes them as independent, which those of one report are not quite.
    """
    rows = list(results)
    return {
        "reports": wilson(sum(1 for _, visible, partly in rows if visible or partly), len(rows)),
        "spans": wilson(sum(row[1] for row in rows), sum(row[0] for row in rows)),
    }


def reviewed_start(order: Sequence[str], accepted: Iterable[str]) -> list[str]:
    """The reports at the start of a random order that are all accepted.

    Only they are a random sample of their own: which of the later ones were read may depend on their risk.
    """
    done = set(accepted)
    start: list[str] = []
    for name in order:
        if name not in done:
            break
        start.append(name)
    return start


def write_gold(path: Path, accepted: Iterable[tuple[Pair, Decision]], with_identity: bool = False) -> int:
    """One JSON object a line, mode 0600, whole or not at all; the number of lines.

    Args:
        path: holds originals: keep it where originals may be.
        accepted: reports and the spans that a person accepted.
        with_identity: add ``meta.known_patient``, for ``anonymize measure --known-identity``.
    """
    count = 0
    with open_atomic(path, "w", permissions=0o600) as stream:
        for row in _rows(accepted, with_identity):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _rows(accepted: Iterable[tuple[Pair, Decision]], with_identity: bool) -> Iterator[dict[str, Any]]:
    for pair, decision in accepted:
        row: dict[str, Any] = {
            "id": pair.report_id,
            "text": pair.original.text,
            "lang": pair.safe.language,
            "source": "review",
            "spans": [
                {"start": span.start, "end": span.end, "label": LABELS[span.kind]}
                for span in sorted(decision.spans, key=lambda span: span.start)
            ],
        }
        if with_identity:
            row["meta"] = {
                "known_patient": {key: value for key, value in asdict(pair.original.identity).items() if value}
            }
        yield row
