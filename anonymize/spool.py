"""First pass over an export: refuse what cannot be used, collect its names, deal its reports to shards by patient.

The shards hold real text. They stand in the private folder beside the safe export (mode 0700) and are deleted when the
stage is done.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rapidfuzz.distance import OSA

from anonymize.detectors.known_identity import KnownWords
from anonymize.files import read_json, write_json
from anonymize.keys import normalise_identifier
from anonymize.languages import Pack
from anonymize.readers import Source
from anonymize.readers.rows import RowReader, map_columns
from anonymize.report import Gazetteer, Identity, Report
from anonymize.text import collapse, fold, words_of

_BUFFER = 8 * 1024 * 1024
_MAXIMUM_SHARDS = 4096


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
    refused: tuple[Refused, ...]
    mapping: dict[str, str]  # field → heading
    details: dict[str, str]


class NameCollector:
    """Gathers the words of an export's identity columns."""

    def __init__(self, words: KnownWords) -> None:
        self._words = words
        self.surnames: set[str] = set()
        self.given_names: set[str] = set()
        self.staff: set[str] = set()
        self.towns: set[str] = set()
        self.streets: set[str] = set()

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
            *(frozenset(part) for part in (self.surnames | self.staff, self.given_names, self.staff, self.towns))
        )

    def avoid(self) -> set[str]:
        """All words that no surrogate may equal."""
        return (
            self.surnames
            | self.given_names
            | self.staff
            | self.streets
            | {word for town in self.towns for word in town.split()}
        )

    def _significant(self, name: str) -> list[str]:
        return [word for word in words_of(name) if len(word) > 2 and word not in self._words.particles]


def deal(source: Source, pack: Pack, folder: Path, shard_mb: float) -> Plan:
    """Read ``source`` once; write ``folder/bucket-*.jsonl``, ``names.json`` and, last, ``plan.json``."""
    columns = map_columns(source.headings, source.config.columns, pack)
    reader = RowReader(columns, pack)
    collector = NameCollector(KnownWords(pack))
    shards = max(1, min(_MAXIMUM_SHARDS, round(source.size / (shard_mb * 1024 * 1024))))
    for old in folder.glob("bucket-*.jsonl"):
        old.unlink()
    buffers: dict[int, list[str]] = defaultdict(list)
    size = count = 0
    seen: set[bytes] = set()
    refused: list[Refused] = []
    for row in source.rows():
        count += 1
        report, reason = (None, row.problem) if row.problem else reader.read(row.position, row.values)
        if report is not None:
            digest = hashlib.blake2b(
                "\x1f".join(row.values).encode("utf-8", "surrogateescape"), digest_size=12
            ).digest()
            if digest in seen:
                report, reason = None, "duplicated_row"
            seen.add(digest)
        if report is None:
            refused.append(Refused(row.position, reason))
            continue
        collector.add(report.identity)
        line = json.dumps(asdict(report), ensure_ascii=False)
        buffers[zlib.crc32(normalise_identifier(report.identity.patient_id).encode()) % shards].append(line)
        size += len(line)
        if size > _BUFFER:
            _flush(buffers, folder)
            size = 0
    _flush(buffers, folder)
    for shard in range(shards):
        bucket_path(folder, shard).touch(mode=0o600)
    names = collector.gazetteer()
    write_json(
        folder / "names.json", {**{k: sorted(v) for k, v in asdict(names).items()}, "avoid": sorted(collector.avoid())}
    )
    mapping = {field: source.headings[index] for field, index in columns.items()}
    write_json(folder / "origins.json", source.origins)
    plan = Plan(count, shards, tuple(refused), mapping, source.details)
    write_json(folder / "plan.json", asdict(plan))
    return plan


def read_plan(folder: Path) -> Plan | None:
    """The plan of a finished first pass, or None."""
    path = folder / "plan.json"
    if not path.is_file():
        return None
    data = read_json(path)
    return Plan(**{**data, "refused": tuple(Refused(**item) for item in data["refused"])})


def read_names(folder: Path) -> tuple[Gazetteer, frozenset[str]]:
    """The gazetteer of the export, and the words that surrogates avoid."""
    data = read_json(folder / "names.json")
    avoid = frozenset(data.pop("avoid"))
    return Gazetteer(**{name: frozenset(words) for name, words in data.items()}), avoid


def bucket_path(folder: Path, shard: int) -> Path:
    """Where the reports of a shard wait."""
    return folder / f"bucket-{shard:05d}.jsonl"


def read_bucket(folder: Path, shard: int) -> Iterator[Report]:
    """The reports of one shard in the order of the export."""
    with bucket_path(folder, shard).open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            identity = row.pop("identity")
            yield Report(identity=Identity(**{**identity, "staff": tuple(identity["staff"])}), **row)


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


def _flush(buffers: dict[int, list[str]], folder: Path) -> None:
    for shard, lines in buffers.items():
        with bucket_path(folder, shard).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)
    buffers.clear()
