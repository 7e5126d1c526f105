"""Names of one concept close together, names of others apart: the objective of SapBERT."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from anonymize.config import Config
from vlp.encoders.text import TextEncoder
from vlp.objectives.blocks import ELEMENTS, sum_by_blocks
from vlp.objectives.gradcache import chunked
from vlp.objectives.precision import precise
from vlp.training.distributed import gather, mean_of_all, rank


class SynonymConfig(Config):
    """The multi-similarity loss and its mining, with the values of SapBERT's published code."""

    alpha: float = Field(default=1.0, gt=0)  # sharpness among names of the same concept
    beta: float = Field(default=60.0, gt=0)  # sharpness among names of others
    base: float = Field(default=0.5, ge=-1, le=1)  # cosine that parts the two
    margin: float | None = 0.2  # a pair counts if it breaks this margin of distance; null: all pairs count
    chunk: int = Field(default=0, ge=0)  # names whose activations are in memory at once; 0 for all


def multi_similarity(
    names: Tensor,
    concepts: Tensor,
    forms: Tensor,
    config: SynonymConfig | None = None,
    elements: int = ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """Multi-similarity loss over hard pairs (Wang et al. 2019, arXiv 1904.06627; Liu et al. 2021, arXiv 2010.11784).

    A triplet (anchor, positive, negative) is hard if the negative is not farther from the anchor than the positive by
    ``margin``, in Euclidean distance of unit vectors. A pair that stands in a hard triplet counts. Each rank computes
    its own anchors against the names of all ranks, gathered with their gradient, a block of rows at a time.

    Args:
        names: [b, E] float32, L2-normalised; equal b on every rank.
        concepts: [b] int64: equal for names of the same concept.
        forms: [b] int64: equal for names that read the same. A homonym (equal form, other concept) and a repeated name
            of the same concept are neither positive nor negative.

    Returns:
        loss: [], whose mean over ranks is the loss of the whole batch and whose averaged gradient is exact. Anchors
            without a hard pair count as 0, as in the published code.
        mined: [b] bool: anchors that have a hard pair; without gradient.
    """
    chosen = config or SynonymConfig()
    rows = len(names)
    every, every_concept, every_form = gather(names), gather(concepts), gather(forms)
    mined = torch.zeros(rows, dtype=torch.bool, device=names.device)

    def part(start: int, stop: int) -> Tensor:
        cosine = names[start:stop] @ every.t()
        with torch.no_grad():
            other_form = forms[start:stop, None] != every_form
            same = concepts[start:stop, None] == every_concept
            positive, negative = hard_pairs(cosine, same & other_form, ~same & other_form, chosen.margin)
            mined[start:stop] = positive.any(dim=1)
        near = _soft_count(-chosen.alpha * (cosine - chosen.base), positive) / chosen.alpha
        far = _soft_count(chosen.beta * (cosine - chosen.base), negative) / chosen.beta
        return (near + far).sum()

    return sum_by_blocks(part, rows, len(every), elements) / rows, mined


def hard_pairs(cosine: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> tuple[Tensor, Tensor]:
    """The pairs [b, B] that stand in a triplet which breaks ``margin``.

    A positive is hard if it is farther than the nearest negative less the margin, a negative if it is nearer than the
    farthest positive and the margin: the same pairs as over all b x B x B triplets, from two extremes of each row.
    """
    if margin is None:
        both = positive.any(dim=1, keepdim=True) & negative.any(dim=1, keepdim=True)
        return positive & both, negative & both
    distance = (2 - 2 * cosine).clamp(min=0).sqrt()
    nearest = distance.masked_fill(~negative, torch.inf).amin(dim=1, keepdim=True)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1, keepdim=True)
    return positive & (nearest - distance <= margin), negative & (distance - farthest <= margin)


def _soft_count(exponents: Tensor, counted: Tensor) -> Tensor:
    """log(1 + the sum of exp) over the counted columns: [b]; 0 where none is."""
    kept = exponents.masked_fill(~counted, -torch.inf)
    return torch.logsumexp(torch.cat([kept, torch.zeros_like(kept[:, :1])], dim=1), dim=1)


class SynonymObjective(nn.Module):
    """Trains ``text``, whose pooled output is the embedding.

    A batch holds ``texts`` (b strings, names in any order), ``concepts`` and ``forms`` [b] int64; every rank needs
    the same b.
    """

    def __init__(self, text: TextEncoder, config: SynonymConfig | None = None) -> None:
        super().__init__()
        self.text = text
        self.config = config or SynonymConfig()

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        ids, mask = (part.to(self.text.device) for part in self.text.tokenizer(batch["texts"]))
        (names,) = chunked(self._embed, [ids, mask], self.config.chunk)
        # a bfloat16 cosine is off by 0.004, times beta
        with torch.autocast(names.device.type, enabled=False):
            loss, mined = multi_similarity(names, batch["concepts"], batch["forms"], self.config)
            with torch.no_grad():
                found = self._nearest_is_synonym(names, batch["concepts"])
                share = mean_of_all(mined.to(names.dtype), torch.ones_like(mined))
        return loss, {"mined": share, "batch_accuracy": found}

    def _embed(self, ids: Tensor, mask: Tensor) -> tuple[Tensor]:
        pooled = self.text.pooled(ids, mask)
        return (normalize(precise(pooled), dim=-1),)

    def _nearest_is_synonym(self, names: Tensor, concepts: Tensor) -> Tensor:
        """Share of names whose nearest other name in the batch of all ranks is of the same concept: []."""
        cosine = names @ gather(names).t()
        own = torch.arange(len(names), device=names.device)
        cosine[own, own + rank() * len(names)] = -torch.inf
        return (gather(concepts)[cosine.argmax(dim=1)] == concepts).float().mean()
