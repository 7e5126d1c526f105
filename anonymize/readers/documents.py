"""Folders (or one file) of documents and messages: every file ends as reports or as refused rows with a reason."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anonymize.console import UserError
from anonymize.policy import Columns, Files, ReportsConfig
from anonymize.readers.content import text_of
from anonymize.readers.detect import HEAD, is_system_file, kind_of
from anonymize.readers.encoding import decode, is_broken
from anonymize.readers.problems import MAXIMUM_FILE, MAXIMUM_TEXT, Unreadable
from anonymize.readers.raw import open_bytes, read_whole
from anonymize.readers.record import FIELDS, HEADINGS, PREFIX, Record, unique
from anonymize.text import collapse

if TYPE_CHECKING:
    from anonymize.readers import RawRow, Source

MESSAGES = frozenset(("hl7", "fhir", "cda", "dicom"))
"""Kinds that say themselves whose they are."""
PLAIN = frozenset(("text", "rtf", "docx", "pdf", "html"))
_TABLES = frozenset(("parquet", "xlsx", "jsonl"))
_NAME_HEADINGS = ("file", "filename", "file_name", "path", "document")
_REFUSED = {
    "empty": "empty_file",
    "image": "scanned_page",
    "binary": "unknown_format",
    "zip": "unknown_format",
    "xml": "unknown_format",
    "gzip": "unknown_format",
}
_TABLE_FIELDS = ("staff", "numbers", "text")  # what a document adds to its line in the index


@dataclass(frozen=True)
class Item:
    """One file of the export. ``problem`` is set where it is not to be opened."""

    path: Path
    kind: str
    problem: str = ""


def find_items(source: Path, config: Files) -> list[Item]:
    """All files below ``source`` in the order of their names, links and system files among them."""
    if source.is_file():
        return [_item(source)]
    skipped = (source / config.index).resolve() if config.index else None
    found = []
    for folder, folders, names in os.walk(source):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in linked)
        found += [Path(folder, name) for name in (*names, *linked)]
    return [_item(path) for path in sorted(found) if skipped is None or path.resolve() != skipped]


def _item(path: Path) -> Item:
    try:
        if path.is_symlink():
            return Item(path, "", "symbolic_link")
        if is_system_file(path):
            return Item(path, "", "system_file")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Item(path, "", "system_file")  # pipes, sockets and devices
        kind = kind_of(path)
        if kind == "gzip":
            with open_bytes(path) as stream:
                kind = kind_of(path.with_suffix(""), stream.read(HEAD))
    except OSError:
        return Item(path, "", "damaged_file")
    except Unreadable as problem:
        return Item(path, "", problem.reason)
    if kind in _REFUSED:
        return Item(path, kind, _REFUSED[kind])
    if kind == "ole":
        from anonymize.readers.zips import ole_reason

        return Item(path, kind, ole_reason(path))
    if kind == "text" and {".csv", ".tsv"} & {ending.lower() for ending in path.suffixes[-2:]}:
        return Item(path, kind, "table_in_folder")
    if kind == "jsonl" and path.suffix.lower() == ".json":
        return Item(path, kind, "unknown_format")
    if kind in _TABLES:
        return Item(path, kind, "table_in_folder")
    if kind not in ("hl7", "fhir") and status.st_size > MAXIMUM_FILE:
        return Item(path, kind, "too_large")
    return Item(path, kind)


def sniff(path: Path, config: ReportsConfig) -> tuple[list[str], dict[str, str]]:
    """Headings, and how many files of each kind there are.

    Raises:
        UserError: there is no file, or documents that do not name their patient have neither pattern nor index.
    """
    items = find_items(path, config.files)
    kinds = Counter(item.kind for item in items if not item.problem)
    if not items:
        raise UserError(f"{path}: the folder holds no files")
    if kinds and set(kinds) <= PLAIN and not config.files.pattern and not config.files.index:
        raise UserError(
            f"{path}: these documents do not say whose they are; give files.pattern, such as "
            "files.pattern={patient}_{accession}_{exam_date}, or files.index=INDEX.csv"
        )
    if config.files.pattern:
        pattern_of(config.files.pattern)
    headings = list(HEADINGS)
    if config.files.index:
        headings = [*_Index(path, config).headings, *(PREFIX + name for name in _TABLE_FIELDS)]
    whole = "folder" if path.is_dir() else next(iter(kinds), "document")
    files = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return headings, {"format": whole, "files": f"{len(items)} ({files})"}


def rows(source: Source) -> Iterator[RawRow]:
    """Every report of every file; positions count them from 1. What cannot be read is a row with its reason."""
    from anonymize.readers import RawRow

    files = source.config.files
    base = source.path if source.path.is_dir() else source.path.parent
    items = find_items(source.path, files)
    named = _identity_by_name(source.path, source.config)
    directory = None
    if any(item.kind == "fhir" and not item.problem for item in items):
        from anonymize.readers.fhir_file import Directory

        directory = Directory()
        for item in items:
            if item.kind == "fhir" and not item.problem:
                _quietly(directory.add_file, item.path)
    position = 0
    encodings: Counter[str] = Counter()
    for item in items:
        source.origins.append((position + 1, readable_name(item.path.relative_to(base))))
        for record in _records(item, files, directory, encodings):
            position += 1
            values, problem = _values(record, item, base, named)
            yield RawRow(position, values if not problem else (), problem)
    if isinstance(named, _Index):
        for name in named.unused():
            position += 1
            source.origins.append((position, name))
            yield RawRow(position, (), "missing_file")
    if encodings:
        source.details["encoding"] = ", ".join(f"{name} {count}" for name, count in encodings.most_common())


def _records(item: Item, files: Files, directory: object, encodings: Counter[str]) -> Iterator[Record]:
    """The records of one file: at least one, except of FHIR files that hold only what reports refer to."""
    if item.problem:
        yield Record(problem=item.problem)
        return
    try:
        yield from _opened(item, files, directory, encodings)
    except Unreadable as problem:
        yield Record(problem=problem.reason)
    except Exception:  # a hostile or damaged file raises anything; it must not stop the others
        yield Record(problem="damaged_file")


def _opened(item: Item, files: Files, directory: object, encodings: Counter[str]) -> Iterator[Record]:
    if item.kind == "hl7":
        from anonymize.readers.hl7_file import records

        with open_bytes(item.path) as stream:
            count = 0
            for count, record in enumerate(records(stream, files), 1):  # noqa: B007
                yield record
            if not count:
                yield Record(problem="not_a_report")  # a batch without messages
        return
    if item.kind == "fhir":
        from anonymize.readers.fhir_file import Directory, records

        assert isinstance(directory, Directory)
        yield from records(item.path, directory, files)
        return
    data = read_whole(item.path, MAXIMUM_FILE)
    if item.kind == "cda":
        from anonymize.readers.cda_file import record_of_cda

        yield record_of_cda(data, files)
    elif item.kind == "dicom":
        from anonymize.readers.dicom_sr import record_of_dicom

        yield record_of_dicom(data, files)
    elif item.kind == "text":
        text, encoding = decode(data)
        encodings[encoding] += 1
        problem = "nul_byte" if "\0" in text else "wrong_encoding" if is_broken(text) else ""
        yield Record(text=text, problem=problem)
    else:
        yield Record(text=text_of(data, item.kind))


def _values(
    record: Record, item: Item, base: Path, named: Callable[[Path], dict[str, str] | str] | None
) -> tuple[tuple[str, ...], str]:
    """Cells of one record and its problem, with what its file's name or the index says."""
    if record.problem:
        return (), record.problem
    if len(record.text) > MAXIMUM_TEXT:
        return (), "too_large"
    if "\0" in record.text:
        return (), "nul_byte"
    if isinstance(named, _Index):
        cells = named(item.path.relative_to(base))
        if isinstance(cells, str):
            return (), cells
        people = [*record.staff, f"{record.surname} {record.given_name}", record.birth_name]
        numbers = [*record.numbers, record.patient, record.visit, record.accession]
        return (*cells.values(), "\n".join(unique(people)), "\n".join(unique(numbers)), record.text), ""
    if named is not None and item.kind in PLAIN:
        cells = named(item.path.relative_to(base))
        if isinstance(cells, str):
            return (), cells
        for name, value in cells.items():
            setattr(record, name, [value] if name in ("staff", "numbers") else value)
    return record.values(), ""


