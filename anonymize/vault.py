"""The vault: every replacement of a safe export, sealed, in the private folder beside it.

One file for each part of the export, ``<out>.private/vault/part-00000.vault`` (mode 0600): a sealed Parquet table of
:class:`~anonymize.report.Replacement` rows. With the secret it gives the originals back exactly; without it, nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anonymize.console import UserError
from anonymize.files import write_bytes_atomic
from anonymize.keys import Keys, private_folder
from anonymize.report import Replacement
from anonymize.sealing import Sealer, SealError

VERSION = 1
_FIELDS = {f.name: pa.int32() if f.type == "int" else pa.string() for f in fields(Replacement)}
_COLUMNS = ("patient", "study", "date", "exam", "text")


@dataclass(frozen=True)
class Revealed:
    """One report with its originals put back."""

    report_id: str
    patient: str  # the real identifiers; the safe value where the kind was not asked for
    study: str
    date: str
    exam: str
    text: str
    replacements: tuple[Replacement, ...]


class Vault:
    """The vault of one safe export."""

    def __init__(self, out: Path, keys: Keys) -> None:
        self.out = out
        self.folder = private_folder(out, create=False) / "vault"
        self._sealer = Sealer(keys, "vault")

    def path(self, part: int) -> Path:
        """Where the originals of ``part-<part>.parquet`` lie."""
        return self.folder / f"part-{part:05d}.vault"

    def write(self, part: int, run: str, rows: Sequence[Sequence[Replacement]]) -> None:
        """Seal the replacements of each row of a part, atomically. The same rows give the same bytes."""
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flat = [item for row in rows for item in row]
        columns = {"row": pa.array([number for number, row in enumerate(rows) for _ in row], pa.int32())}
        columns |= {name: pa.array([getattr(item, name) for item in flat], type_) for name, type_ in _FIELDS.items()}
        buffer = BytesIO()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        sealed = self._sealer.seal(buffer.getvalue(), {"version": VERSION, "run": run, "part": part})
        write_bytes_atomic(self.path(part), sealed, permissions=0o600)

    def read(self, part: int, rows: Collection[int] | None = None) -> dict[int, list[Replacement]]:
        """Replacements by row of the part (from 0), of the given rows or of all.

        Raises:
            SealError: another secret, changed bytes, or another version.
            UserError: the vault has no such part.
        """
        path = self.path(part)
        if not path.is_file():
            raise UserError(f"{path}: not there; the export was made with vault=false, or its private folder was moved")
        try:
            content, header = self._sealer.open(path.read_bytes())
        except SealError as error:
            raise SealError(f"{path}: {error}") from None
        if header.get("version") != VERSION or header.get("part") != part:
            raise SealError(f"{path}: is of another version or stands for another part")
        table = pq.read_table(BytesIO(content))
        if rows is not None:
            table = table.take([i for i, row in enumerate(table["row"].to_pylist()) if row in rows])
        found: dict[int, list[Replacement]] = defaultdict(list)
        for values in table.to_pylist():
            found[values.pop("row")].append(Replacement(**values))
        return found

    def find(self, column: str, value: str) -> Iterator[tuple[int, dict[int, dict[str, Any]]]]:
        """Parts of the safe export where ``column`` (report_id, patient, study) is ``value``; their rows by number."""
        for path in sorted((self.out / "reports").glob("part-*.parquet")):
            file = pq.ParquetFile(path)
            numbers = [n for n, held in enumerate(file.read(columns=[column])[column].to_pylist()) if held == value]
            if numbers:
                rows = file.read(columns=["report_id", *_COLUMNS]).take(numbers).to_pylist()
                yield int(path.stem.removeprefix("part-")), dict(zip(numbers, rows, strict=True))

    def reveal(self, column: str, value: str, kinds: Collection[str] = ()) -> list[Revealed]:
        """The reports whose ``column`` is ``value``, with the originals of ``kinds`` (all where empty) put back."""
        revealed = []
        for part, rows in self.find(column, value):
            held = self.read(part, rows)
            for number, row in rows.items():
                wanted = [item for item in held.get(number, ()) if not kinds or item.kind in kinds]
                values = {
                    name: restore(row[name] or "", [item for item in wanted if item.field == name], row["report_id"])
                    for name in _COLUMNS
                }
                revealed.append(Revealed(row["report_id"], **values, replacements=tuple(wanted)))
        return revealed


def restore(safe: str, replacements: Iterable[Replacement], name: str = "") -> str:
    """``safe`` with the originals back in their places.

    Raises:
        SealError: the safe value was changed since, so that the places do not fit.
    """
    pieces, position = [], 0
    for row in sorted(replacements, key=lambda row: (row.start, row.original_start)):
        end = row.start + row.length
        if row.start < position or safe[row.start : end] != row.surrogate:
            raise SealError(f"report {name}: its safe text was changed after the vault was written")
        pieces += [safe[position : row.start], row.original]
        position = end
    return "".join([*pieces, safe[position:]])
