"""Batches by index from a corpus: what the loop needs to start at any step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from anonymize.config import Config
from anonymize.console import Console, UserError
from vlp.corpus.body import body_masks
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.corpus.sampler import StudyBatchSampler
from vlp.encoders.image import ImageConfig
from vlp.study import ImageRef, Study
from vlp.training.descriptions import Descriptions
from vlp.training.rewrite import Facts, rewriter
from vlp.training.texts import TextSampling, key, keys, sample, whole


class DataConfig(Config):
    """How images are read."""

    batch_size: int = Field(default=64, ge=2)  # over all processes
    source_size: int | None = None  # side in pixels of the squares that crops are taken from; default 8/7 of image_size
    cache_mb: int = Field(
        default=4096, ge=0
    )  # hold all decoded squares in memory, per process, where they need no more
    images_per_study: int = Field(default=2, ge=1)  # at most, drawn anew every time (align)


def source_square(image: ImageConfig, side: int | None = None) -> Square:
    """What crops for a tower are taken from: by default a seventh larger than what it sees."""
    return Square(side or image.image_size * 8 // 7, image.framing)


class Images:
    """Squares of a corpus by position in ``refs``: in memory where they fit, else read each time."""

    def __init__(
        self, corpus: Corpus, refs: Sequence[ImageRef], square: Square, cache_mb: int, console: Console
    ) -> None:
        self.corpus, self.refs, self.square = corpus, list(refs), square
        self._memory: Tensor | None = None
        self._bodies: dict[int, bytes] = {}  # bits of their masks, where the images are in memory
        if len(self.refs) * square.side**2 <= cache_mb * 2**20:
            self._memory = self._read(range(len(self.refs)), console)

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """uint8 [len(indices), 1, side, side]."""
        if self._memory is not None:
            return self._memory[torch.as_tensor(indices, dtype=torch.int64)]
        return torch.stack([self._one(i) for i in indices])

    def body(self, indices: Sequence[int], images: Tensor) -> Tensor:
        """Where the body is in ``images``, those of ``indices``: see :func:`vlp.corpus.body.body_masks`."""
        if self._memory is None:
            return body_masks(images)
        missing = [place for place, index in enumerate(indices) if index not in self._bodies]
        if missing:
            for place, mask in zip(missing, body_masks(images[missing]).numpy(), strict=True):
                self._bodies[indices[place]] = np.packbits(mask).tobytes()
        bits = np.stack([np.frombuffer(self._bodies[index], np.uint8) for index in indices])
        masks = torch.from_numpy(np.unpackbits(bits, axis=1))
        side = math.isqrt(masks.shape[1])
        return masks.view(-1, 1, side, side)

    def _one(self, index: int) -> Tensor:
        return torch.from_numpy(self.corpus.square(self.refs[index], self.square)).unsqueeze(0)

    def _read(self, indices: Sequence[int], console: Console) -> Tensor:
        images = torch.empty(len(indices), 1, self.square.side, self.square.side, dtype=torch.uint8)
        with ThreadPoolExecutor(4) as pool:  # decoding and resizing leave the interpreter lock
            for i, image in enumerate(console.track(pool.map(self._one, indices), len(indices), "reading", "images")):
                images[i] = image
        return images


class EpochBatches:
    """Which of ``count`` items this rank has in batch ``index``: an epoch shows each once, in an order of its own."""

    def __init__(self, count: int, batch_size: int, seed: int, rank: int, world: int) -> None:
        self.count, self.batch_size, self.seed, self.rank, self.world = count, batch_size, seed, rank, world
        self._order: tuple[int, Any] = (-1, None)

    def __getitem__(self, index: int) -> list[int]:
        epoch, position = divmod(index, self.count // self.batch_size)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count))
        start = position * self.batch_size
        return self._order[1][start : start + self.batch_size][self.rank :: self.world].tolist()


class ImageBatches:
    """This rank's images of batch ``index``; each epoch is a new order of all of them. Pure function of the index."""

    def __init__(
        self, images: Images, batch_size: int, seed: int, rank: int, world: int, *, body: bool = False
    ) -> None:
        """``body``: whether a batch also says where the body is.

        Raises:
            UserError: the batch does not divide by the processes, or there are fewer images than one batch.
        """
        check_batch(batch_size, world, len(images), "images")
        self.images, self.body = images, body
        self._chosen = EpochBatches(len(images), batch_size, seed, rank, world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        chosen = self._chosen[index]
        images = self.images[chosen]
        masks = {"body": self.images.body(chosen, images)} if self.body else {}
        return {"images": images, **masks, "ids": [self.images.refs[i].image_id for i in chosen]}


class StudyBatches:
    """This rank's studies of batch ``index`` with a text each; no two of a patient in a batch. Pure function of the index."""

    def __init__(
        self,
        corpus: Corpus,
        studies: Sequence[Study],
        config: DataConfig,
        sampling: TextSampling,
        square: Square,
        seed: int,
        rank: int,
        world: int,
        console: Console,
        *,
        flip: float = 0.0,
        negatives: bool = False,
        descriptions: Descriptions | None = None,
    ) -> None:
        """
        Args:
            flip: chance that a study is shown as its mirror image, with the sides of its text swapped; a study whose
                report names a side that cannot be swapped is never mirrored.
            negatives: whether each text comes with a rewriting that is false of its study.
            descriptions: what findings look like, drawn anew for every batch.

        Raises:
            UserError: the batch does not divide by the processes, or no batch of different patients can be made.
        """
        check_batch(config.batch_size, world, len({s.patient_id for s in studies}), "patients")
        self.studies, self.config, self.sampling, self.seed = list(studies), config, sampling, seed
        self.rank, self.world = rank, world
        refs = [ref for study in self.studies for ref in study.images]
        self.images = Images(corpus, refs, square, config.cache_mb, console)
        self._first = np.cumsum([0, *(len(study.images) for study in self.studies)])
        self._sampler = StudyBatchSampler(self.studies, config.batch_size, seed=seed, unique_reports=False)
        self._keys = keys([whole(study) for study in self.studies])
        self._labels = torch.tensor([key(repr(sorted(s.labels.items()))) if s.labels else 0 for s in self.studies])
        self._anatomies = torch.tensor([key(s.anatomy) for s in self.studies])
        self.flip, self.negatives, self.descriptions = flip, negatives, descriptions
        self._facts: dict[int, Facts] = {}
        self._starts = [0]  # index of the first batch of each epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        while self._starts[-1] <= index:
            made = len(self._sampler.global_batches(len(self._starts) - 1))
            self._starts.append(self._starts[-1] + max(1, made))
        epoch = bisect_right(self._starts, index) - 1
        chosen = self._sampler.global_batches(epoch)[index - self._starts[epoch]][self.rank :: self.world]
        rows: list[int] = []
        owner: list[int] = []
        shown: list[Shown] = []
        for position, number in enumerate(chosen):
            study = self.studies[number]
            rng = np.random.default_rng([self.seed, index, number])
            count = min(len(study.images), self.config.images_per_study)
            drawn = sorted(rng.choice(len(study.images), count, replace=False))
            rows += [int(self._first[number] + i) for i in drawn]
            owner += [position] * count
            shown.append(self._shown(number, rng))
        texts = [item.text for item in shown]
        index_of = torch.tensor(owner, dtype=torch.int64)
        return {
            "images": self.images[rows],
            "study_index": index_of,
            "mirrored": torch.tensor([item.mirrored for item in shown])[index_of],
            "texts": texts,
            "negatives": [item.negative for item in shown],
            "study_keys": torch.stack([item.keys for item in shown]),
            "text_keys": keys(texts),
            "label_keys": self._labels[torch.tensor(chosen)],
            "anatomy_keys": self._anatomies[torch.tensor(chosen)],
            "ids": [self.studies[i].study_id for i in chosen],
            **(self.descriptions.batch(index, [self.studies[i] for i in chosen]) if self.descriptions else {}),
        }

    def _shown(self, number: int, rng: np.random.Generator) -> Shown:
        """What is read of a study, and whether its images are mirrored."""
        study = self.studies[number]
        text = sample(study, self.sampling, rng)
        rewrite = rewriter(study.language) if study.language and (self.flip or self.negatives) else None
        if rewrite is None:
            return Shown(text, "", self._keys[number], False)
        negative = ""
        if self.negatives:
            if number not in self._facts:
                self._facts[number] = rewrite.facts(study.report)
            negative = rewrite.false(text, self._facts[number], rng)
        if rng.random() < self.flip:
            swapped = [rewrite.mirror(part) for part in (text, negative, whole(study))]
            if None not in swapped:
                text, negative, full = (str(part) for part in swapped)
                return Shown(text, negative, keys([full])[0], True)
        return Shown(text, negative, self._keys[number], False)


@dataclass(frozen=True)
class Shown:
    """What a batch holds of one study: a text, its contrary ("" for none), the keys of the whole, whether mirrored."""

    text: str
    negative: str
    keys: Tensor
    mirrored: bool


def check_batch(batch_size: int, world: int, available: int, what: str, key: str = "data.batch_size") -> None:
    """``batch_size`` is the setting ``key``, and counts ``what`` over ``world`` processes.

    Raises:
        UserError: it does not divide by the processes, or fewer are ``available``.
    """
    if batch_size % world:
        near = max(world, batch_size // world * world)
        raise UserError(
            f"{key}={batch_size} does not divide by {world} processes: it counts over all of them; set it to "
            f"{near} or {near + world}"
        )
    if available < batch_size:
        raise UserError(
            f"{key}={batch_size}, but there are only {available} {what} to train on"
            + (" and no two studies of a patient are in one batch" if what == "patients" else "")
            + f"; set {key} to at most {available // world * world}"
        )