def _identity_by_name(path: Path, config: ReportsConfig) -> Callable[[Path], dict[str, str] | str] | None:
    if config.files.index:
        return _Index(path, config)
    return _Pattern(config.files.pattern) if config.files.pattern else None


class _Pattern:
    """Identity from a file's name."""

    def __init__(self, pattern: str) -> None:
        self._regex = pattern_of(pattern)
        self._with_folders = "/" in pattern

    def __call__(self, path: Path) -> dict[str, str] | str:
        name = readable_name(path.with_suffix(""))
        match = self._regex.fullmatch(name if self._with_folders else name.rpartition("/")[2])
        if match is None:
            return "file_name_unmatched"
        return {field: value.strip() for field, value in match.groupdict().items()}


def pattern_of(pattern: str) -> re.Pattern[str]:
    """A regular expression for ``{patient}_{accession}_{exam_date}``: a field ends where the next sign of the pattern is.

    Raises:
        UserError: an unknown field, or none called patient.
    """
    known = [name for name in Columns.model_fields if name in FIELDS and name != "text"] + ["prescriber", "radiologist"]
    out, rest = "", pattern
    seen: set[str] = set()
    while rest:
        match = re.match(r"\{(\w+)\}", rest)
        if match is None:
            out, rest = out + re.escape(rest[0]), rest[1:]
            continue
        name, rest = match[1], rest[match.end() :]
        stop = re.escape(rest[0]) if rest and rest[0] != "{" else "/"
        body = f"[^/{stop}]+" if rest else "[^/]+"
        if name == "_":
            out += body
        elif name not in known or name in seen:
            raise UserError(
                f"files.pattern: '{{{name}}}' is no field or stands twice; there are: {', '.join(known)}, _"
            )
        else:
            seen.add(name)
            out += f"(?P<{'staff' if name in ('prescriber', 'radiologist') else name}>{body})"
    if "patient" not in seen:
        raise UserError("files.pattern: needs {patient}; without it nothing can be linked or searched")
    return re.compile(out)


