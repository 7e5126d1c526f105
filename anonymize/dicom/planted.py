"""Proof in the bytes: planted values are searched in every file of a safe export, as any program could have written them.

A reader that parses can miss what it does not know (a preamble, a private element, a second sequence level); bytes
cannot hide. Each value is searched in UTF-8, UTF-16, Windows-1252 and the character sets of DICOM, in capitals and small
letters, without accents, and by the components of a person name (PS3.5 section 6.2: carets); also inside what is packed:
deflated data sets, Parquet columns, gzip, and the streams of PDF documents.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from anonymize.console import Console, UserError

LEAST = 4
"""Bytes of the shortest form that is searched: shorter ones stand in any image by chance."""
# those of the web and of Windows, and the character sets that a header may name (PS3.3 C.12.1.1.2)
_ENCODINGS = (
    "utf-8",
    "latin-1",
    "cp1252",
    "utf-16-le",
    "utf-16-be",
    "iso8859-2",
    "iso8859-3",
    "iso8859-4",
    "iso8859-5",
)
_ENCODINGS += ("iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift-jis", "iso2022-jp-2")
_ENCODINGS += ("euc-kr", "gb18030")
_ESCAPE = re.compile(rb"\x1b[$(.][()-]?[@-Z]")  # from one set to another (ISO 2022): writers differ
_CHUNK = 1 << 23  # bytes looked at together
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian (PS3.5 A.5)
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_UNPACKED = 1 << 28  # bytes up to which something packed is unpacked


@dataclass(frozen=True)
class Planted:
    """One value that must not be found."""

    value: str
    where: str  # where it was planted, for the report of what was found


@dataclass(frozen=True)
class Found:
    """A planted value that a file holds. The value itself is not named: ``marker`` counts from 0 in the given list."""

    marker: int
    where: str
    file: str  # relative to the export
    part: str  # name, bytes, deflated, column, gzip, stream


def read_planted(path: Path) -> list[Planted]:
    """The list in a JSON file: ``[{"value": ..., "where": ...}]``, or ``{where: value}``.

    Raises:
        UserError: it is no such list, it is empty, or a value is too short to be searched.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({type(error).__name__})") from None
    if isinstance(data, dict):
        data = data.get("markers", [{"value": value, "where": where} for where, value in data.items()])
    if not isinstance(data, list) or not data:
        raise UserError(f'{path}: give a list of {{"value": ..., "where": ...}}, at least one')
    found = []
    for number, item in enumerate(data):
        value = item.get("value") if isinstance(item, dict) else item
        if not isinstance(value, str) or not forms_of(value):
            raise UserError(f"{path}: entry {number} has no value of {LEAST} characters or more")
        found.append(Planted(value, str(item.get("where", "")) if isinstance(item, dict) else ""))
    return found


def forms_of(value: str) -> frozenset[bytes]:
    """The byte strings as which ``value`` may stand in a file."""
    text = " ".join(value.split())
    texts = {text, text.replace("^", " "), text.replace(" ", "^"), *(part.strip() for part in re.split(r"[\^=]", text))}
    plain = {"".join(c for c in unicodedata.normalize("NFKD", t) if not unicodedata.combining(c)) for t in texts}
    cased = {form for t in texts | plain for form in (t, t.upper(), t.lower(), t.title()) if len(t) >= LEAST}
    out = set()
    for form in cased | {unicodedata.normalize("NFD", form) for form in cased}:
        for encoding in _ENCODINGS:
            try:
                out.update(_ESCAPE.split(form.encode(encoding)))
            except UnicodeEncodeError:
                continue
    return frozenset(form for form in out if len(form) >= LEAST)


