"""A true text against the same text made false: "fracture" against "no fracture", left against right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vlp.training.distributed import gather, mean_of_all


def hard_negative(images: Tensor, texts: Tensor, negatives: Tensor, present: Tensor, scale: Tensor) -> Tensor:
    """How far each study is from preferring its true text to the rewritten one: InfoNCE with these two columns.

    After NegCLIP (Yuksekgonul et al. 2023, arXiv 2210.01936), which adds the rewritten texts of the whole batch as
    columns. Here a study meets its own only: the rewritten text of another study ("no fracture" made "fracture") is
    often true of this one. A term of its own, so that it does not fade among thousands of columns.

    Args:
        images, texts, negatives: [b, E] L2-normalised; ``negatives`` is read where ``present`` [b] bool.
        scale: [1], inverse temperature.

    Returns:
        [], this rank's share of the mean over all studies that have a rewritten text; log 2 where the model is
        indifferent.
    """
    margin = scale * (images * (texts - negatives)).sum(dim=1)
    return mean_of_all(softplus(-margin), present)


@torch.no_grad()
def others_of_group(images: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the other studies of each study's group, over all ranks; what is to be taken off a study's embedding
    so that a text cannot be preferred whatever the image shows.

    A text tower tells many rewritten texts from written ones by their wording, and :func:`hard_negative` rewards that:
    the preference of the mean study is exactly what the texts alone decide. Groups are anatomies, because "chest" is in
    every image and in every text too.

    Args:
        images: [b, E] L2-normalised, equal b on every rank.
        groups: [b] int64.

    Returns:
        [b, E] (zeros where the group has no other study), and [b] bool: whether it has one.
    """
    every, known = gather(images), gather(groups)
    same = (groups.unsqueeze(1) == known.unsqueeze(0)).to(images.dtype)
    count = same.sum(dim=1, keepdim=True) - 1
    return (same @ every - images) / count.clamp(min=1) * (count > 0), count.squeeze(1) > 0