class _Index:
    """Identity from a CSV with one line per file."""

    def __init__(self, path: Path, config: ReportsConfig) -> None:
        from anonymize.readers import csv_file

        base = path if path.is_dir() else path.parent
        place = base / config.files.index
        if not place.is_file() or not place.resolve().is_relative_to(base.resolve()):
            raise UserError(f"files.index={config.files.index}: no such file in {base}")
        headings, details = csv_file.sniff(place, config)
        self.headings = tuple(headings)
        self._details = details
        column = self._column(config.files.name_column)
        self._lines: dict[str, tuple[str, ...]] = {}
        self._used: set[str] = set()
        from anonymize.readers import Source

        for row in csv_file.rows(Source(self.headings, details, place, config, csv_file.rows)):
            if not row.problem and (key := _key(row.values[column])):
                self._lines.setdefault(key, row.values)

    def _column(self, wanted: str) -> int:
        if wanted:
            if wanted not in self.headings:
                raise UserError(f"files.name_column={wanted}: the index has no such column")
            return self.headings.index(wanted)
        for number, heading in enumerate(self.headings):
            if collapse(heading) in {collapse(name) for name in _NAME_HEADINGS}:
                return number
        raise UserError("the index's column with the file names was not recognised; give files.name_column=HEADING")

    def __call__(self, path: Path) -> dict[str, str] | str:
        """Cells by heading, or the reason why there are none. The whole path counts first, then the name alone."""
        whole, bare = readable_name(path), readable_name(path.with_suffix(""))
        for key in map(_key, (whole, whole.rpartition("/")[2], bare, bare.rpartition("/")[2])):
            if key in self._lines:
                self._used.add(key)
                return dict(zip(self.headings, self._lines[key], strict=True))
        return "not_in_index"

    def unused(self) -> list[str]:
        """Files of the index that were not met."""
        return [key for key in self._lines if key not in self._used]


def readable_name(path: Path) -> str:
    """A relative path as text: bytes that are no UTF-8, from old file servers, are read as Windows-1252."""
    name = path.as_posix()
    if any("\udc80" <= char <= "\udcff" for char in name):
        name = os.fsencode(name).decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().replace("\\", "/").removeprefix("./").casefold()


def _quietly(action: Callable[[Path], None], path: Path) -> None:
    """Collect what others refer to; the file's own problems are reported when its reports are read."""
    try:
        action(path)
    except Exception:  # the same exception comes again, as a refused row
        return
