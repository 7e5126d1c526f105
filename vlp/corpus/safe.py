"""The safe export as a source: what ``anonymize`` wrote, paired into studies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anonymize.console import UserError
from anonymize.files import read_rows
from vlp.corpus.anatomy import anatomy_of, laterality_of, named, view_of
from vlp.corpus.config import PrepareConfig
from vlp.corpus.pair import Pair, pair
from vlp.corpus.pair_day import Row
from vlp.corpus.source import ImageFile, PlannedStudy, Source
from vlp.study import LABELS

RANGES = {
    **dict.fromkeys(LABELS, (0.0, 1.0)),
    **dict.fromkeys(("kl_grade", "kl_right", "kl_left"), (0.0, 4.0)),
    "bone_age_months": (0.0, 264.0),
}
"""The values a label may have."""


def read_safe(safe: Path, config: PrepareConfig) -> Source:
    """Studies of the safe export in folder ``safe``.

    Raises:
        UserError: the folder holds no image index.
    """
    index = safe / "images" / "index"
    images = read_rows(index) if index.is_dir() else []
    reports = read_rows(safe / "reports") if (safe / "reports").is_dir() else []
    if not images:
        raise UserError(f"{safe} holds no images/index/*.parquet; run `anonymize dicom ... --out {safe}` first")
    paired = pair(images, reports, config)
    labels, notes = read_labels(safe / "tables")
    studies = [_study(safe, found, labels.get(found.study, {}), config, notes) for found in paired.studies]
    notes.update(paired.notes)
    return Source(
        studies,
        paired.refused_images,
        paired.refused_reports,
        len(images),
        len(reports),
        dict(sorted(notes.items())),
    )


def read_labels(folder: Path) -> tuple[dict[str, dict[str, float]], Counter[str]]:
    """Labels by study from every table of ``folder`` with a column ``study``; columns named as in LABELS count.

    Values out of range, not numbers, or that contradict each other within a study are left out and counted.
    """
    found: dict[str, dict[str, float]] = {}
    notes: Counter[str] = Counter()
    conflicts: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else []:
        for row in read_rows(path):
            study = row.get("study")
            if not study:
                notes["label_rows_without_study"] += 1
                continue
            for name in LABELS:
                value = row.get(name)
                if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
                    continue
                number = label_value(name, value)
                if number is None:
                    notes["labels_out_of_range"] += 1
                elif found.setdefault(study, {}).setdefault(name, number) != number:
                    conflicts.add((study, name))
    for study, name in conflicts:
        del found[study][name]
    if conflicts:
        notes["labels_in_conflict"] = len(conflicts)
    return found, notes


def label_value(name: str, value: Any) -> float | None:
    """``value`` as the label ``name``, None where it is no number within the label's range."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    low, high = RANGES[name]
    return number if low <= number <= high else None


def _study(
    safe: Path, paired: Pair, labels: Mapping[str, float], config: PrepareConfig, notes: Counter[str]
) -> PlannedStudy:
    study, rows, report, how = paired
    text: Mapping[str, Any] = report or {}
    language = text.get("language") or ""
    exam = (text.get("exam") or "", language or config.language)
    first = rows[0]

    def words(row: Row) -> tuple[str, str]:
        return (row.get("description") or "", config.language or language)

    # one report describes one examination: the commonest known anatomy of its images
    found = [_anatomy(row, exam, words(row), notes) for row in rows]
    counts = Counter(anatomy for anatomy, _ in found if anatomy != "unknown").most_common(1)
    if counts:
        anatomy, source = next(item for item in found if item[0] == counts[0][0])
    else:
        anatomy = anatomy_of("", [(text.get("technique") or text.get("indication") or "", language)])
        source = "report"
    lines = [exam, (text.get("technique") or "", language)]
    return PlannedStudy(
        study_id=study,
        patient_id=first["patient"],
        anatomy=anatomy,
        anatomy_source=source,
        images=tuple(_image(safe, row, exam, words(row), _only_view(lines, anatomy, rows)) for row in rows),
        pairing=how,
        date=(text.get("date") or first.get("date") or "")[:10],
        age_months=text.get("age_months") if text.get("age_months") is not None else first.get("age_months"),
        sex=text.get("sex") or first.get("sex") or "",
        language=language if report else "",
        indication=text.get("indication") or "",
        technique=text.get("technique") or "",
        comparison=text.get("comparison") or "",
        results=text.get("results") or "",
        conclusion=text.get("conclusion") or "",
        report=text.get("text") or "",
        report_id=text.get("report_id") or "",
        report_source="report" if text.get("text") else "",
        site=config.site or " ".join(filter(None, (first.get("manufacturer"), first.get("model")))),
        labels=dict(labels),
    )


def _anatomy(row: Row, exam: tuple[str, str], words: tuple[str, str], notes: Counter[str]) -> tuple[str, str]:
    """Anatomy of one image and where it was read: in order of trust."""
    header = anatomy_of(row.get("body_part") or "", [])
    for source, line in (("report", exam), ("description", words)):
        if (found := anatomy_of("", [line])) != "unknown":
            if header not in ("unknown", found):
                notes["body_part_contradicts_words"] += 1
            return found, source
    return header, "header"


def _only_view(lines: Sequence[tuple[str, str]], anatomy: str, rows: Sequence[Row]) -> str:
    """The view that the report names, where it has one image and one view; "" else.

    Of a chest a report says "frontal", which the packs read as AP, while most are PA: that word decides nothing there.
    """
    views = named("view", lines)
    only = next(iter(views)) if len(rows) == 1 and len(views) == 1 else ""
    return "" if anatomy == "chest" and only == "AP" else only


def _image(safe: Path, row: Row, exam: tuple[str, str], words: tuple[str, str], told: str) -> ImageFile:
    code = view_of(row.get("view") or "", [])
    described = code or view_of("", [words])
    return ImageFile(
        image_id=row["image_id"],
        file=str((safe / "images" / row["path"]).resolve()),
        view=described or told,
        laterality=laterality_of(row.get("laterality") or "", [words, exam]),
        spacing_mm=row.get("spacing_mm") or None,
        view_source="header" if code else "description" if described else "report",
    )
