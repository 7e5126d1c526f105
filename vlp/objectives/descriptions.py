"""One image against several descriptions of what its findings look like: location, shape, density, cause."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from vlp.training.distributed import gather, mean_of_all, rank, world_size

FACETS = ("location", "shape", "density", "cause", "negative")
"""``negative`` describes the absence of a finding; the others its presence."""
_OUT = -1e9  # a logit that is no candidate; finite, so that a row without candidates has no NaN


class FacetProjection(nn.Module):
    """Embeddings of images and of texts, once for every facet: ``normalize(x + x W_facet)``, W from 0.

    What an image has to say of a location need not be what it has to say of a density, so each facet has a space of its
    own (the projection that lets one image match several texts in DeViDe, Luo et al. 2024, arXiv 2404.03618). It begins
    as the shared space, and the heads are no part of the model that is saved: what is learned is in the towers too.
    """

    def __init__(self, width: int, facets: int) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(facets, width, width))
        self.text = nn.Parameter(torch.zeros(facets, width, width))

    def images(self, rows: Tensor) -> Tensor:
        """[b, E] to [b, F, E], L2-normalised."""
        turned = torch.einsum("be,fed->bfd", rows, self.image.to(rows.dtype))
        return normalize(rows.unsqueeze(1) + turned, dim=-1)

    def texts(self, rows: Tensor) -> Tensor:
        """[L, F, E] to the same, each facet by its own matrix, L2-normalised."""
        return normalize(rows + torch.einsum("lfe,fed->lfd", rows, self.text.to(rows.dtype)), dim=-1)


@dataclass(frozen=True)
class Described:
    """What is known of this rank's studies.

    Attributes:
        findings: [b, L] integers: 1 present, 0 absent, -1 not known.
        written: [L, F] bool: which facets of which findings have a text; equal on every rank.
    """

    findings: Tensor
    written: Tensor

    def matches(self) -> tuple[Tensor, Tensor]:
        """Which texts are true of which studies, and of which it is known: two bool [b, L, F]."""
        present = torch.stack([self.findings == (0 if f == "negative" else 1) for f in FACETS], dim=2)
        known = (self.findings >= 0).unsqueeze(2) & self.written
        return present & known, known


def own_part(texts: list[str]) -> list[str]:
    """This rank's share of ``texts``, equally many on every rank; the last text fills up."""
    each = -(-len(texts) // world_size())
    filled = texts + texts[-1:] * (each * world_size() - len(texts))
    return filled[rank() * each : (rank() + 1) * each]


def description_loss(studies: Tensor, texts: Tensor, heads: FacetProjection, known: Described, scale: Tensor) -> Tensor:
    """InfoNCE of studies and descriptions within each facet, both ways, several positives a row.

    A study's row of a facet has as candidates the descriptions of the findings whose presence or absence is known for
    it; a description's row the studies (of all ranks) for which its finding is known. Unknown is no negative. Rows in
    which nothing or everything is true teach nothing and do not count. Matches share the target evenly.

    Args:
        studies: [b, E] float32, L2-normalised; equal b on every rank.
        texts: [n, E] float32, L2-normalised: this rank's part (:func:`own_part`) of the L x F descriptions, finding by
            finding, facet by facet. Each is encoded on one rank and gathered with its gradient.
        scale: [1], the inverse temperature.

    Returns:
        [], whose mean over ranks is the loss of the whole batch, and whose averaged gradient is exact.
    """
    findings, facets = known.written.shape
    described = heads.texts(gather(texts)[: findings * facets].unflatten(0, (findings, facets)))
    true, open_ = known.matches()
    logits = scale * torch.einsum("bfe,lfe->bfl", heads.images(studies), described)
    by_study = _rows(logits.flatten(0, 1), _turned(true), _turned(open_))

    # every rank has all descriptions; its rows of the other direction are those that it encoded
    every = Described(gather(known.findings), known.written)
    true, open_ = (part.permute(1, 2, 0).flatten(0, 1) for part in every.matches())  # [L x F, B]
    mine = torch.arange(len(texts), device=texts.device) + rank() * len(texts)
    mine = mine[mine < findings * facets]
    logits = scale * torch.einsum("lfe,bfe->lfb", described, heads.images(gather(studies))).flatten(0, 1)
    return (by_study + _rows(logits[mine], true[mine], open_[mine])) / 2


def _turned(values: Tensor) -> Tensor:
    """[b, L, F] to [b x F, L]."""
    return values.transpose(1, 2).flatten(0, 1)


def _rows(logits: Tensor, true: Tensor, candidates: Tensor) -> Tensor:
    """Cross entropy [n, m] against the true candidates, over the rows of all ranks that have true and false ones."""
    counted = true.any(dim=1) & (candidates & ~true).any(dim=1)
    target = true.to(logits.dtype) / true.sum(dim=1, keepdim=True).clamp(min=1)
    values = -(target * log_softmax(logits.masked_fill(~candidates, _OUT), dim=1)).sum(dim=1)
    return mean_of_all(values, counted)
