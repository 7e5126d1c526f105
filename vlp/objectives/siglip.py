"""The sigmoid loss, exact over several processes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vlp.objectives.blocks import ELEMENTS, sum_by_blocks
from vlp.objectives.targets import Targets
from vlp.training.distributed import gather


def siglip(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    targets: Targets | None = None,
    elements: int = ELEMENTS,
) -> Tensor:
    """Sigmoid loss (Zhai et al. 2023, arXiv 2303.15343): every pair is its own yes-or-no question.

    The published code passes text blocks around a ring so that the logits [b, B] are never whole. Here texts are
    gathered once (B x E numbers, 64 MB for 32,768 texts of width 512) and logits are made a block of rows at a time:
    as much traffic, one collective instead of one a neighbour, and a peak that does not depend on b.

    Arguments and result as :func:`vlp.objectives.infonce.info_nce`; ``bias`` is [1]. ``Targets.soft`` is not used: a
    pair is a match or is not.
    """
    rows = len(images)
    goal = targets or Targets.of(rows, images.device)
    every_text = gather(texts)

    def part(start: int, stop: int) -> Tensor:
        logits = scale * images[start:stop] @ every_text.t() + bias
        return -logsigmoid(torch.where(goal.images(start, stop), logits, -logits)).sum()

    return sum_by_blocks(part, rows, len(every_text), elements) / rows


def siglip_bias(batch: int) -> float:
    """The bias that starts SigLIP at the rate of positives in a batch, ``log(p / (1 - p))`` with p = 1 / batch."""
    return -math.log(max(batch - 1, 1))