class Finder:
    """Finds any of many byte strings in a long one: first by their first four bytes, for all places at once.

    Args:
        forms: a byte string to the numbers that it stands for; none is shorter than :data:`LEAST`.
    """

    def __init__(self, forms: Mapping[bytes, Iterable[int]]) -> None:
        self._numbers = {form: frozenset(numbers) for form, numbers in forms.items()}
        self._longest = max(map(len, self._numbers))
        self._heads: dict[bytes, list[bytes]] = {}
        self._first, self._second = np.zeros(1 << 16, bool), np.zeros(1 << 16, bool)
        for form in self._numbers:
            self._heads.setdefault(form[:LEAST], []).append(form)
            first, second = np.frombuffer(form[:LEAST], "<u2")
            self._first[first] = self._second[second] = True

    def find(self, data: bytes) -> frozenset[int]:
        """The numbers of all byte strings that ``data`` holds."""
        found: set[int] = set()
        step = _CHUNK - self._longest
        for start in range(0, max(1, len(data)), step):
            found |= self._in_chunk(data[start : start + _CHUNK])
        return frozenset(found)

    def _in_chunk(self, data: bytes) -> set[int]:
        found: set[int] = set()
        raw = np.frombuffer(data, np.uint8)
        if len(raw) < LEAST:
            return found
        pairs = raw[:-1].astype(np.uint16) | (raw[1:].astype(np.uint16) << 8)
        for place in np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]]).tolist():
            for form in self._heads.get(data[place : place + LEAST], ()):
                if data.startswith(form, place):
                    found |= self._numbers[form]
        return found


def finder_of(planted: Sequence[Planted]) -> Finder:
    """A finder of every form of every value, by its number in ``planted``."""
    forms: dict[bytes, set[int]] = {}
    for number, item in enumerate(planted):
        for form in forms_of(item.value):
            forms.setdefault(form, set()).add(number)
    return Finder(forms)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What a file holds: its bytes, and what is packed in them, each with its name."""
    data = path.read_bytes()
    yield "bytes", data
    if data[128:132] == b"DICM" and _DEFLATED in data[:1024]:
        start = _behind_meta(data)
        unpacked = _inflated(data[start:], -zlib.MAX_WBITS) if start else b""
        yield "deflated", unpacked
        data += unpacked
    if b"%PDF" in data:
        for match in _STREAM.finditer(data):
            yield "stream", _inflated(match[1], zlib.MAX_WBITS)
    if data[:4] == b"PAR1":
        table = pq.read_table(path)
        for name in table.column_names:
            text = json.dumps(table.column(name).to_pylist(), ensure_ascii=False, default=str)
            yield "column", text.encode("utf-8", "surrogatepass")
    elif data[:2] == b"\x1f\x8b":
        try:
            yield "gzip", gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return


def check(folder: Path, planted: Sequence[Planted], console: Console, workers: int = 1) -> dict[str, Any]:
    """Search every planted value in the names and contents of all files below ``folder``.

    Returns:
        ``files, bytes, planted, left`` (values found anywhere), ``found`` (a row a value and file, see :class:`Found`).

    Raises:
        UserError: the folder is missing or holds no file.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder}: no file to look at; give the folder of the safe export")
    tasks = [(path, str(path.relative_to(folder))) for path in files]
    found: list[Found] = []
    size = 0
    if workers > 1:
        with ProcessPoolExecutor(workers, initializer=_start, initargs=(planted,)) as pool:
            for rows, length in console.track(pool.map(_look, tasks, chunksize=8), len(tasks), "bytes", "files"):
                found, size = found + rows, size + length
    else:
        _start(planted)
        for rows, length in console.track(map(_look, tasks), len(tasks), "bytes", "files"):
            found, size = found + rows, size + length
    return {
        "files": len(files),
        "bytes": size,
        "planted": len(planted),
        "left": len({item.marker for item in found}),
        "found": [asdict(item) for item in found],
    }


_STATE: dict[str, Any] = {}


def _start(planted: Sequence[Planted]) -> None:
    _STATE["planted"], _STATE["finder"] = planted, finder_of(planted)


def _look(task: tuple[Path, str]) -> tuple[list[Found], int]:
    path, shown = task
    planted, finder = _STATE["planted"], _STATE["finder"]
    found: dict[int, str] = {}
    for part, data in (("name", shown.encode("utf-8", "surrogateescape")), *contents(path)):
        for number in finder.find(data):
            found.setdefault(number, part)
    named = "name" in found.values()
    rows = [
        Found(number, planted[number].where, "" if named else shown, part) for number, part in sorted(found.items())
    ]
    return rows, path.stat().st_size


def _behind_meta(data: bytes) -> int:
    """Where the data set begins, behind the file meta information (PS3.10 section 7.1); 0 where it has no length."""
    if data[132:136] != b"\x02\x00\x00\x00":
        return 0
    return 144 + int.from_bytes(data[140:144], "little")


def _inflated(data: bytes, window: int) -> bytes:
    try:
        return zlib.decompressobj(window).decompress(data, _UNPACKED)
    except zlib.error:
        return b""
