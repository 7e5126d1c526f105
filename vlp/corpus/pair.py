"""Which report belongs to which images. A pair that could be wrong is refused: a wrong pair teaches a falsehood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anonymize.quarantine import Quarantined
from vlp.corpus.source import refuse
from vlp.corpus.text import report_hash

Row = Mapping[str, Any]


@dataclass
class Paired:
    """The outcome of :func:`pair`. Every row given stands in exactly one place."""

    studies: list[tuple[str, list[Row], Row | None]] = field(default_factory=list)  # study, its images, its report
    refused_images: list[Quarantined] = field(default_factory=list)
    refused_reports: list[Quarantined] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


_REMEDIES = {
    "ambiguous_pair": "Several reports and image sets fit each other; give both the same accession number.",
    "patient_mismatch": "Report and images, or two images, of one study name different patients; correct the source.",
    "report_without_images": "No image of this study, nor of this patient on this day, is in the safe export.",
    "images_without_report": "The study has no report; keep it with keep_unreported=true.",
    "duplicate_report": "The same report came twice; the first is kept.",
    "superseded_report": "A longer report of the same study holds this text; the longer one is kept.",
    "conflicting_reports": "Several different reports of one study; export the final version only.",
    "duplicate_image_id": "The index names the image twice; the first is kept.",
}


def pair(images: Sequence[Row], reports: Sequence[Row], keep_unreported: bool = True) -> Paired:
    """Pair by study pseudonym, else by patient and date where exactly one report and one study are left for that day.

    Args:
        images: rows of the safe image index (``image_id, patient, study, date`` are read).
        reports: SafeReport rows (``report_id, patient, study, date, results, conclusion, text``).
    """
    out = Paired()
    by_study = _images_by_study(images, out)
    texts = _reports_by_study(reports, out)
    positions = {row["image_id"]: position for position, row in reversed(list(enumerate(images, 1)))}
    lonely: list[tuple[int, Row]] = []
    taken: dict[str, Row] = {}
    for study, (position, report) in texts.items():
        if study not in by_study:
            lonely.append((position, report))
        elif by_study[study][0]["patient"] != report["patient"]:
            _refuse_report(out, report, position, "patient_mismatch")
        else:
            taken[study] = report
    taken.update(_by_day(lonely, by_study, taken, out))
    for study, rows in by_study.items():
        report = taken.get(study)
        if report is None and not keep_unreported:
            out.refused_images += [_refused_image(r, positions[r["image_id"]], "images_without_report") for r in rows]
        else:
            out.studies.append((study, list(rows), report))
    out.studies.sort(key=lambda item: item[0])
    return out


def _images_by_study(images: Sequence[Row], out: Paired) -> dict[str, list[Row]]:
    found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    seen: set[str] = set()
    for position, row in enumerate(images, 1):
        if row["image_id"] in seen:
            out.refused_images.append(_refused_image(row, position, "duplicate_image_id"))
            continue
        seen.add(row["image_id"])
        found[row["study"] or f"S-{row['image_id']}"].append((position, row))
    kept: dict[str, list[Row]] = {}
    for study, rows in found.items():
        if len({row["patient"] for _, row in rows}) > 1:
            out.refused_images += [_refused_image(row, position, "patient_mismatch") for position, row in rows]
        else:
            kept[study] = sorted((row for _, row in rows), key=lambda r: r["image_id"])
    return kept


def _reports_by_study(reports: Sequence[Row], out: Paired) -> dict[str, tuple[int, Row]]:
    found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for position, row in enumerate(reports, 1):
        found[row["study"] or f"S-{row['report_id']}-{position}"].append((position, row))
    kept: dict[str, tuple[int, Row]] = {}
    for study, rows in found.items():
        best = max(rows, key=lambda item: (len(item[1]["text"] or ""), -item[0]))
        others = [item for item in rows if item is not best]
        conflict = any(row["patient"] != best[1]["patient"] for _, row in others)
        held = [
            _says(row) == _says(best[1]) or (row["text"] or "").strip() in (best[1]["text"] or "") for _, row in others
        ]
        if conflict or not all(held):
            reason = "patient_mismatch" if conflict else "conflicting_reports"
            for position, row in rows:
                _refuse_report(out, row, position, reason)
            continue
        for position, row in others:
            same = _says(row) == _says(best[1])
            _refuse_report(out, row, position, "duplicate_report" if same else "superseded_report")
        kept[study] = best
    return kept


def _by_day(
    lonely: Sequence[tuple[int, Row]], by_study: Mapping[str, Sequence[Row]], taken: Mapping[str, Row], out: Paired
) -> dict[str, Row]:
    """Reports whose study has no images, given to the only unreported study of the same patient and day."""
    free: dict[tuple[str, str], list[str]] = defaultdict(list)
    for study, rows in by_study.items():
        day = next((r["date"] for r in rows if r["date"]), "")
        if study not in taken and day and rows[0]["patient"]:
            free[rows[0]["patient"], day[:10]].append(study)
    waiting: dict[tuple[str, str], list[tuple[int, Row]]] = defaultdict(list)
    for position, report in lonely:
        waiting[report["patient"], (report["date"] or "")[:10]].append((position, report))
    given: dict[str, Row] = {}
    for key, items in waiting.items():
        studies = free.get(key, [])
        if len(items) == 1 and len(studies) == 1:
            given[studies[0]] = items[0][1]
            out.notes["paired_by_date"] += 1
            continue
        reason = "ambiguous_pair" if studies else "report_without_images"
        for position, report in items:
            _refuse_report(out, report, position, reason)
    return given


def _says(report: Row) -> str:
    return report_hash(report.get("results") or "", report.get("conclusion") or "", report["text"] or "")


def _refuse_report(out: Paired, row: Row, position: int, reason: str) -> None:
    out.refused_reports.append(refuse(row["report_id"], position, reason, _REMEDIES[reason]))


def _refused_image(row: Row, position: int, reason: str) -> Quarantined:
    return refuse(row["image_id"], position, reason, _REMEDIES[reason])
