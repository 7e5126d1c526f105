"""How much would leak: scores predicted spans against gold, by the token and by the document.

Tokens are ``\\w+``. A gold token is hidden when all its gold characters are covered by a predicted span of any kind
(redact recall as in Tannier et al. 2024, Methods Inf Med). Intervals are 95 % bootstrap percentiles over documents.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from anonymize.config import ConfigError
from anonymize.detectors.protected_terms import ProtectedTerms
from anonymize.engine import Anonymizer, settle
from anonymize.languages import Pack
from anonymize.report import Identity, Span
from anonymize.text import alternatives, fold, view_of

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
            yield Gold(text, spans, known_patient(row))


def known_patient(row: dict[str, Any]) -> Identity:
    """What ``meta.known_patient`` of a row says, as the record's columns would: all fields of Identity by their names, and
    ``last_name``, ``first_name``."""
    known = (row.get("meta") or {}).get("known_patient") or {}
    named = {item.name: str(known.get(item.name) or "") for item in fields(Identity) if item.name != "staff"}
    named["surname"] = named["surname"] or str(known.get("last_name") or "")
    named["given_name"] = named["given_name"] or str(known.get("first_name") or "")
    return Identity(**named, staff=tuple(map(str, known.get("staff") or ())))


def score(
    gold: Sequence[Gold],
    predicted: Sequence[Sequence[Span]],
    titles: Sequence[str] = (),
    damage: ClinicalTerms | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers of ``anonymize measure`` that come from the spans alone.

    Args:
        gold: documents with their spans.
        predicted: spans found in each, in the same order.
        titles: words before names that are neither right nor wrong.
        damage: what must survive; without it ``clinical_damage`` is None.
        seed: of the bootstrap.

    Returns:
        documents, tokens, gold_tokens, redact_recall, redact_full, precision, false_positives_per_1000, leak_rate,
        clinical_damage (protected terms altered per 1,000 of them), ``intervals`` of these, and ``by_label`` with Wilson
        intervals over tokens.
    """
    title = re.compile(rf"(?<!\w){alternatives(list(titles))}(?!\w)") if titles else None
    tallies = [_document(g, p, title, damage) for g, p in zip(gold, predicted, strict=True)]
    rows = np.array([astuple(tally) for tally in tallies], dtype=float).reshape(-1, len(fields(_Tally)))
    values = _ratios(rows.sum(axis=0))
    draws = np.random.default_rng(seed).integers(0, len(rows), (1000, len(rows))) if len(rows) else []
    samples = [_ratios(rows[draw].sum(axis=0)) for draw in draws]
    intervals = {}
    for name in values:
        drawn = [sample[name] for sample in samples if not math.isnan(sample[name])]
        intervals[name] = [_rounded(float(v)) for v in np.percentile(drawn, [2.5, 97.5])] if drawn else [None, None]
    return {
        "documents": len(rows),
        "tokens": sum(tally.tokens for tally in tallies),
        "gold_tokens": sum(tally.gold for tally in tallies),
        **{name: _rounded(value) for name, value in values.items()},
        "intervals": intervals,
        "by_label": _by_label(gold, predicted),
    }


def _by_label(gold: Sequence[Gold], predicted: Sequence[Sequence[Span]]) -> dict[str, dict[str, Any]]:
    from scipy.stats import binomtest

    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for document, spans in zip(gold, predicted, strict=True):
        covered = _covered(document.text, spans)
        for start, end, label in document.spans:
            if label in COUNTED:
                tokens = list(_TOKEN.finditer(document.text, start, end))
                hidden = [all(covered[token.start() : token.end()]) for token in tokens]
                entry = counts[label]
                entry[0] += sum(hidden)
                entry[1] += len(hidden)
                entry[2] += not any(covered[start:end])
                entry[3] += 1
    out: dict[str, dict[str, Any]] = {}
    for label, (hidden, tokens, leaked, spans) in sorted(counts.items()):
        if tokens:
            interval = binomtest(hidden, tokens).proportion_ci(method="wilson")
            out[label] = {
                "recall": _rounded(hidden / tokens),
                "low": _rounded(float(interval.low)),
                "high": _rounded(float(interval.high)),
                "gold_tokens": tokens,
                "spans": spans,
                "leaked_spans": leaked,
            }
    return out


