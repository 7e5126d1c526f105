"""Reading a corpus: its studies, its pixels, and a map-style data set whose randomness can be resumed exactly."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyarrow import ArrowInvalid

from anonymize.console import UserError
from anonymize.files import read_rows
from vlp.corpus.cache import SquareCache
from vlp.corpus.frame import Square, to_square
from vlp.corpus.store import Store
from vlp.corpus.stored import StoredImages
from vlp.study import SPLITS, ImageRef, Study

Pixels = npt.NDArray[np.uint8]
Transform = Callable[[Pixels, np.random.Generator], Any]


class Corpus:
    """A prepared corpus (docs/architecture.md, "Corpus"). Cheap to open and to pickle; pixels are read when asked for.

    Attributes:
        store: where it lies.
        studies: all studies in manifest order.
        info: the content of ``corpus.json``.
    """

    def __init__(
        self,
        location: str | Path | Store,
        studies: list[Study],
        info: dict[str, Any],
        cache_mb: int = 0,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.store = location if isinstance(location, Store) else Store(location)
        self.studies = studies
        self.info = info
        self._cache_bytes = cache_mb * 2**20
        self._cache_dir = Path(cache_dir) if cache_dir is not None and info.get("fingerprint") else None
        self._start()

    @classmethod
    def open(cls, location: str | Path, cache_mb: int = 0, cache_dir: str | Path | None = None) -> Corpus:
        """Open the corpus at ``location``: a folder, or what fsspec opens (``s3://bucket/corpus``).

        Args:
            cache_mb: up to so much of decoded pixels stays in memory, per process.
            cache_dir: folder on this machine in which decoded squares are kept for all processes and the next runs
                (:mod:`vlp.corpus.cache`); None takes the environment's ``VLP_CACHE``, and keeps none where that is
                empty too.

        Raises:
            UserError: there is no finished corpus.
        """
        store = Store(location)
        if not (store.exists("manifest.parquet") and store.exists("corpus.json")):
            raise UserError(
                f"{store.location} is not a finished corpus (manifest or corpus.json is missing); run `vlp prepare`"
            )
        try:
            with store.reading("manifest.parquet") as manifest:
                studies = [Study.from_row(row) for row in read_rows(manifest)]
            info = store.read_json("corpus.json")
            info["fingerprint"], info["size"]
        except (ArrowInvalid, KeyError, TypeError, ValueError) as error:  # ValueError: not JSON
            raise UserError(
                f"{store.location}: manifest.parquet or corpus.json is damaged or of another version of vlp "
                f"({_shortly(error)}); run `vlp prepare` of this version on the safe export again"
            ) from None
        return cls(store, studies, info, cache_mb, cache_dir or os.environ.get("VLP_CACHE") or None)

    @property
    def path(self) -> Path | str:
        """The corpus folder, or the location elsewhere."""
        return self.store.folder if self.store.folder is not None else self.store.location

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with the content of manifest and images."""
        return str(self.info["fingerprint"])

    @property
    def size(self) -> int:
        """Working size: the long side of the stored images in pixels (smaller originals keep their size)."""
        return int(self.info["size"])

    @property
    def card(self) -> str:
        """The data card (Markdown)."""
        return self.store.read("card.md").decode() if self.store.exists("card.md") else ""

    def select(
        self,
        split: str | None = None,
        anatomy: str | Sequence[str] | None = None,
        label: str | None = None,
        reported: bool | None = None,
    ) -> list[Study]:
        """Studies in manifest order that are in ``split``, show ``anatomy``, have a value for ``label``, have a text.

        Raises:
            ValueError: ``split`` is not a split's name.
        """
        if split is not None and split not in SPLITS:
            raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
        wanted = (anatomy,) if isinstance(anatomy, str) else anatomy
        return [
            study
            for study in self.studies
            if (split is None or study.split == split)
            and (wanted is None or study.anatomy in wanted)
            and (label is None or label in study.labels)
            and (reported is None or bool(study.report) == reported)
        ]

    def pixels(self, ref: ImageRef) -> Pixels:
        """The stored image: uint8 [H, W], 0 is air (MONOCHROME2 sense). Do not write into it."""
        found = self._cache.get((ref.shard, ref.row))
        if found is None:
            found = self._images.pixels(ref.shard, ref.row)
            found.flags.writeable = False
            if self._cached + found.nbytes <= self._cache_bytes:
                self._cache[ref.shard, ref.row] = found
                self._cached += found.nbytes
        return found

    def deep_pixels(self, ref: ImageRef) -> npt.NDArray[np.uint16]:
        """The stored image: uint16 [H, W] over 0-65535, air at 0; with 256 levels where the corpus has ``depth`` 8."""
        return self._images.deep_pixels(ref.shard, ref.row)

    def square(self, ref: ImageRef, square: Square) -> Pixels:
        """The image as uint8 [side, side]."""
        if self._cache_dir is None:
            return to_square(self.pixels(ref), square)
        if square not in self._squares:
            self._squares[square] = SquareCache(self._cache_dir, self.fingerprint, square, int(self._firsts()[-1]))
        cache, position = self._squares[square], int(self._firsts()[ref.shard]) + ref.row
        found = cache.get(position)
        if found is None:
            found = to_square(self.pixels(ref), square)
            cache.put(position, found)
            return found
        return np.array(found)  # torch warns of arrays that it may not write to

    def _firsts(self) -> npt.NDArray[np.int64]:
        """Position of each shard's first image when all are counted through; the last entry is their number."""
        if self._first is None:
            places = [(ref.shard, ref.row + 1) for study in self.studies for ref in study.images]
            shards, rows = np.array(places or [(0, 0)], np.int64).T
            sizes = np.zeros(int(shards.max()) + 1, np.int64)
            np.maximum.at(sizes, shards, rows)
            self._first = np.concatenate([[0], np.cumsum(sizes)])
        return self._first

    def _start(self) -> None:
        self._images = StoredImages(self.store, self.info.get("store", "parquet"))
        self._cache: dict[tuple[int, int], Pixels] = {}
        self._cached = 0
        self._squares: dict[Square, SquareCache] = {}
        self._first: npt.NDArray[np.int64] | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = ("store", "studies", "info", "_cache_bytes", "_cache_dir")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"Corpus({self.store.location!r}, {len(self.studies)} studies, {self.info.get('fingerprint')})"


def no_training(corpus: Corpus, what: str = "images") -> str:
    """What to tell a user whose corpus has nothing to train on: which splits there are, and the remedy."""
    studies = [study for study in corpus.studies if study.images]
    splits = ", ".join(f"{count} {split or 'without a split'}" for split, count in _counts(studies)) or "none"
    reports = sum(1 for study in studies if study.split == "train" and study.report)
    if "report" in what and any(study.split == "train" for study in studies) and not reports:
        remedy = (
            "none of the training studies has a report: `vlp prepare` pairs reports with images by study, or writes texts "
            "from labels with --describe-labels; `vlp pretrain` needs none"
        )
    else:
        remedy = "run `vlp prepare` with split.train above 0, and see splits.parquet for who is where"
    return f"{corpus.path} has no training studies with {what} (studies with images: {splits}); {remedy}"


def _counts(studies: Sequence[Study]) -> list[tuple[str, int]]:
    return sorted(Counter(study.split for study in studies).items())


def _shortly(error: Exception) -> str:
    """The kind of error and the first words of its text, on one line. It names columns, never values."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


class Key(NamedTuple):
    """What a sampler yields: the epoch travels with the index, so that worker processes that outlive an epoch agree."""

    epoch: int
    index: int


@dataclass(frozen=True)
class Sample:
    """One item of a :class:`StudyDataset`."""

    index: int  # into the data set's studies
    study: Study
    refs: tuple[ImageRef, ...]  # the images drawn, in the study's order
    images: tuple[Any, ...]  # what the transform made of each of ``refs``


class StudyDataset:
    """Map-style data set over ``studies`` (torch.utils.data.Dataset by its methods; torch is not needed here).

    All that is random in an item (which images, and what the transform draws) is a pure function of
    ``(seed, epoch, index)``: it does not depend on workers, order or what was read before, so resuming is exact.

    Args:
        transform: takes uint8 [H, W] pixels (read-only) and a numpy generator; returns what a collate function takes.
        images: how many images of a study an item holds: None for all, else at most that many, drawn anew every epoch.
    """

    def __init__(
        self, corpus: Corpus, studies: Sequence[Study], transform: Transform, seed: int = 0, images: int | None = 1
    ) -> None:
        if images is not None and images < 1:
            raise ValueError(f"images must be at least 1, or None for all, not {images}")
        self.corpus = corpus
        self.studies = list(studies)
        self.transform = transform
        self.seed = seed
        self.images = images
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of plain integer indices; :class:`Key` carries its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, key: int | Key) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (self.epoch, int(key))
        if not 0 <= index < len(self.studies):
            raise IndexError(index)
        study = self.studies[index]
        rng = np.random.default_rng([self.seed, epoch, index])
        refs = study.images
        if self.images is not None and len(refs) > self.images:
            refs = tuple(refs[i] for i in sorted(rng.choice(len(refs), self.images, replace=False)))
        images = tuple(self.transform(self.corpus.pixels(ref), rng) for ref in refs)
        return Sample(index, study, refs, images)
