"""What self-distillation compares: views, masked patches, and how far embeddings lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, pairwise_distance

from vlp.encoders.device import moved
from vlp.objectives.precision import precise
from vlp.training.distributed import gather, rank

_EPSILON = 1e-8


def cross_entropy_rows(targets: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each row of scores [M, K] against its distribution [M, K]: [M]."""
    return -(targets * log_softmax(precise(answers) / temperature, dim=-1)).sum(dim=-1)


def view_loss(
    targets: Sequence[Tensor],
    answers: Sequence[Tensor],
    temperature: float,
    rows: Callable[..., Tensor] = cross_entropy_rows,
) -> Tensor:
    """Mean cross-entropy of every answer against the target of every other view.

    Args:
        targets: the teacher's assignments [B, K] of the first views.
        answers: the student's scores [B, K] of all views, in the same order.
        rows: :func:`cross_entropy_rows`, compiled or not.
    """
    every = torch.stack(list(targets)).sum(dim=0)
    others = [every - targets[j] if j < len(targets) else every for j in range(len(answers))]
    pairs = zip(others, answers, strict=True)
    terms = [rows(other, answer, temperature).mean() for other, answer in pairs]
    return torch.stack(terms).sum() / (len(targets) * (len(answers) - 1))


def patch_loss(
    targets: Tensor, answers: Tensor, mask: Tensor, temperature: float, rows: Callable[..., Tensor] = cross_entropy_rows
) -> Tensor:
    """iBOT's cross-entropy at the masked patches (Zhou et al. 2022, arXiv 2111.07832), every image with a mask alike.

    Args:
        targets, answers: [M, K] at the true places of ``mask`` in row order.
        mask: [B, N] bool, on the CPU: how many places are true decides shapes, for which a GPU would have to be waited.
        rows: :func:`cross_entropy_rows`, compiled or not.
    """
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    weights = (1 / counts).expand(mask.shape)[mask] / mask.any(dim=1).sum().clamp(min=1)
    return (rows(targets, answers, temperature) * moved(weights, answers.device)).sum()


def koleo(features: Tensor) -> Tensor:
    """How near embeddings lie to their nearest neighbour among all ranks' (Sablayrolles et al. 2019, arXiv 1806.03198).

    As lightly's ``KoLeoLoss``, which knows one process only: its mean over ranks would change with their number.

    Args:
        features: [b, D], b equal on all ranks and world * b at least 2.

    Returns:
        [], this rank's rows; its mean over ranks is the loss of the whole batch, gradients likewise.
    """
    own = normalize(precise(features), dim=-1, eps=_EPSILON)
    every = gather(own)
    with torch.no_grad():
        likeness = own @ every.t()
        likeness.diagonal(rank() * len(own)).fill_(-2)
        nearest = likeness.argmax(dim=1)
    return -(pairwise_distance(own, every[nearest], eps=_EPSILON) + _EPSILON).log().mean()


@torch.no_grad()
def mean_entropy(targets: Tensor) -> Tensor:
    """Mean entropy of rows of probabilities [n, K], in nats: []. log K is the uniform answer of a collapse."""
    return torch.special.entr(precise(targets)).sum(dim=-1).mean()


def entropy_share(entropy: Tensor, outputs: int) -> Tensor:
    """Entropy as a share of its maximum: 1 where every answer is uniform, 0 where each names one prototype."""
    return entropy / math.log(outputs)
