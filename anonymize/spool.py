"""First pass over an export: refuse what cannot be used, collect its names, deal its reports to shards by patient.

The shards hold real text. They stand in the private folder beside the safe export (mode 0700), sealed with a key that
comes from the secret, so that a killed run leaves no clear text behind, and are deleted as soon as they are done.
Memory does not grow with the export: rows are not remembered; equal rows meet in their shard.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from rapidfuzz.distance import OSA

from anonymize.detectors.known_words import KnownWords
from anonymize.files import open_atomic, read_json, write_json
from anonymize.keys import Keys, normalise_identifier
from anonymize.languages import Pack
from anonymize.readers import RawRow, Source
from anonymize.readers.rows import RowReader, map_columns
from anonymize.report import Gazetteer, Identity, Report
from anonymize.sealing import Sealer
from anonymize.text import collapse, fold, words_of
from anonymize.wordsets import WordPool, united

_BUFFER = 32 * 1024 * 1024
_MAXIMUM_SHARDS = 4096
_SAMPLE = 500
_PIECE = 20_000
_POOLS = ("surnames", "given_names", "staff", "towns", "streets")

Progress = Callable[[Iterable[RawRow], int], Iterable[RawRow]]


@dataclass(frozen=True)
class Refused:
    """A row that was not used: its number and the reason."""

    position: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What the first pass found."""

    rows: int
    shards: int
    refused: dict[str, int]  # rows by reason; their numbers stand in refused.tsv
    mapping: dict[str, str]  # field → heading
    details: dict[str, str]


class NameCollector:
    """Gathers the words of an export's identity columns."""

    def __init__(self, words: KnownWords) -> None:
        self._words = words
        self.surnames = WordPool()
        self.given_names = WordPool()
        self.staff = WordPool()
        self.towns = WordPool()
        self.streets = WordPool()

    def add(self, identity: Identity) -> None:
        """Take in one record."""
        self.surnames.update(self._significant(identity.surname), self._significant(identity.birth_name))
        self.given_names.update(self._significant(identity.given_name))
        for person in identity.staff:
            words = [
                word
                for word in person.replace(".", " ").replace("-", " ").split()
                if collapse(word) not in self._words.titles
            ]
            capitals = [word for word in words if word.isupper() and len(word) > 2]
            split = bool(capitals) and len(capitals) < len(words)
            for word in words:
                self.staff.update(self._significant(word) if not split or word in capitals else ())
                self.given_names.update(self._significant(word) if split and word not in capitals else ())
        town = " ".join(word for word in words_of(identity.town) if word not in self._words.offices)
        if len(town) > 2:
            self.towns.add(town)
        self.streets.update(word for word in self._significant(identity.address) if word not in self._words.streets)

    def gazetteer(self) -> Gazetteer:
        """The names as the detectors use them."""
        return Gazetteer(
            united(self.surnames, self.staff), united(self.given_names), united(self.staff), united(self.towns)
        )

    def avoid(self) -> frozenset[str]:
        """All words that no surrogate may equal."""
        parts = WordPool()
        parts.update(word for town in self.towns for word in town.split())
        return united(self.surnames, self.given_names, self.staff, self.streets, parts)

    def write(self, stream: IO[bytes], sealer: Sealer, label: str) -> None:
        """Write the words, sealed, in pieces of bounded size."""
        for name in _POOLS:
            words = iter(getattr(self, name))
            while piece := list(islice(words, _PIECE)):
                sealer.append(stream, json.dumps((name, piece)).encode(), label)

    def read(self, stream: IO[bytes], sealer: Sealer, label: str) -> None:
        """Take in what :meth:`write` wrote."""
        for frame in sealer.frames(stream, label):
            name, words = json.loads(frame)
            getattr(self, name).update(words)

    def _significant(self, name: str) -> list[str]:
        return [word for word in words_of(name) if len(word) > 2 and word not in self._words.particles]


