"""What an export is, before anything is done with it: format, columns, a mapping to check, and what looks wrong."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from anonymize.languages import available, load_pack
from anonymize.policy import ReportsConfig
from anonymize.readers import Source, open_source
from anonymize.readers.propose import SAMPLE, Column, Guess, Recogniser, by_heading, guess_language, guess_order, shape
from anonymize.readers.record import PREFIX
from anonymize.readers.rows import doubtful_headings, parse_cell_date

REQUIRED = ("patient", "text")


@dataclass(frozen=True)
class ColumnView:
    """One column as the report on an export shows it. Holds no value."""

    heading: str
    field: str  # of columns.*; empty = not mapped
    why: str
    filled: float  # share of rows
    shape: str  # the commonest form of a value, anonymised


@dataclass
class Inspection:
    """What was found. Nothing in it is a value of the export, except headings."""

    details: dict[str, str]
    language: str
    language_share: float
    date_order: str
    rows: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    empty_texts: int = 0
    patients: int = 0
    patients_with_two_birth_dates: int = 0
    columns: list[ColumnView] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mapping: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.details, **{key: value for key, value in asdict(self).items() if key != "details"}}


def inspect_export(source: Path, config: ReportsConfig, language: str = "") -> Inspection:
    """Read ``source`` once and say what it is. ``language`` is the reports', where the user says it.

    Raises:
        UserError: the export cannot be opened.
    """
    opened = open_source(source, config)
    headings = list(opened.headings)
    odd = doubtful_headings(headings)
    shown = [f"column {n}" if odd else name for n, name in enumerate(headings, 1)]
    sample, counts = _read(opened)
    columns = [Column(name, [row[n] for row in sample]) for n, name in enumerate(shown)]
    texts = max(columns, key=lambda column: sum(map(len, column.cells)), default=Column("", []))
    guessed, share = guess_language(texts.filled[:500])
    language = language or guessed or config.language
    pack = load_pack(language)
    known = {} if odd else by_heading(headings, [language, *(code for code in available() if code != language)])
    guesses = Recogniser(columns, known, pack).run()
    dates = [columns[n] for n, guess in guesses.items() if guess.field in ("birth_date", "exam_date")]
    found = Inspection(opened.details, guessed, round(share, 3), guess_order(dates))
    found.columns = [_view(column, guesses.get(n, Guess("", "")), len(sample)) for n, column in enumerate(columns)]
    places = {guess.field: n for n, guess in guesses.items() if guess.field}
    _count(opened, places, found, counts)
    found.mapping = _mapping(opened, {} if odd else places, language, config)
    found.warnings = list(_warnings(found, guesses, pack["pack"]["date_order"], odd))
    return found


def mapping_text(found: Inspection) -> str:
    """The mapping as YAML with the reason for each line; ``anonymize reports -c`` takes it as it is."""
    lines = [
        "# Proposed by `anonymize inspect`. Check each line, then: anonymize reports EXPORT -c THIS_FILE --out SAFE",
        f"# {', '.join(f'{key}: {json.dumps(value)}' for key, value in found.details.items())}; {found.rows} rows",
    ]
    lines += [f"# warning: {line}" for line in found.warnings]
    views = {view.field: view for view in found.columns if view.field}
    for key, value in found.mapping.items():
        if key != "columns":
            lines.append(f"{key}: {_scalar(value)}")
            continue
        lines.append("columns:")
        for name, heading in value.items():
            view = views[name]
            lines.append(f"  {name}: {_scalar(heading)}  # {view.why}; {view.filled:.0%} filled; {view.shape}")
    unmapped = [view for view in found.columns if not view.field and not view.heading.startswith(PREFIX)]
    if unmapped:
        lines.append("# not used:")
        lines += [
            f"#   {_scalar(v.heading)}  {v.why or 'not recognised'}; {v.filled:.0%} filled; {v.shape}" for v in unmapped
        ]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    """One YAML value on one line."""
    if isinstance(value, dict):
        return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6).strip()
    return json.dumps(value, ensure_ascii=False)


def _read(source: Source) -> tuple[list[tuple[str, ...]], Counter[str]]:
    """The first whole rows, up to the size of the sample, and the reasons of rows that cannot be read before them."""
    sample: list[tuple[str, ...]] = []
    problems: Counter[str] = Counter()
    for row in source.rows():
        if row.problem:
            problems[row.problem] += 1
        else:
            sample.append(row.values)
        if len(sample) == SAMPLE:
            break
    return sample, problems


def _count(source: Source, places: dict[str, int], found: Inspection, problems: Counter[str]) -> None:
    """Rows, duplicates, empty texts and patients with two birth dates over the whole export; digests only in memory."""
    problems.clear()
    seen: set[bytes] = set()
    born: dict[bytes, str] = {}
    two: set[bytes] = set()
    text, patient, birth = (places.get(name) for name in ("text", "patient", "birth_date"))
    pack = load_pack(found.language or source.config.language)
    for row in source.rows():
        found.rows += 1
        if row.problem:
            problems[row.problem] += 1
            continue
        digest = _digest("\x1f".join(row.values))
        found.duplicates += digest in seen
        seen.add(digest)
        found.empty_texts += text is not None and not row.values[text].strip()
        if patient is None or not row.values[patient].strip():
            continue
        person = _digest(row.values[patient].strip())
        day = parse_cell_date(pack, row.values[birth]) if birth is not None else ""
        if day and born.get(person) not in (None, "", day):
            two.add(person)
        born[person] = born.get(person) or day
    found.patients, found.patients_with_two_birth_dates = len(born), len(two)
    found.unreadable = dict(problems.most_common())


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _view(column: Column, guess: Guess, rows: int) -> ColumnView:
    return ColumnView(
        column.heading, guess.field, guess.why, round(len(column.filled) / max(1, rows), 3), shape(column)
    )


def _mapping(source: Source, places: dict[str, int], language: str, config: ReportsConfig) -> dict[str, Any]:
    """Values of :class:`ReportsConfig` that read this export; formats that name their fields need no columns."""
    mapping: dict[str, Any] = {"language": language}
    for key in ("encoding", "delimiter", "sheet"):
        if value := source.details.get(key) if source.details["format"] in ("csv", "xlsx") else "":
            mapping[key] = value
    files = {key: value for key, value in config.files.model_dump().items() if value}
    if files:
        mapping["files"] = files
    columns = {
        name: source.headings[n]
        for name in type(config.columns).model_fields
        if (n := places.get(name)) is not None and not source.headings[n].startswith(PREFIX)
    }
    if columns:
        mapping["columns"] = columns
    return mapping


def _warnings(found: Inspection, guesses: dict[int, Guess], order: str, odd: bool) -> list[str]:
    lines = []
    if odd:
        lines.append("the first row seems to hold values: add a row of headings, the columns have none to be named by")
    for name in REQUIRED:
        if name not in {guess.field for guess in guesses.values()}:
            lines.append(f"no column was recognised as {name}: add columns.{name}")
    for view in found.columns:
        if not view.field and view.why:
            lines.append(
                f"column {json.dumps(view.heading, ensure_ascii=False)} is not used, and its {view.why}: "
                "what it says is not searched in the reports"
            )
        if view.field and not view.filled:
            lines.append(f"column {json.dumps(view.heading, ensure_ascii=False)} is empty")
    if found.date_order and order != found.date_order:
        lines.append(f"dates are written {found.date_order}, the language reads {order}")
    if not found.language:
        lines.append("the language of the reports was not recognised; give --language")
    elif found.language_share < 0.7:
        lines.append("the reports seem to be in more than one language")
    if found.patients_with_two_birth_dates:
        lines.append(f"{found.patients_with_two_birth_dates} patients have two birth dates; their odd rows are refused")
    if found.empty_texts:
        lines.append(f"{found.empty_texts} rows have no text")
    if found.duplicates:
        lines.append(f"{found.duplicates} rows repeat an earlier one")
    lines += [f"{count} rows cannot be read: {reason}" for reason, count in found.unreadable.items()]
    return lines
