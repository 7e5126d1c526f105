"""Which report belongs to which images. A pair that could be wrong is refused: a wrong pair teaches a falsehood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from anonymize.quarantine import Quarantined
from vlp.corpus.config import PrepareConfig
from vlp.corpus.pair_day import Row, by_day
from vlp.corpus.source import refuse
from vlp.corpus.text import report_hash


class Pair(NamedTuple):
    """One study with its images and the report that was found for it."""

    study: str
    images: list[Row]
    report: Row | None
    how: str  # study, or a way of vlp.corpus.pair_day; "" without report


@dataclass
class Paired:
    """The outcome of :func:`pair`. Every row given stands in exactly one place."""

    studies: list[Pair] = field(default_factory=list)
    refused_images: list[Quarantined] = field(default_factory=list)
    refused_reports: list[Quarantined] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


_REMEDIES = {
    "ambiguous_pair": "Several reports and image sets fit each other; give both the same accession number.",
    "anatomy_mismatch": "The only images of this patient and day show another body part or side than the report names.",
    "patient_mismatch": "Report and images, or two images, of one study name different patients; correct the source.",
    "study_mismatch": "The index names the image in two studies; correct the source.",
    "report_without_images": "No image of this study, nor of this patient on this day, is in the safe export.",
    "images_without_report": "The study has no report; keep it with keep_unreported=true.",
    "duplicate_report": "The same report came twice; the first is kept.",
    "superseded_report": "A longer report of the same study holds this text; the longer one is kept.",
    "conflicting_reports": "Several different reports of one study; export the final version only.",
    "wrong_modality": "The image is no radiograph by its DICOM modality; add it to modalities if it should stay.",
    "duplicate_image_id": "The index names the image twice; one row is kept.",
}


def pair(images: Sequence[Row], reports: Sequence[Row], config: PrepareConfig) -> Paired:
    """Pair by study pseudonym (the accession number's, else the Study Instance UID's), else by patient and date.

    The order of the rows changes nothing but the positions in the quarantine.

    Args:
        images: rows of the safe image index (``image_id, patient, study, date, modality, body_part, laterality,
            description`` are read).
        reports: SafeReport rows (``report_id, patient, study, date, exam, technique, results, conclusion, text``).
        config: ``modalities``, ``keep_unreported``, ``pair_days`` and ``language`` are read.
    """
    out = Paired()
    by_study = _images_by_study(images, config.modalities, out)
    texts = _reports_by_study(reports, out)
    positions = {row["image_id"]: position for position, row in reversed(list(enumerate(images, 1)))}
    lonely: list[tuple[int, Row]] = []
    taken: dict[str, tuple[Row, str]] = {}
    for study, (position, report) in texts.items():
        if study not in by_study:
            lonely.append((position, report))
        elif by_study[study][0]["patient"] != report["patient"]:
            _refuse_report(out, report, position, "patient_mismatch")
        else:
            taken[study] = (report, "study")
    free = {study: rows for study, rows in by_study.items() if study not in taken}
    matched = by_day([report for _, report in lonely], free, config.pair_days, config.language)
    for (position, report), found in zip(lonely, matched, strict=True):
        if found.study:
            taken[found.study] = (report, found.how)
            out.notes[f"paired_by_{found.how}"] += 1
        else:
            _refuse_report(out, report, position, found.reason)
    for study, rows in sorted(by_study.items()):
        report, how = taken.get(study, (None, ""))
        if report is None and not config.keep_unreported:
            out.refused_images += [_refused_image(r, positions[r["image_id"]], "images_without_report") for r in rows]
        else:
            out.studies.append(Pair(study, list(rows), report, how))
    return out


def _images_by_study(images: Sequence[Row], modalities: Sequence[str], out: Paired) -> dict[str, list[Row]]:
    by_id: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for position, row in enumerate(images, 1):
        if (row.get("modality") or "").strip().upper() not in ("", *modalities):
            out.refused_images.append(_refused_image(row, position, "wrong_modality"))
            continue
        by_id[row["image_id"]].append((position, row))
    found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for rows in by_id.values():
        for name in ("patient", "study"):
            if len({row[name] for _, row in rows}) > 1:  # no one can say whose it is
                out.refused_images += [_refused_image(row, place, f"{name}_mismatch") for place, row in rows]
                break
        else:
            kept = min(rows, key=lambda item: (_content(item[1]), item[0]))
            out.refused_images += [_refused_image(r, p, "duplicate_image_id") for p, r in rows if p != kept[0]]
            found[kept[1]["study"] or f"S-{kept[1]['image_id']}"].append(kept)
    by_study: dict[str, list[Row]] = {}
    for study, rows in found.items():
        if len({row["patient"] for _, row in rows}) > 1:
            out.refused_images += [_refused_image(row, position, "patient_mismatch") for position, row in rows]
        else:
            by_study[study] = sorted((row for _, row in rows), key=lambda r: r["image_id"])
    return by_study


def _reports_by_study(reports: Sequence[Row], out: Paired) -> dict[str, tuple[int, Row]]:
    """The one report of each study; a report without study stands for itself."""
    found: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for position, row in enumerate(reports, 1):
        found[row["study"] or f"\0{row['patient']}\0{row['report_id']}"].append((position, row))
    kept: dict[str, tuple[int, Row]] = {}
    for study, rows in sorted(found.items()):
        best = min(rows, key=lambda item: (-len(item[1]["text"] or ""), _content(item[1]), item[0]))
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


def _content(row: Row) -> list[tuple[str, str]]:
    """An order of rows that does not depend on where they stand in the table."""
    return sorted((name, str(value)) for name, value in row.items())


def _says(report: Mapping[str, str]) -> str:
    return report_hash(report.get("results") or "", report.get("conclusion") or "", report["text"] or "")


def _refuse_report(out: Paired, row: Row, position: int, reason: str) -> None:
    out.refused_reports.append(refuse(row["report_id"], position, reason, _REMEDIES[reason]))


def _refused_image(row: Row, position: int, reason: str) -> Quarantined:
    return refuse(row["image_id"], position, reason, _REMEDIES[reason])
