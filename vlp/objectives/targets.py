"""Which texts are true of which studies: the targets of the contrastive losses.

Radiology reports repeat themselves: "no fracture" is true of half a batch. A text is a positive of every study whose
report says all that the text says, not of its own study alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlp.training.distributed import gather, rank, world_size

_TABLE = 2**27  # entries of the membership table below that are in memory at once


def matches(studies: Tensor, texts: Tensor) -> Tensor:
    """Which texts are true of which studies: bool [b, B].

    Args:
        studies: [b, Ks] int64, the keys of every statement in a study's report, padded with 0.
        texts: [B, Kt] int64, the keys of the statements in a text, padded with 0.

    Returns:
        True where every statement of the text stands in the study's report; false for a text without statements.
    """
    return _matches(studies, texts, waits=not texts.is_cuda)


def _matches(studies: Tensor, texts: Tensor, waits: bool) -> Tensor:
    """``waits``: leave out copies and empty columns, which the host knows only when the device has counted them."""
    said = texts != 0
    known = torch.unique(texts) if waits else texts.flatten().sort().values
    column = torch.searchsorted(known, texts)  # [B, Kt]
    parts = []
    for block in studies.split(max(1, _TABLE // max(len(known), 1))):
        place = torch.searchsorted(known, block).clamp(max=len(known) - 1)
        held = (known[place] == block) & (block != 0)
        # one column more, for what no text says
        table = torch.zeros(len(block), len(known) + 1, dtype=torch.bool, device=studies.device)
        table.scatter_(1, torch.where(held, place, len(known)), True)
        found = said.any(dim=1).expand(len(block), -1).clone()
        for k in range(texts.shape[1]):
            if not waits or bool(said[:, k].any()):
                found &= table[:, column[:, k]] | ~said[:, k]
        parts.append(found)
    return torch.cat(parts) if parts else studies.new_zeros(0, len(texts), dtype=torch.bool)


@dataclass(frozen=True)
class Keys:
    """What tells that a text is true of another study. Any of the parts may be missing.

    Attributes:
        studies, texts: statement keys of this rank's studies [b, Ks] and texts [b, Kt]; see :func:`matches`.
        labels: [b] int64, equal for studies whose labels are equal, 0 where none are known.
    """

    studies: Tensor | None = None
    texts: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """Targets of this rank's rows against the columns of all ranks, made for a block of rows when asked for.

    Attributes:
        rows: b, of this rank.
        columns: B, of all ranks.
    """

    rows: int
    columns: int
    device: torch.device
    _keys: Keys  # of this rank
    _every: Keys  # of all ranks
    _texts: Tensor | None = None  # [b, E] of this rank, for soft targets; no gradient flows through targets
    _every_text: Tensor | None = None
    soft: float = 0.0
    sharpness: float = 10.0

    @classmethod
    def of(
        cls,
        rows: int,
        device: torch.device,
        keys: Keys | None = None,
        texts: Tensor | None = None,
        soft: float = 0.0,
        sharpness: float = 10.0,
    ) -> Targets:
        """Targets of ``rows`` local pairs; the keys of other ranks are gathered here.

        Args:
            rows: b, equal on every rank.
            keys: None: a text is true of its own study alone, as in CLIP.
            texts: [b, E] normalised text embeddings, needed where ``soft`` > 0.
            soft: share of each row's target that is spread over all texts by their likeness to the row's own text,
                ``softmax(sharpness * cosine)`` (after Gao et al. 2024, SoftCLIP, arXiv 2303.17561, whose likeness is
                between features of each modality; here both directions use the texts, since reports repeat, not films).
        """
        keys = keys or Keys()
        every = Keys(*(None if part is None else gather(part) for part in (keys.studies, keys.texts, keys.labels)))
        own = None if texts is None or not soft else texts.detach()
        everything = None if own is None else gather(own)
        return cls(rows, rows * world_size(), device, keys, every, own, everything, soft, sharpness)

    @property
    def first(self) -> int:
        """The column of this rank's first row."""
        return rank() * self.rows

    @torch.no_grad()
    def images(self, start: int, stop: int) -> Tensor:
        """Which texts of all ranks are true of the local studies ``start`` to ``stop``: bool [stop - start, B]."""
        found = self._own(start, stop)
        if self._keys.studies is not None and self._every.texts is not None:
            found |= matches(self._keys.studies[start:stop], self._every.texts)
        return self._same_labels(found, start, stop)

    @torch.no_grad()
    def texts(self, start: int, stop: int) -> Tensor:
        """Which studies of all ranks the local texts ``start`` to ``stop`` are true of: bool [stop - start, B]."""
        found = self._own(start, stop)
        if self._keys.texts is not None and self._every.studies is not None:
            found |= matches(self._every.studies, self._keys.texts[start:stop]).t()
        return self._same_labels(found, start, stop)

    @torch.no_grad()
    def shares(self, wanted: Tensor, start: int, stop: int) -> Tensor:
        """The target distribution of rows whose matches are ``wanted`` (bool [n, B]): float32 [n, B], rows sum to 1.

        Matches share evenly (Khosla et al. 2020, arXiv 2004.11362); ``soft`` of it goes by the likeness of texts.
        """
        hard = wanted / wanted.sum(dim=1, keepdim=True)
        if self._texts is None or self._every_text is None:
            return hard
        likeness = self._texts[start:stop] @ self._every_text.t()
        return (1 - self.soft) * hard + self.soft * (self.sharpness * likeness).softmax(dim=1)

    def _own(self, start: int, stop: int) -> Tensor:
        found = torch.zeros(stop - start, self.columns, dtype=torch.bool, device=self.device)
        found.diagonal(start + self.first).fill_(True)
        return found

    def _same_labels(self, found: Tensor, start: int, stop: int) -> Tensor:
        if self._keys.labels is None or self._every.labels is None:
            return found
        own = self._keys.labels[start:stop, None]
        return found | ((own == self._every.labels) & (own != 0))