class Spool:
    """The first pass's files in the private folder of one run. ``run`` is the fingerprint of source, settings and key."""

    def __init__(self, folder: Path, keys: Keys, run: str, pack: Pack) -> None:
        self.folder, self.run, self.pack = folder, run, pack
        self._words = KnownWords(pack)
        self._keys = keys
        self._sealer = Sealer(keys, "spool")

    def deal(self, source: Source, shard_mb: float, progress: Progress = lambda rows, about: rows) -> Plan:
        """Read ``source`` once; write buckets, ``names.sealed``, ``refused.tsv`` and, last, ``plan.json``.

        ``progress`` passes the rows on; its second argument is about how many there are.
        """
        columns = map_columns(source.headings, source.config.columns, self.pack)
        reader = RowReader(columns, self.pack)
        collector = NameCollector(self._words)
        size = size_of(source)
        about = _about(source, size)  # before the real reading: it reads the first rows too
        shards = max(1, min(_MAXIMUM_SHARDS, round(size / (shard_mb * 1024 * 1024))))
        for old in self.folder.glob("bucket-*"):
            old.unlink()
        for shard in range(shards):
            self.bucket(shard).touch(mode=0o600)
        buffers: dict[int, list[str]] = defaultdict(list)
        held = count = 0
        refused: Counter[str] = Counter()
        with open_atomic(self.folder / "refused.tsv", "w", permissions=0o600) as refusals:
            for row in progress(source.rows(), about):
                count += 1
                report, reason = (None, row.problem) if row.problem else reader.read(row.position, row.values)
                if report is None:
                    refused[reason] += 1
                    refusals.write(f"{row.position}\t{reason}\n")
                    continue
                collector.add(report.identity)
                line = _pack(report, row.values)
                buffers[self.shard_of(report.identity.patient_id, shards)].append(line)
                held += len(line)
                if held > _BUFFER:
                    self._flush(buffers)
                    held = 0
            self._flush(buffers)
        with open_atomic(self.folder / "names.sealed", permissions=0o600) as names:
            collector.write(names, self._sealer, f"{self.run}/names")
        mapping = {field: source.headings[index] for field, index in columns.items()}
        write_json(self.folder / "origins.json", source.origins)
        plan = Plan(count, shards, dict(refused), mapping, source.details)
        write_json(self.folder / "plan.json", asdict(plan))
        return plan

    def shard_of(self, patient_id: str, shards: int) -> int:
        """The shard of a patient: keyed, so that the number of a part says nothing about the real identifier."""
        return int.from_bytes(self._keys.digest("shard", normalise_identifier(patient_id))[:8], "big") % shards

    def plan(self) -> Plan | None:
        """The plan of a finished first pass, or None."""
        path = self.folder / "plan.json"
        return Plan(**read_json(path)) if path.is_file() else None

    def refused(self) -> Iterator[Refused]:
        """The rows that the first pass refused, in the order of the export."""
        with (self.folder / "refused.tsv").open(encoding="utf-8") as stream:
            for line in stream:
                position, reason = line.rstrip("\n").split("\t")
                yield Refused(int(position), reason)

    def names(self) -> tuple[Gazetteer, frozenset[str]]:
        """The gazetteer of the export, and the words that surrogates avoid."""
        collector = NameCollector(self._words)
        with (self.folder / "names.sealed").open("rb") as stream:
            collector.read(stream, self._sealer, f"{self.run}/names")
        return collector.gazetteer(), collector.avoid()

    def bucket(self, shard: int) -> Path:
        """Where the reports of a shard wait."""
        return self.folder / f"bucket-{shard:05d}.sealed"

    def waits(self, shard: int) -> bool:
        """Whether the shard can still be worked on."""
        return self.bucket(shard).is_file() and (self.folder / "names.sealed").is_file()

    def read(self, shard: int) -> tuple[list[Report], list[Refused]]:
        """The reports of one shard in the order of the export, and the rows that repeat an earlier one."""
        reports: list[Report] = []
        repeated: list[Refused] = []
        seen: set[str] = set()
        with self.bucket(shard).open("rb") as stream:
            for frame in self._sealer.frames(stream, f"{self.run}/{shard}"):
                for line in frame.decode().splitlines():
                    digest, row, identity = json.loads(line)
                    if digest in seen:
                        repeated.append(Refused(row["position"], "duplicated_row"))
                        continue
                    seen.add(digest)
                    identity["staff"] = tuple(identity["staff"])
                    reports.append(Report(identity=Identity(**identity), **row))
        return reports, repeated

    def clear(self) -> None:
        """Delete what holds originals, once every shard is done."""
        for path in (*self.folder.glob("bucket-*"), self.folder / "names.sealed"):
            path.unlink(missing_ok=True)

    def _flush(self, buffers: dict[int, list[str]]) -> None:
        for shard, lines in buffers.items():
            with self.bucket(shard).open("ab") as stream:
                self._sealer.append(stream, "\n".join(lines).encode(), f"{self.run}/{shard}")
        buffers.clear()


def _pack(report: Report, values: tuple[str, ...]) -> str:
    """One line of ASCII: the digest of the whole row, the report, its identity."""
    digest = hashlib.blake2b("\x1f".join(values).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    row = {name: value for name, value in vars(report).items() if name != "identity"}
    return json.dumps((digest, row, vars(report.identity)))


def size_of(source: Source) -> int:
    """Bytes of text in the export: of a Parquet file uncompressed, of a folder all of its files."""
    path = source.path
    if source.details.get("format") == "parquet":
        import pyarrow.parquet as pq

        metadata = pq.ParquetFile(path).metadata
        return sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _about(source: Source, size: int) -> int:
    """About how many rows the export has, from the mean length of the first ones."""
    lengths = [sum(map(len, row.values)) + len(row.values) for row in islice(source.rows(), _SAMPLE)]
    return len(lengths) if len(lengths) < _SAMPLE else round(size * len(lengths) / max(1, sum(lengths)))


def by_patient(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """Reports by normalised patient identifier."""
    groups: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        groups[normalise_identifier(report.identity.patient_id)].append(report)
    return groups


def strangers(reports: list[Report]) -> set[int]:
    """Positions of the reports whose identity columns describe somebody else than most of the patient's reports do.

    Where no identity has most of the reports, all of them.
    """
    clusters: list[list[Report]] = []
    for report in reports:
        home = next((cluster for cluster in clusters if _same_person(cluster[0].identity, report.identity)), None)
        if home is None:
            clusters.append([report])
        else:
            home.append(report)
    if len(clusters) < 2:
        return set()
    clusters.sort(key=len, reverse=True)
    tie = len(clusters[0]) == len(clusters[1])
    return {report.position for cluster in clusters[0 if tie else 1 :] for report in cluster}


def _same_person(a: Identity, b: Identity) -> bool:
    """Equal birth dates and alike given names; surnames may change, given names that differ need alike surnames."""
    if a.birth_date and b.birth_date and a.birth_date != b.birth_date:
        return False
    surnames = _alike({a.surname, a.birth_name}, {b.surname, b.birth_name})
    given = _alike({a.given_name}, {b.given_name})
    if a.birth_date and b.birth_date:
        return given
    return given and surnames


def _alike(first: set[str], second: set[str]) -> bool:
    left = [word for name in first for word in words_of(name)]
    right = [word for name in second for word in words_of(name)]
    if not left or not right:
        return True
    return any(
        OSA.normalized_similarity(fold(x), fold(y)) >= 0.7 or (x[0] == y[0] and 1 in (len(x), len(y)))
        for x in left
        for y in right
    )
