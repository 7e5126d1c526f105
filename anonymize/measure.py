"""How much would leak: scores predicted spans against gold, by the token and by the document.

Tokens are ``\\w+``. A gold token is hidden when all its gold characters are covered by a predicted span of any kind
(redact recall as in Tannier et al. 2024, Methods Inf Med). Intervals are 95 % bootstrap percentiles over documents.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anonymize.config import ConfigError
from anonymize.engine import Anonymizer
from anonymize.report import Identity, Span
from anonymize.text import alternatives, fold

COUNTED = frozenset(
    ("NOM", "PRENOM", "PERSON", "DATE", "DATE_NAISSANCE", "ADRESSE", "ZIP", "VILLE", "LOC", "HOPITAL", "TEL", "MAIL")
) | {"URL", "SECU", "IPP", "NDA", "RPPS", "ID"}
_TOKEN = re.compile(r"\w+")
_CLOCK = re.compile(r"(?<!\d)\d{1,2} ?[:hH] ?\d{2}(?:[:m]\d{2})?(?!\d)")


@dataclass(frozen=True)
class Gold:
    """One document with its gold spans ``(start, end, label)`` and, where given, the record's own columns."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    identity: Identity


def read_gold(path: Path) -> Iterator[Gold]:
    """Documents of a JSONL file: ``text``, ``spans`` (``start``, ``end``, ``label``), ``meta.known_patient``."""
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                spans = tuple((span["start"], span["end"], span["label"]) for span in row["spans"])
                text = row["text"]
            except (ValueError, KeyError, TypeError):
                raise ConfigError(f"{path}, line {number}: needs 'text' and 'spans' with start, end, label") from None
            known = (row.get("meta") or {}).get("known_patient") or {}
            yield Gold(
                text,
                spans,
                Identity(
                    surname=known.get("last_name", ""),
                    given_name=known.get("first_name", ""),
                    birth_date=known.get("birth_date", ""),
                    sex=known.get("sex", ""),
                ),
            )


def score(
    gold: Sequence[Gold], predicted: Sequence[Sequence[Span]], titles: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """redact_recall, redact_full, leak_rate, false_positives_per_1000 and precision, each with ``low``, ``high``;
    recall by label. ``titles`` are neither right nor wrong."""
    title = re.compile(rf"(?<!\w){alternatives(list(titles))}(?!\w)") if titles else None
    rows = np.array([_document(g, p, title) for g, p in zip(gold, predicted, strict=True)], dtype=float).reshape(-1, 7)
    by_label: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for document, spans in zip(gold, predicted, strict=True):
        covered = _covered(document.text, spans)
        for start, end, label in document.spans:
            if label in COUNTED:
                tokens = list(_TOKEN.finditer(document.text, start, end))
                by_label[label][0] += sum(all(covered[t.start() : t.end()]) for t in tokens)
                by_label[label][1] += len(tokens)
    values = _ratios(rows.sum(axis=0))
    draws = np.random.default_rng(seed).integers(0, len(rows), (1000, len(rows))) if len(rows) else []
    samples = [_ratios(rows[draw].sum(axis=0)) for draw in draws]
    out: dict[str, Any] = {"documents": len(rows)}
    for name, value in values.items():
        low, high = np.nanpercentile([s[name] for s in samples], [2.5, 97.5]) if samples else (value, value)
        out[name] = {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
    out["recall_by_label"] = {label: round(hit / n, 4) for label, (hit, n) in sorted(by_label.items()) if n}
    return out


def measure(
    anonymizer: Anonymizer, gold: Sequence[Gold], use_identity: bool = True
) -> tuple[dict[str, Any], list[list[Span]]]:
    """Detect in every document and :func:`score` the spans; adds ``documents_per_second``."""
    began = time.perf_counter()
    predicted = []
    for document in gold:
        known = anonymizer.known(document.identity) if use_identity else None
        rules = anonymizer.by_rule(document.text)
        spans = anonymizer.combine(document.text, rules, known)
        extra = anonymizer.names_in(document.text, spans)
        if extra and anonymizer.config.second_pass:
            known = anonymizer.known(document.identity if use_identity else Identity(), extra)
            spans = anonymizer.combine(document.text, rules, known)
        predicted.append(spans)
    seconds = time.perf_counter() - began
    titles = anonymizer.pack["detectors"]["names"]["titles"]
    result = score(gold, predicted, titles)
    result["documents_per_second"] = round(len(gold) / seconds, 1) if seconds else 0.0
    return result, predicted


def _covered(text: str, spans: Sequence[Span]) -> bytearray:
    covered = bytearray(len(text))
    for span in spans:
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    return covered


def _document(gold: Gold, spans: Sequence[Span], title: re.Pattern[str] | None) -> tuple[int, ...]:
    """gold tokens, hidden, has gold, fully hidden, gold spans, leaked, false positives and tokens (packed below)."""
    covered = _covered(gold.text, spans)
    counted, neutral = bytearray(len(gold.text)), bytearray(len(gold.text))
    leaked = total = 0
    for start, end, label in gold.spans:
        target = counted if label in COUNTED else neutral
        target[start:end] = b"\1" * (end - start)
        if label in COUNTED:
            total += 1
            leaked += not any(covered[start:end])
    for pattern, text in ((_CLOCK, gold.text), (title, fold(gold.text))):
        for match in pattern.finditer(text) if pattern else ():
            neutral[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    tally: Counter[str] = Counter()
    for token in _TOKEN.finditer(gold.text):
        tally["tokens"] += 1
        inside = [index for index in range(*token.span()) if counted[index]]
        if inside:
            tally["gold"] += 1
            tally["hidden"] += all(covered[index] for index in inside)
        elif any(covered[token.start() : token.end()]) and not any(neutral[token.start() : token.end()]):
            tally["false"] += 1
    full = tally["gold"] > 0 and tally["gold"] == tally["hidden"]
    return (
        tally["gold"],
        tally["hidden"],
        full + 1_000_000 * (tally["gold"] > 0),
        total,
        leaked,
        tally["false"],
        tally["tokens"],
    )


def _ratios(sums: Any) -> dict[str, float]:
    gold, hidden, packed, total, leaked, false, tokens = (float(value) for value in sums)
    with_gold, full = divmod(packed, 1_000_000)
    nan = float("nan")
    return {
        "redact_recall": hidden / gold if gold else nan,
        "redact_full": full / with_gold if with_gold else nan,
        "leak_rate": leaked / total if total else nan,
        "false_positives_per_1000": 1000 * false / tokens if tokens else nan,
        "precision": hidden / (hidden + false) if hidden + false else nan,
    }
