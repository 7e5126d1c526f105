"""A folder of images with a CSV table as a source: public data sets, research exports.

Nothing is pseudonymised here; the table is read as it is. Identifiers become hashes, so that file names and patient
numbers of the source do not travel on, but an unkeyed hash of a guessable number hides nothing: for hospital data use
``anonymize`` first.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

from anonymize.config import load_config
from anonymize.console import Console, UserError
from anonymize.quarantine import Quarantined
from vlp.corpus.adapters.mapping import ImageTable, TableRow
from vlp.corpus.config import PrepareConfig
from vlp.corpus.prepare import build_corpus
from vlp.corpus.source import ImageFile, PlannedStudy, Source, refuse


def run_prepare_images(
    config: PrepareConfig,
    folder: Path,
    table: Path,
    mapping: Path,
    out: Path | str,
    console: Console,
    describe_labels: str = "",
) -> dict[str, Any]:
    """Make the corpus ``out`` from the images below ``folder`` that ``table`` names; see vlp.corpus.prepare.

    Args:
        mapping: YAML file, :class:`vlp.corpus.adapters.mapping.ImageTable`.
        describe_labels: language in which studies without a report get a text written from their labels; "" for none.

    Raises:
        UserError: the table is missing, empty, or lacks a column that the mapping names.
        ConfigError: the mapping is not valid.
    """
    source = read_images(folder, table, load_config(ImageTable, mapping), config)
    return build_corpus(config, source, out, console, describe_labels)


def read_images(folder: Path, table: Path, mapping: ImageTable, config: PrepareConfig) -> Source:
    """Every row of ``table`` as an image of a study, or refused."""
    root = folder.resolve()
    rows = _rows(table, mapping)
    reader = _Reader(root, config)
    groups: dict[str, list[tuple[int, TableRow]]] = {}
    for position, row in enumerate(rows, 2):
        reason = reader.fault(row)
        if reason:
            reader.drop(position, row, reason)
        else:
            groups.setdefault(row.cell(mapping.columns.study) or row.image, []).append((position, row))
    studies = [study for name, members in groups.items() if (study := reader.study(name, members))]
    reports = sum(bool(row.report) for row in rows)
    notes = dict(sorted(reader.notes.items()))
    return Source(studies, reader.images, reader.reports, len(rows), reports, notes)


_REMEDIES = {
    "row_without_image": "The row names no image; fill the image column.",
    "path_outside_folder": "The row names a file outside the image folder; correct the path.",
    "duplicate_row": "The image stands in the table twice; the first row is kept.",
    "patient_mismatch": "Rows of one study name different patients; correct the table.",
    "duplicate_report": "The same report came twice; the first is kept.",
    "conflicting_reports": "Rows of one study have different reports; the first is kept.",
    "report_of_refused_image": "The image of this report was refused; see its reason.",
    "images_without_report": "The study has no report; keep it with keep_unreported=true.",
}


class _Reader:
    """Turns rows into studies and keeps the account of what was refused."""

    def __init__(self, root: Path, config: PrepareConfig) -> None:
        self.root = root
        self.config = config
        self.images: list[Quarantined] = []
        self.reports: list[Quarantined] = []
        self.notes: Counter[str] = Counter()
        self._seen: set[str] = set()

    def fault(self, row: TableRow) -> str:
        """Why a row cannot be used; "" where it can."""
        if not row.image:
            return "row_without_image"
        if not (self.root / row.image).resolve().is_relative_to(self.root):
            return "path_outside_folder"
        if row.image in self._seen:
            return "duplicate_row"
        self._seen.add(row.image)
        return ""

    def drop(self, position: int, row: TableRow, reason: str) -> None:
        """Refuse the image of a row, and its report where it has one."""
        self.images.append(refuse(_code("I", row.image or str(position)), position, reason, _REMEDIES[reason]))
        if row.report:
            self.drop_report(position, row, "report_of_refused_image")

    def drop_report(self, position: int, row: TableRow, reason: str) -> None:
        self.reports.append(refuse(_code("R", row.image or str(position)), position, reason, _REMEDIES[reason]))

    def study(self, name: str, members: list[tuple[int, TableRow]]) -> PlannedStudy | None:
        """The study that ``members`` are the images of; None where it is refused."""
        reported = [item for item in members if item[1].report]
        wrong = "patient_mismatch" if len({row.patient for _, row in members}) > 1 else ""
        if wrong or not (reported or self.config.keep_unreported):
            for position, row in members:
                self.drop(position, row, wrong or "images_without_report")
            return None
        for position, row in reported[1:]:
            same = row.report == reported[0][1].report
            self.drop_report(position, row, "duplicate_report" if same else "conflicting_reports")
        first, text = members[0][1], (reported[0][1] if reported else None)
        labels: dict[str, float] = {}
        for _, row in members:
            found, out_of_range = row.labels()
            labels = {**found, **labels}
            if out_of_range:
                self.notes["labels_out_of_range"] += out_of_range
        report = text.report if text else ""
        return PlannedStudy(
            study_id=_code("S", name),
            patient_id=_code("P", first.patient) if first.patient else "",
            original=first.original if not first.patient else "",
            anatomy=first.part.anatomy,
            images=tuple(
                ImageFile(_code("I", row.image), str(self.root / row.image), row.view, row.laterality)
                for _, row in sorted(members, key=lambda item: item[1].image)
            ),
            date=first.date,
            age_months=first.age_months,
            sex=first.sex,
            language=text.language if text else "",
            results=report,
            report=report,
            report_id=_code("R", text.image) if text else "",
            report_source="report" if report else "",
            site=self.config.site or first.part_name,
            labels=labels,
        )


def _rows(table: Path, mapping: ImageTable) -> list[TableRow]:
    if not table.is_file():
        raise UserError(f"{table}: no such table")
    data = table.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    first = text.partition("\n")[0]
    separator = max(",;\t|", key=first.count)
    csv.field_size_limit(2**24)
    reader = csv.DictReader(io.StringIO(text.replace("\0", "")), delimiter=separator)
    known = reader.fieldnames or []
    used = [*mapping.columns.model_dump().values()]
    for part in (mapping.default, *mapping.parts.values()):
        used += [rule.column for rule in part.labels.values()]
    if missing := sorted({column for column in used if column} - set(known)):
        raise UserError(f"{table} lacks the columns {', '.join(missing)} of the mapping; it has {', '.join(known)}")
    rows = [TableRow({k: v for k, v in cells.items() if isinstance(v, str)}, mapping) for cells in reader]
    if not rows:
        raise UserError(f"{table} has no rows")
    return rows


def _code(kind: str, value: str) -> str:
    return kind + hashlib.sha256(f"{kind}\0{value}".encode()).hexdigest()[:16].upper()
