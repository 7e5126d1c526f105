"""What a public set is: its terms, its expected layout, and how its films are read."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from anonymize.console import UserError
from vlp.corpus.adapters.annotations import BadAnnotations, read_voc, read_yolo
from vlp.corpus.adapters.films import Film, to_source
from vlp.corpus.adapters.tables import read_table
from vlp.corpus.config import PrepareConfig
from vlp.corpus.source import DrawnBox, Origin, Source


@dataclass(frozen=True)
class Need:
    """A part of the expected layout: at least one file that matches one of ``patterns``.

    Patterns are those of :mod:`fnmatch` over the path below the folder with a leading "/", at any depth.
    """

    patterns: tuple[str, ...]
    what: str
    columns: tuple[str, ...] = ()  # that the table must have; tables without them do not match
    optional: bool = False
    remedy: str = "Fetch it from the page of the set and unpack it here."


@dataclass(frozen=True)
class PublicSet:
    """One public set."""

    name: str  # as in ``--set``
    title: str
    licence: str
    use: str  # what the licence means for the corpus
    where: str  # project page or DOI
    languages: str  # of the reports, ISO 639-1, or "none"
    labels: str
    patients: str  # how patients are told apart
    layout: tuple[Need, ...]
    tree: str  # the published structure, as a person sees it
    films: Callable[[Folder, Counter[str]], Iterator[Film]]

    @property
    def origin(self) -> Origin:
        return Origin(self.name, self.title, self.licence, self.use, self.where)


class Folder:
    """The files below a folder, by name; the folder may be the set's own or one above it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, list[str]] = {}
        walked: set[tuple[int, int]] = set()
        for folder, subfolders, names in os.walk(root, followlinks=True):
            place = os.stat(folder)
            if (place.st_dev, place.st_ino) in walked:  # a link back to a folder above
                subfolders.clear()
                continue
            walked.add((place.st_dev, place.st_ino))
            subfolders[:] = sorted(d for d in subfolders if not d.startswith(".") and d != "__MACOSX")
            below = os.path.relpath(folder, root).replace(os.sep, "/")
            for name in sorted(names):
                if not name.startswith("."):  # .DS_Store and the ._ files of macOS
                    self._paths.setdefault(name, []).append(name if below == "." else f"{below}/{name}")

    def matches(self, need: Need) -> list[str]:
        """Paths of the files that serve ``need``, those nearest to the root first."""
        found = [
            path
            for paths in self._paths.values()
            for path in paths
            if any(fnmatchcase(f"/{path}", pattern) for pattern in need.patterns)
            and set(need.columns) <= set(self._header(path) if need.columns else ())
        ]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def rows(self, need: Need) -> Iterator[dict[str, str]]:
        """The rows of the table nearest to the root that serves ``need``; none where there is no such table."""
        found = self.matches(need)
        return read_table(self.root / found[0], need.columns) if found else iter(())

    def find(self, name: str, *near: str, endings: Sequence[str] = ("",)) -> str:
        """Path of the file ``name`` with the first of ``endings`` that there is.

        Of several such files the one that ends as ``name`` with its folders does, then the one whose path holds most
        of the words ``near``. Without any, ``name`` itself, so that the image is refused as missing_file.
        """
        for full in (name + ending for ending in endings):
            if found := self._paths.get(full.rpartition("/")[2]):
                return max(
                    found, key=lambda path: (path.endswith(full), sum(word in path for word in near), -len(path))
                )
        return name + endings[0]

    def _header(self, path: str) -> list[str]:
        try:
            if path.endswith(".xlsx"):
                return list(next(read_table(self.root / path), {}))
            opened = gzip.open if path.endswith(".gz") else open
            with opened(self.root / path, "rb") as stream:
                line = stream.read(65536).split(b"\n")[0].decode("utf-8-sig", errors="replace").replace("\0", "")
        except (OSError, EOFError, UserError):
            return []
        separator = max(",;\t|", key=line.count)
        return [name.strip() for name in next(csv.reader(io.StringIO(line), delimiter=separator), [])]


def read_set(public: PublicSet, root: Path, config: PrepareConfig) -> Source:
    """The films of ``public`` below ``root``.

    Raises:
        UserError: a part of the layout that the set cannot be read without is missing.
    """
    folder = Folder(root)
    missing = [need for need in public.layout if not need.optional and not folder.matches(need)]
    if missing:
        lines = [
            f"{root} is not laid out as {public.title}; `vlp prepare {root} --set {public.name} --check` says more"
        ]
        raise UserError("\n".join(lines + [f"missing: {describe_need(need)}" for need in missing]))
    notes: Counter[str] = Counter()
    return to_source(public.films(folder, notes), root, config, public.name, notes, public.origin)


def box_files(
    folder: Folder, notes: Counter[str], first: Need, second: Need, names: Sequence[str]
) -> Callable[[str], tuple[DrawnBox, ...]]:
    """Boxes of a film by its file's stem, from one annotation file a film: YOLO text or PASCAL VOC XML.

    Args:
        notes: counts the files that cannot be read.
        first, second: where the files are; those of ``second`` only where there are none of ``first``.
        names: of YOLO's classes, by their number.
    """
    paths = folder.matches(first) or folder.matches(second)
    by_stem = {path.rpartition("/")[2].rpartition(".")[0]: folder.root / path for path in reversed(paths)}

    def boxes(stem: str) -> tuple[DrawnBox, ...]:
        path = by_stem.get(stem)
        if path is None:
            return ()
        try:
            return tuple(read_voc(path) if path.suffix == ".xml" else read_yolo(path, names))
        except (BadAnnotations, OSError):
            notes["unreadable_box_files"] += 1
            return ()

    return boxes


def describe_need(need: Need) -> str:
    """One line: the files, the columns they must have, and the remedy."""
    names = " or ".join(pattern.removeprefix("*/") for pattern in need.patterns)
    columns = f" with the columns {', '.join(need.columns)}" if need.columns else ""
    return f"{names}{columns} ({need.what}). {need.remedy}"


def stated(names: Collection[str], of: Mapping[str, Collection[str]], *, exhaustive: bool) -> dict[str, float]:
    """Labels from the names that a set lists for a film.

    Args:
        of: label → the set's names that mean it.
        exhaustive: the set's annotators looked for all of them, so that what is not listed is absent, not unknown.
    """
    found = {label: 1.0 for label, words in of.items() if not set(words).isdisjoint(names)}
    return {**(dict.fromkeys(of, 0.0) if exhaustive else {}), **found}


PHYSIONET = "PhysioNet Credentialed Health Data License 1.5.0"
PHYSIONET_USE = "Research by credentialed users only; no redistribution, also not of the corpus; no re-identification."
