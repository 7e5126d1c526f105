"""Symmetric InfoNCE, exact over several processes, with several or soft positives a row."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import log_softmax

from vlp.objectives.blocks import ELEMENTS, sum_by_blocks
from vlp.objectives.targets import Targets
from vlp.training.distributed import gather


def info_nce(
    images: Tensor, texts: Tensor, scale: Tensor, targets: Targets | None = None, elements: int = ELEMENTS
) -> Tensor:
    """Symmetric InfoNCE over all ranks (van den Oord et al. 2018; Radford et al. 2021), several positives a row allowed.

    Each rank computes its own b rows of both directions against all B columns, which are gathered with their gradient.
    Logits are made a block of rows at a time: memory is B x E for the gathered embeddings and one block.

    Args:
        images, texts: [b, E] float32, L2-normalised, row i of one matches row i of the other; equal b on every rank.
        scale: [1], the inverse temperature.
        targets: default: each text is true of its own study alone.

    Returns:
        [], whose mean over ranks is the loss of the whole batch, and whose averaged gradient is that loss's gradient.
    """
    rows = len(images)
    goal = targets or Targets.of(rows, images.device)
    every_image, every_text = gather(images), gather(texts)

    def part(start: int, stop: int) -> Tensor:
        by_image = goal.shares(goal.images(start, stop), start, stop)
        by_text = goal.shares(goal.texts(start, stop), start, stop)
        forward = log_softmax(scale * images[start:stop] @ every_text.t(), dim=1)
        backward = log_softmax(scale * texts[start:stop] @ every_image.t(), dim=1)
        return -((by_image * forward).sum() + (by_text * backward).sum())

    return sum_by_blocks(part, rows, len(every_text), elements) / (2 * rows)
