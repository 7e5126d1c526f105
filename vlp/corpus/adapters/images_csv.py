"""A folder of images with a CSV table as a source: public data sets, research exports.

Nothing is pseudonymised here; the table is read as it is. For hospital data use ``anonymize`` first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonymize.config import load_config
from anonymize.console import Console, UserError
from anonymize.engines import Steps
from vlp.corpus.adapters.annotations import read_list
from vlp.corpus.adapters.films import Film, Text, to_source
from vlp.corpus.adapters.mapping import ImageTable, TableRow
from vlp.corpus.adapters.tables import read_table
from vlp.corpus.config import PrepareConfig
from vlp.corpus.prepare import build_corpus
from vlp.corpus.source import Source


def run_prepare_images(
    config: PrepareConfig,
    folder: Path,
    table: Path,
    mapping: Path,
    out: Path | str,
    console: Console,
    describe_labels: str = "",
    steps: Steps | None = None,
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
    return build_corpus(config, source, out, console, describe_labels, steps)


def read_images(folder: Path, table: Path, mapping: ImageTable, config: PrepareConfig) -> Source:
    """Every row of ``table`` as an image of a study, or refused."""
    used = [*mapping.columns.model_dump().values()]
    for part in (mapping.default, *mapping.parts.values()):
        used += [rule.column for rule in part.labels.values()]
    rows = read_table(table, [column for column in used if column])
    source = to_source(_films(rows, mapping), folder, config)
    if not source.images_read:
        raise UserError(f"{table} has no rows")
    return source


def _films(rows: Iterator[dict[str, str]], mapping: ImageTable) -> Iterator[Film]:
    for position, cells in enumerate(rows, 2):
        row = TableRow(cells, mapping)
        labels, wrong = row.labels()
        yield Film(
            image=row.image,
            anatomy=row.part.anatomy,
            patient=row.patient,
            study=row.cell(mapping.columns.study),
            original=row.original,
            view=row.view,
            laterality=row.laterality,
            boxes=read_list(row.cell(mapping.columns.boxes), position),
            date=row.date,
            age_months=row.age_months,
            sex=row.sex,
            text=Text(row.language, row.report) if row.report else None,
            labels=labels,
            bad_labels=wrong,
            site=row.part_name,
            position=position,
        )