def measure(
    anonymizer: Anonymizer, gold: Sequence[Gold], use_identity: bool = False
) -> tuple[dict[str, Any], list[list[Span]]]:
    """Detect in every document and :func:`score` the spans; adds documents_per_second (of one core's time) and what
    was measured: version and fingerprints."""
    settle()
    began = time.process_time()
    predicted = list(anonymizer.find_each((item.text, item.identity if use_identity else None) for item in gold))
    seconds = time.process_time() - began
    pack = anonymizer.pack
    result = score(gold, predicted, pack["detectors"]["names"]["titles"], ClinicalTerms(pack))
    result["documents_per_second"] = round(len(gold) / seconds, 1) if seconds else 0.0
    return {**result, "known_identity": use_identity, **anonymizer.fingerprints()}, predicted


class ClinicalTerms:
    """What must survive: eponyms in use, words of radiology, measures with their units, levels of the spine."""

    def __init__(self, pack: Pack) -> None:
        self._protected = ProtectedTerms(pack)
        self._words = pack.lists.clinical
        units = alternatives(pack["detectors"]["identifiers"]["units"])
        self._measure = re.compile(
            rf"(?<![\w.,/])\d{{1,4}}(?:[.,]\d{{1,3}})?(?: ?[x*] ?\d{{1,4}}(?:[.,]\d{{1,3}})?){{0,2}} ?{units}(?!\w)"
            rf"|(?<!\w)[cdtls]\d{{1,2}}(?:-[cdtls]?\d{{1,2}})?(?!\w)"
        )

    def find(self, text: str) -> list[tuple[int, int]]:
        """Ranges of the terms in ``text``; they may overlap."""
        view = view_of(text)
        ranges = [(match.start(), match.end()) for match in self._measure.finditer(view.folded)]
        ranges += [(token.start, token.end) for token in view.tokens if token.folded in self._words]
        return ranges + self._protected.phrases(view)


def _covered(text: str, spans: Sequence[Span]) -> bytearray:
    covered = bytearray(len(text))
    for span in spans:
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    return covered


@dataclass
class _Tally:
    """Counts of one document."""

    tokens: int = 0
    gold: int = 0
    hidden: int = 0
    false: int = 0
    with_gold: int = 0
    full: int = 0
    spans: int = 0
    leaked: int = 0
    terms: int = 0
    altered: int = 0


def _document(gold: Gold, spans: Sequence[Span], title: re.Pattern[str] | None, damage: ClinicalTerms | None) -> _Tally:
    covered = _covered(gold.text, spans)
    counted, neutral = bytearray(len(gold.text)), bytearray(len(gold.text))
    tally = _Tally()
    for start, end, label in gold.spans:
        target = counted if label in COUNTED else neutral
        target[start:end] = b"\1" * (end - start)
        if label in COUNTED:
            tally.spans += 1
            tally.leaked += not any(covered[start:end])
    for pattern, text in ((_CLOCK, gold.text), (title, fold(gold.text))):
        for match in pattern.finditer(text) if pattern else ():
            neutral[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    for token in _TOKEN.finditer(gold.text):
        tally.tokens += 1
        inside = [index for index in range(*token.span()) if counted[index]]
        if inside:
            tally.gold += 1
            tally.hidden += all(covered[index] for index in inside)
        elif any(covered[token.start() : token.end()]) and not any(neutral[token.start() : token.end()]):
            tally.false += 1
    tally.with_gold = int(tally.gold > 0)
    tally.full = int(0 < tally.gold == tally.hidden)
    for start, end in damage.find(gold.text) if damage else ():
        if not any(counted[start:end]) and not any(neutral[start:end]):
            tally.terms += 1
            tally.altered += any(covered[start:end])
    return tally


def _ratios(sums: Any) -> dict[str, float]:
    tally = _Tally(*(float(value) for value in sums))  # type: ignore[arg-type]

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole else math.nan

    return {
        "redact_recall": ratio(tally.hidden, tally.gold),
        "redact_full": ratio(tally.full, tally.with_gold),
        "precision": ratio(tally.hidden, tally.hidden + tally.false),
        "false_positives_per_1000": 1000 * ratio(tally.false, tally.tokens),
        "leak_rate": ratio(tally.leaked, tally.spans),
        "clinical_damage": 1000 * ratio(tally.altered, tally.terms),
    }


def _rounded(value: float) -> float | None:
    """Four decimals; None where there was nothing to count (JSON has no NaN)."""
    return None if math.isnan(value) else round(value, 4)
