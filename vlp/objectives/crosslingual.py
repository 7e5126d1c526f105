"""Text embeddings that carry no language: for corpora whose reports are in several languages."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.training.distributed import gather

_EPSILON = 1e-5


def decorrelation(first: Tensor, second: Tensor, off_diagonal: float = 0.0051) -> Tensor:
    """Feature-wise text-to-text regularisation over a mixed-language batch: Barlow Twins (Zbontar et al. 2021, arXiv
    2103.03230) on texts, the half of Med-UniC's cross-lingual text alignment (Wan et al. 2023, arXiv 2305.19894) that
    works on features. The half that works on instances is :func:`vlp.objectives.infonce.info_nce` between the views.

    Two views of the same texts (two passes with dropout) must agree in every feature, and no feature may repeat
    another. What language a report is in is one strong direction that many features share; this spreads them out.
    Statistics are those of the whole batch, over all ranks.

    Args:
        first, second: [b, E] embeddings of the same texts, in the same order; equal b on every rank.
        off_diagonal: weight of the squared correlations between different features.

    Returns:
        [], the loss of the whole batch, equal on every rank; gradients averaged over ranks are exact.
    """
    one, other = _standard(gather(first)), _standard(gather(second))
    correlation = one.t() @ other / len(one)  # [E, E]
    agree = (correlation.diagonal() - 1).pow(2).sum()
    repeat = correlation.pow(2).sum() - correlation.diagonal().pow(2).sum()
    return (agree + off_diagonal * repeat) / correlation.shape[0]


def _standard(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=0)
    return centred / torch.sqrt(centred.pow(2).mean(dim=0) + _EPSILON)
