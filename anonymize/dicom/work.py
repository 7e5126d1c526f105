"""What a worker does: some files of a shard, each to a safe instance or a reason, whatever happens beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anonymize.dicom import pixel_review
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.document_instance import Document
from anonymize.dicom.instance import Image, process, quiet
from anonymize.dicom.judge import Judgement
from anonymize.dicom.mapping import Pair
from anonymize.dicom.refusal import Refused
from anonymize.dicom.stores import IMAGES, store_of
from anonymize.keys import Keys

DEATHS = 2
"""Times that the process of a single file must die before the file is blamed: memory can run out once by chance."""


@dataclass(frozen=True)
class Task:
    """Files to clean: their names relative to the source, and the ordinal of the first among all files."""

    first: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a row of the index, or a reason."""

    position: int  # ordinal of the file, from 1
    row: Image | Document | None
    digest: str = ""  # of the written file
    reason: str = ""
    pairs: tuple[Pair, ...] = ()  # which identifier became which
    judged: Judgement | None = None  # what was found in the pixels


class Cleaner:
    """Cleans files of ``source`` into the folders of ``out``.

    A file takes its final name at once. Of two files with one SOP Instance UID the later writer stands there; the merge
    puts that right (:mod:`anonymize.dicom.merge`), so that nothing follows from the order of work.
    """

    def __init__(self, config: DicomConfig, source: Path, out: Path, keys: Keys) -> None:
        import cv2

        cv2.setNumThreads(1)
        quiet()
        self.config, self.source, self.out, self.keys = config, source, out, keys
        self.decisions = pixel_review.read_decisions(out)

    def __call__(self, task: Task) -> list[Outcome]:
        return [self._one(name, task.first + number) for number, name in enumerate(task.names)]

    def _one(self, name: str, position: int) -> Outcome:
        part = f"part-{position}.tmp"
        try:
            folder = self.out / IMAGES.folder
            row, pairs, judged = process(self.source / name, folder, part, self.config, self.keys, self.decisions)
        except Refused as refusal:
            return Outcome(position, None, reason=str(refusal), judged=refusal.judged)
        except OSError:
            raise  # the output cannot be written: the run must stop
        except Exception:  # whatever a malformed file provokes; its message may quote the header
            return Outcome(position, None, reason="corrupt_pixels")
        final = self.out / store_of(row).folder / row.path
        written = final.with_name(part)
        digest = digest_of(written)
        written.replace(final)
        return Outcome(position, row, digest, pairs=tuple(pairs), judged=judged)


def again(task: Task, deaths: int) -> Sequence[Task]:
    """A codec that ends its process costs the one file it held: the files of a task are tried one by one."""
    if len(task.names) > 1:
        return [Task(task.first + number, (name,)) for number, name in enumerate(task.names)]
    return [task] if deaths < DEATHS else []


def crashed(task: Task) -> list[Outcome]:
    """The outcome of a task that was given up."""
    return [Outcome(task.first, None, reason="corrupt_pixels")]


def digest_of(path: Path) -> str:
    """32 hex digits of the file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
