"""``anonymize adapt``: label from columns, find what recurs, train on, measure the gain on held-out patients."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from anonymize.adapt.recurring import Recurrence
from anonymize.adapt.silver import Exchange, Silver, label
from anonymize.console import Console, UserError
from anonymize.detectors.hospital import FILE
from anonymize.detectors.outside_model import known_labels, plain_label
from anonymize.engine import Anonymizer
from anonymize.files import write_json
from anonymize.keys import Keys
from anonymize.measure import Gold, read_gold, score
from anonymize.ner.grammar import Labelled
from anonymize.ner.train import NerConfig, train
from anonymize.policy import ReportsConfig
from anonymize.report import KINDS, Identity

# What the columns name, as labels of the scorer.
_GOLD_LABEL = {
    "name": "NOM",
    "initials": "NOM",
    "birth_date": "DATE_NAISSANCE",
    "address": "ADRESSE",
    "postcode": "ZIP",
    "town": "VILLE",
    "phone": "TEL",
    "patient_id": "IPP",
    "visit_id": "NDA",
    "id": "ID",
    "professional_id": "RPPS",
}


class AdaptConfig(ReportsConfig):
    """Configuration of ``anonymize adapt``: that of ``anonymize reports`` and what training needs."""

    reports: int = Field(default=20_000, ge=20, description="reports of the export to learn from")
    documents: int = Field(
        default=10_000, ge=10, description="generated documents beside them, so that nothing is forgotten"
    )
    epochs: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    minimum_patients: int = Field(default=3, ge=2, description="patients in whose reports a term must stand to recur")
    seed: int = 0


def run_adapt(
    config: AdaptConfig, source: Path, out: Path, console: Console, corrections: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write a model folder with ``hospital.json`` to ``out`` (mode 0700: it names staff and the hospital).

    Args:
        config: language, columns, sizes.
        source: the export, as for ``anonymize reports``.
        out: folder of the model, used by ``ner=OUT``.
        console: for progress.
        corrections: annotated reports from ``anonymize review``, learnt from as they are.

    Returns:
        reports and patients used, terms found, and the words of the columns that are hidden in reports of held-out
        patients without looking at their columns: before, with terms, with the new model and terms.

    Raises:
        UserError: the export has too few usable reports, or the columns name nobody in them.
    """
    began = time.monotonic()
    base = ReportsConfig(**config.model_dump(include=set(ReportsConfig.model_fields)))
    engine = Anonymizer(base, Keys(bytes(32)))
    recurrence = Recurrence(engine.pack, config.minimum_patients)
    exchange = Exchange(engine.pack, config.seed)
    learnt: list[Labelled] = []
    held_out: list[Silver] = []
    patients: set[str] = set()
    for silver in console.track(label(engine, source, config.reports), None, "reading", "reports"):
        patients.add(silver.report.identity.patient_id)
        if silver.held_out:
            held_out.append(silver)
            continue
        recurrence.add(silver)
        learnt.append(exchange.document(silver))
    named = sum(len(silver.from_columns) for silver in held_out)
    if len(learnt) < 10 or not named:
        raise UserError(
            f"{source}: {len(learnt)} usable reports for training, {named} mentions of the columns' values in "
            f"{len(held_out)} held-out reports; give more reports or say which columns hold names (columns.surname=...)"
        )
    for path in corrections:
        learnt += [_corrected(gold) for gold in read_gold(path)]
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    settings = NerConfig(
        language=config.language,
        documents=config.documents,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )
    report = train(settings, out, console, learnt, engine.model)
    terms = recurrence.terms()
    write_json(
        out / FILE,
        {
            "terms": [{"text": term.text, "kind": term.kind, "patients": term.patients} for term in terms],
            "lines": [{"shape": line, "patients": count} for line, count in recurrence.lines()],
        },
    )
    before = _blind(engine, held_out)
    after = _blind(Anonymizer(base.model_copy(update={"ner": str(out)}), Keys(bytes(32))), held_out)
    summary = {
        "reports": len(learnt),
        "patients": len(patients),
        "held_out_reports": len(held_out),
        "held_out_mentions": named,
        "terms": {kind: sum(term.kind == kind for term in terms) for kind in sorted({term.kind for term in terms})},
        "recurring_lines": len(recurrence.lines()),
        "before": before,
        "after": after,
        "gain": round(after["redact_recall"] - before["redact_recall"], 4),
        "loss": report["loss"],
        "seconds": round(time.monotonic() - began, 1),
    }
    write_json(out / "adapt.json", summary)
    return summary


def _corrected(gold: Gold) -> Labelled:
    """An annotated report; labels of other sets become kinds, unknown ones are no label."""
    kinds = {**known_labels(), **{plain_label(kind): kind for kind in KINDS}}
    spans = ((start, end, kinds.get(plain_label(label), "")) for start, end, label in gold.spans)
    return Labelled(gold.text, tuple(span for span in sorted(spans) if span[2]))


def _blind(engine: Anonymizer, held_out: Sequence[Silver]) -> dict[str, Any]:
    """How much of what the columns name is hidden without looking at the columns."""
    gold = [
        Gold(
            silver.report.text,
            tuple((s.start, s.end, _GOLD_LABEL[s.kind]) for s in silver.from_columns if s.kind in _GOLD_LABEL),
            Identity(),
        )
        for silver in held_out
    ]
    result = score(gold, [engine.find(document.text) for document in gold], engine.pack["detectors"]["names"]["titles"])
    return {
        "redact_recall": result["redact_recall"] or 0.0,
        "interval": result["intervals"]["redact_recall"],
        "redact_full": result["redact_full"],
        "other_words_hidden_per_1000": result["false_positives_per_1000"],
        "by_label": {name: part["recall"] for name, part in result["by_label"].items()},
    }
