"""A true text against the same text made false: "fracture" against "no fracture", left against right."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from vlp.training.distributed import mean_of_all


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
