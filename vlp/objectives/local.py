"""Words against the patches of one study: the local loss of SPARC (Bica et al. 2024, arXiv 2401.09865).

SPARC groups, for each word, the few patches that are most like it, and lets the words of ONE report compete for them:
b x T x P numbers, no false negatives between studies, nothing to gather. :mod:`vlp.objectives.gloria` sets the words of
every text against the patches of every study.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from vlp.training.distributed import mean_of_all


@dataclass(frozen=True)
class LocalFeatures:
    """Patches of a study's images and tokens of its text, in the shared space.

    Attributes:
        patches: [b, P, E]; those of all images of a study in a row, padded.
        patch_mask: [b, P] bool, true for patches of the study's own images.
        tokens: [b, T, E]; padded.
        token_mask: [b, T] bool, true for tokens of words (no padding, no [CLS] and [SEP]).
    """

    patches: Tensor
    patch_mask: Tensor
    tokens: Tensor
    token_mask: Tensor


def by_study(patches: Tensor, study_index: Tensor, studies: int) -> tuple[Tensor, Tensor]:
    """Patches of images, gathered by study.

    Args:
        patches: [M, N, E].
        study_index: [M] int64 in [0, studies), in any order.

    Returns:
        [studies, K * N, E], zeros where padded, and the mask [studies, K * N] bool; K is the most images of a study.
    """
    counts = torch.bincount(study_index, minlength=studies)
    order = torch.argsort(study_index, stable=True)
    first = counts.cumsum(0) - counts
    place = torch.empty_like(study_index)
    place[order] = torch.arange(len(order), device=order.device) - first[study_index[order]]
    most = max(int(counts.max()), 1)
    padded = patches.new_zeros(studies, most, *patches.shape[1:])
    padded = padded.index_put((study_index, place), patches)
    mask = torch.arange(most, device=counts.device) < counts.unsqueeze(1)
    return padded.flatten(1, 2), mask.repeat_interleave(patches.shape[1], dim=1)


def sparc(features: LocalFeatures, scale: Tensor) -> Tensor:
    """Each word against the patches it is like, contrasted with the other words of its text.

    For word t the similarities to the study's P patches are spread to 0-1, those below 1 / P dropped, and the rest made
    to sum to 1; the weighted mean of the patches is the word's view. Views and words of a text then must find each
    other (symmetric InfoNCE among the T words).

    Args:
        scale: [1], inverse temperature.

    Returns:
        [], this rank's share of the mean over all texts that have words and studies that have patches.
    """
    words = features.token_mask
    views = normalize(grouped(features), dim=-1)
    tokens = normalize(features.tokens, dim=-1)
    logits = scale * views @ tokens.transpose(1, 2)  # [b, T, T]
    logits = logits.masked_fill(~words.unsqueeze(1), torch.finfo(logits.dtype).min)
    mirrored = (scale * tokens @ views.transpose(1, 2)).masked_fill(~words.unsqueeze(1), torch.finfo(logits.dtype).min)
    own = log_softmax(logits, dim=2).diagonal(dim1=1, dim2=2) + log_softmax(mirrored, dim=2).diagonal(dim1=1, dim2=2)
    each = -(own.masked_fill(~words, 0)).sum(dim=1) / (2 * words.sum(dim=1).clamp(min=1))
    counted = words.any(dim=1) & features.patch_mask.any(dim=1)
    return mean_of_all(each, counted)


def grouped(features: LocalFeatures) -> Tensor:
    """Each word's view: the mean of the patches it is like, [b, T, E]; zeros for a study without patches."""
    seen = features.patch_mask.unsqueeze(1)
    similarity = features.tokens @ features.patches.transpose(1, 2)  # [b, T, P]
    most = torch.finfo(similarity.dtype).max
    low = similarity.masked_fill(~seen, most).amin(dim=2, keepdim=True)
    high = similarity.masked_fill(~seen, -most).amax(dim=2, keepdim=True)
    spread = ((similarity - low) / (high - low).clamp(min=1e-6)).masked_fill(~seen, 0)
    count = features.patch_mask.sum(dim=1).clamp(min=1).view(-1, 1, 1)
    kept = torch.where(spread < 1 / count, torch.zeros_like(spread), spread)
    weights = kept / kept.sum(dim=2, keepdim=True).clamp(min=1e-6)
    return weights @ features.patches
