"""Batches of studies for contrastive training: no two of a patient, no two that say the same, resumable exactly.

Two studies of one patient, or two equal reports, in one batch would be counted as negatives of each other although they
match; both inflate the contrastive loss with false negatives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anonymize.files import fingerprint
from vlp.corpus.dataset import Key
from vlp.study import Study

_TRIES = 8  # looks at waiting studies, for each place of a batch and for each key


class StudyBatchSampler:
    """Batch sampler (``DataLoader(batch_sampler=...)``) that yields this rank's part of every global batch.

    The global batches are a pure function of ``(studies, batch_size, seed, epoch)``: they do not depend on the number
    of processes. Rank r takes items r, r + world_size, ... of each.

    In an epoch no study comes twice. With ``drop_last`` (training) only full batches are made; studies that would need
    a short one wait for the next epoch, whose order differs. Without it every study comes exactly once, in short
    batches at the end if need be. Where very many reports are equal, unique texts make few full batches; then either
    turn ``unique_reports`` off and let the loss treat equal texts as positives, or accept that an epoch sees some.

    Args:
        batch_size: global, over all ranks; divisible by ``world_size``.
        unique_reports: no two studies with the same non-empty ``report_hash`` in a batch.

    Raises:
        ValueError: batch_size is not a positive multiple of world_size; rank out of range; several ranks without
            ``drop_last`` (ranks would get unequal numbers of batches and wait for each other for ever).
    """

    def __init__(
        self,
        studies: Sequence[Study],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        drop_last: bool = True,
        unique_patients: bool = True,
        unique_reports: bool = True,
    ) -> None:
        if batch_size < 1 or world_size < 1 or batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} must be a positive multiple of world_size {world_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} must be at least 0 and below world_size {world_size}")
        if world_size > 1 and not drop_last:
            raise ValueError("several ranks need drop_last=True, or they would get unequal numbers of batches")
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.drop_last = drop_last
        self._patients = _codes([s.patient_id if unique_patients else "" for s in studies])
        self._reports = _codes([s.report_hash if unique_reports else "" for s in studies])
        self._studies = fingerprint([s.study_id for s in studies], unique_patients, unique_reports)
        self._made: tuple[int, list[list[int]]] | None = None
        self.epoch = 0
        self.step = 0

    def seek(self, epoch: int, step: int = 0) -> None:
        """The next iteration starts at global batch ``step`` of ``epoch``."""
        self.epoch, self.step = epoch, step

    def set_epoch(self, epoch: int) -> None:
        """:meth:`seek` to the start of ``epoch``."""
        self.seek(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Position of the next batch to be yielded.

        A DataLoader with workers asks for batches ahead of their use: a training loop counts its own steps and gives
        them to :meth:`seek`.
        """
        return {"epoch": self.epoch, "step": self.step, "of": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position.

        Raises:
            ValueError: the state belongs to other studies, another batch size or another seed.
        """
        if state["of"] != self._identity():
            raise ValueError("the sampler's state belongs to other studies, another batch size or another seed")
        self.seek(state["epoch"], state["step"])

    def global_batches(self, epoch: int) -> list[list[int]]:
        """All batches of ``epoch`` over all ranks, as indices into the studies."""
        if self._made is None or self._made[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self._patients)).tolist()
            self._made = (epoch, self._pack(order))
        return self._made[1]

    def __len__(self) -> int:
        """Batches of the current epoch (epochs can differ by a few where patients or texts repeat much)."""
        return len(self.global_batches(self.epoch))

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        batches = self.global_batches(epoch)
        for step in range(self.step, len(batches)):
            self.epoch, self.step = (epoch, step + 1) if step + 1 < len(batches) else (epoch + 1, 0)
            yield [Key(epoch, index) for index in batches[step][self.rank :: self.world_size]]

    def _pack(self, order: list[int]) -> list[list[int]]:
        """First fit in random order: who does not fit waits and comes first in one of the next batches."""
        batches: list[list[int]] = []
        waiting = _Waiting()
        position = 0
        while waiting or position < len(order):
            batch = _Batch(self.batch_size)
            waiting.fill(batch)
            while not batch.full and position < len(order):
                index = order[position]
                patient, report = self._patients[index], self._reports[index]
                blocker = batch.blocker(patient, report)
                if blocker is None:
                    batch.add(index, patient, report)
                else:
                    waiting.add(index, patient, report, blocker)
                position += 1
            if self.drop_last and not batch.full:
                break  # no new study can come, so what waits waits for the next epoch
            batches.append(batch.items)
        return batches

    def _identity(self) -> dict[str, Any]:
        return {
            "studies": self._studies,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "drop_last": self.drop_last,
        }


class _Batch:
    """One batch being filled. A key is a report's code, or -2 less a patient's."""

    def __init__(self, size: int) -> None:
        self.items: list[int] = []
        self.size = size
        self._used: set[int] = set()

    @property
    def full(self) -> bool:
        return len(self.items) == self.size

    def blocker(self, patient: int, report: int) -> int | None:
        """The key that keeps such a study out of this batch; None where it fits."""
        if report in self._used:
            return report
        return -2 - patient if -2 - patient in self._used else None

    def add(self, index: int, patient: int, report: int) -> None:
        self.items.append(index)
        if patient >= 0:
            self._used.add(-2 - patient)
        if report >= 0:
            self._used.add(report)


@dataclass
class _Group:
    """Waiting studies of one patient with one text: which of them comes first makes no difference to what fits."""

    patient: int
    report: int
    members: deque[int]


class _Waiting:
    """Studies that did not fit, each parked under the patient or the text that kept it out last.

    Of those under one key at most one fits into a batch, so a batch looks at one of each, not at all. Tries are limited
    by the batch's size, and keys take turns: an epoch's cost grows with its studies, however they repeat.
    """

    def __init__(self) -> None:
        self._parked: dict[int, deque[_Group]] = {}
        self._groups: dict[tuple[int, int], _Group] = {}
        self._turns: deque[int] = deque()  # the keys of _parked

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, index: int, patient: int, report: int, blocker: int) -> None:
        group = self._groups.get((patient, report))
        if group is not None:
            group.members.append(index)
            return
        group = self._groups[patient, report] = _Group(patient, report, deque([index]))
        self._park(group, blocker)

    def fill(self, batch: _Batch) -> None:
        tries = _TRIES * batch.size
        for _ in range(len(self._turns)):
            if batch.full or tries <= 0:
                return
            key = self._turns.popleft()
            queue = self._parked[key]
            for _ in range(min(_TRIES, len(queue))):
                tries -= 1
                group = queue[0]
                blocker = batch.blocker(group.patient, group.report)
                if blocker == key:
                    break
                queue.popleft()
                if blocker is not None:
                    self._park(group, blocker)
                    continue
                batch.add(group.members.popleft(), group.patient, group.report)
                if group.members:
                    queue.append(group)
                else:
                    del self._groups[group.patient, group.report]
                break
            if queue:
                self._turns.append(key)
            else:
                del self._parked[key]

    def _park(self, group: _Group, key: int) -> None:
        if key not in self._parked:
            self._parked[key] = deque()
            self._turns.append(key)
        self._parked[key].append(group)


def _codes(values: Sequence[str]) -> list[int]:
    """Equal non-empty strings get equal codes from 0; the empty string gets -1, which equals nothing."""
    known: dict[str, int] = {}
    return [known.setdefault(value, len(known)) if value else -1 for value in values]
