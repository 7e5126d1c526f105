"""The card of a trained tagger: what went in, how it scores, what it must not be used for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anonymize.files import write_bytes_atomic
from anonymize.ner.grammar import Labelled

_COLUMNS = ("redact_recall", "redact_full", "leak_rate", "false_positives_per_1000", "clinical_damage")


def marked(document: Labelled) -> str:
    """A document with its labels written in: ``[name: Dupont]``."""
    pieces, position = [], 0
    for start, end, kind in document.spans:
        pieces += [document.text[position:start], f"[{kind}: {document.text[start:end]}]"]
        position = end
    return "".join([*pieces, document.text[position:]]) + "\n" + "-" * 40


def write_card(folder: Path, report: dict[str, Any], gold: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Write ``folder/README.md``.

    Args:
        folder: of the model.
        report: what :func:`anonymize.ner.train.train` returned.
        gold: annotated files that the training never saw.

    Returns:
        the scores on each file of ``gold``: of the rules alone, of the tagger alone and of both.
    """
    scores = {path.stem: _scores(folder, report["language"], path) for path in gold}
    settings, shape = report["settings"], report["shape"]
    language = Path(report["language"]).name
    lines = [
        f"# Tagger of names, places and institutions: {language}",
        "",
        f"Trained by `anonymize train-ner --language {language}` (version {report['version']}) on {report['documents']}",
        f"documents ({report['tokens']} tokens) that the pack's grammar generated, {settings['epochs']} epochs, seed",
        f"{settings['seed']}. Nothing else went in: no report of a hospital and no pretrained weights. Names of training,",
        "tuning and test text differ.",
        "",
        f"Hashed word features, {1 + len(shape['dilations'])} convolutions, {shape['width']} wide; half precision,",
        f"{report['bytes'] / 1e6:.1f} MB. Runs with numpy. Tags: {', '.join(shape['labels'][1:])}. Threshold",
        f"{report['threshold']}, set on tuning text.",
        "",
        "| generated text | words found | false alarms per 1,000 | complete documents |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {part['recall']:.4f} | {part['false_alarms_per_1000']:.2f} | {part['complete']:.3f} |"
            for name, part in (("tuning", report["tuning"]), ("test", report["test"]))
        ),
        "",
    ]
    if scores:
        lines += [
            "Sets that no training text came from (`anonymize measure --gold FILE`, without the patient's identity; 95 %",
            "intervals over documents). The rules, the grammar and the checks behind the tagger were written while their misses",
            "were read: these are development figures, expect less on other reports.",
            "",
            "| set | detectors | words hidden | documents complete | spans wholly missed | false alarms per 1,000 "
            "| clinical terms altered per 1,000 |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for name, parts in scores.items():
            for detectors, result in parts.items():
                low, high = result["intervals"]["redact_recall"]
                cells = [_cell(result[column]) for column in _COLUMNS]
                lines.append(
                    f"| {name} | {detectors} | {cells[0]} [{_cell(low)}, {_cell(high)}] | "
                    + " | ".join(cells[1:])
                    + " |"
                )
        lines.append("")
    lines += [
        "Inputs (first 16 hex digits of SHA-256): "
        + ", ".join(f"{name} {digest}" for name, digest in report["inputs"].items())
        + ".",
        "",
        "Lists: INSEE first names and surnames (Licence Ouverte 2.0), US Census 1990 (public domain), Faker and mimesis (MIT),",
        "GeoNames (CC BY 4.0), wordfreq (CC BY-SA 4.0). The model itself: Apache-2.0.",
        "",
        "Use it beside the rules, never instead of them, and measure it on reports of your own hospital before you sign.",
        "",
    ]
    write_bytes_atomic(folder / "README.md", "\n".join(lines).encode())
    return scores


def _scores(folder: Path, language: str, path: Path) -> dict[str, Any]:
    from anonymize.engine import Anonymizer
    from anonymize.keys import Keys
    from anonymize.measure import ClinicalTerms, read_gold, score
    from anonymize.policy import ReportsConfig

    documents = list(read_gold(path))
    out = {}
    for name, ner in (("rules", "none"), ("rules and tagger", str(folder))):
        engine = Anonymizer(ReportsConfig(language=language, ner=ner), Keys(bytes(32)))
        titles = engine.pack["detectors"]["names"]["titles"]
        found = [engine.find(document.text) for document in documents]
        out[name] = score(documents, found, titles, ClinicalTerms(engine.pack))
    return out


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value <= 1 else f"{value:.2f}"
