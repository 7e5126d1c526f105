"""Training batches of studies by step: a pure function of (seed, step), so that a killed run goes on exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from anonymize.console import Console
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.study import Study
from vlp.training.data import Images


class TaskBatches:
    """Batch ``index``: the next ``batch_size`` studies of an endless row of shuffled epochs.

    A batch holds ``images`` uint8 [M, 1, S, S] (at most ``images`` of each study, drawn anew), ``study_index`` [M]
    int64, ``ids`` (pseudonyms), and what ``extra`` makes of the studies. Every study comes once an epoch, so that a
    few labels are used evenly; patients are not kept apart, because no loss here compares the rows of a batch.
    """

    def __init__(
        self,
        corpus: Corpus,
        studies: Sequence[Study],
        square: Square,
        batch_size: int,
        *,
        seed: int = 0,
        images: int = 2,
        cache_mb: int = 2048,
        extra: Callable[[list[Study]], dict[str, Any]] | None = None,
    ) -> None:
        if not studies:
            raise ValueError("no studies to train on")
        self.studies, self.batch_size, self.seed, self.most, self.extra = list(studies), batch_size, seed, images, extra
        refs = [ref for study in self.studies for ref in study.images]
        self.images = Images(corpus, refs, square, cache_mb, Console("quiet"))
        self._first = np.cumsum([0, *(len(study.images) for study in self.studies)])
        self._order: tuple[int, np.ndarray] | None = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = index * self.batch_size
        chosen = [self._at(i) for i in range(start, start + self.batch_size)]
        rng = np.random.default_rng([self.seed, 3, index])
        rows: list[int] = []
        owner: list[int] = []
        for position, number in enumerate(chosen):
            available = len(self.studies[number].images)
            drawn = range(available)
            if available > self.most:
                drawn = sorted(rng.choice(available, self.most, replace=False))
            rows += [int(self._first[number] + i) for i in drawn]
            owner += [position] * len(drawn)
        studies = [self.studies[i] for i in chosen]
        return {
            "images": self.images[rows],
            "study_index": torch.tensor(owner),
            "ids": [s.study_id for s in studies],
            **(self.extra(studies) if self.extra else {}),
        }

    def _at(self, position: int) -> int:
        """The study at ``position`` of the endless row."""
        epoch, place = divmod(position, len(self.studies))
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, 5, epoch]).permutation(len(self.studies)))
        return int(self._order[1][place])
