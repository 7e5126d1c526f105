"""Does the encoder learn? Cheap signs without a trained head, on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlp.corpus.augment import resize
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder


@torch.no_grad()
def embed(encoder: ImageEncoder, images: Tensor, batch: int = 64) -> Tensor:
    """Pooled features of ``images`` (uint8 [N, 1, S, S]) without augmentation: float32 [N, D] on the CPU."""
    device = next(encoder.parameters()).device
    parts = [encoder.normalise(resize(part.to(device), encoder.image_size)) for part in images.split(batch)]
    return torch.cat([encoder(part).pooled.float().cpu() for part in parts])


def rankme(features: Tensor) -> float:
    """Effective rank of ``features`` [N, D]: exp of the entropy of the singular values (Garrido et al. 2023,
    arXiv 2210.02885). 1 is a collapse, min(N, D) the most."""
    values = torch.linalg.svdvals(features.double())
    share = values / values.sum().clamp(min=1e-12) + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))


def knn_accuracy(
    train: Tensor, train_classes: Sequence[str], test: Tensor, test_classes: Sequence[str], neighbours: int = 10
) -> float:
    """Share of ``test`` features [M, D] whose nearest neighbours by cosine in ``train`` [N, D] vote for their class."""
    similarity = normalize(test, dim=-1) @ normalize(train, dim=-1).t()
    nearest = similarity.topk(min(neighbours, len(train)), dim=1)
    names = sorted(set(train_classes))
    codes = torch.tensor([names.index(name) for name in train_classes])
    votes = torch.zeros(len(test), len(names)).scatter_add_(1, codes[nearest.indices], (nearest.values / 0.07).exp())
    return float(np.mean([names[i] == wanted for i, wanted in zip(votes.argmax(dim=1), test_classes, strict=True)]))


@torch.no_grad()
def retrieval(
    dual: DualEncoder, images: Tensor, owner: Tensor, texts: Sequence[str], batch: int = 64
) -> dict[str, float]:
    """Image to text: the median rank of the right text as a share of all, and recall at 1.

    Args:
        images: uint8 [M, 1, S, S].
        owner: [M] int64, the study an image belongs to.
        texts: one for each study; studies with equal texts count as right for each other.
    """
    device = next(dual.parameters()).device
    size = dual.image.image_size
    rows = [dual.encode_images(dual.image.normalise(resize(p.to(device), size))).float() for p in images.split(batch)]
    studies = dual.pool_studies(torch.cat(rows), owner.to(device), len(texts)).cpu()
    described = torch.cat([dual.encode_texts(texts[i : i + batch]).float().cpu() for i in range(0, len(texts), batch)])
    similarity = (studies @ described.t()).numpy()
    ranks = _ranks(similarity, list(texts))
    return {"median_rank_share": float(np.median(ranks)) / len(texts), "recall_at_1": float(np.mean(ranks == 1))}


def _ranks(similarity: npt.NDArray[np.float32], texts: list[str]) -> npt.NDArray[np.int64]:
    """For each row the rank, from 1, of the best column whose text equals the row's own; ties count against it."""
    ranks = []
    for row, text in enumerate(texts):
        same = np.array([other == text for other in texts])
        ranks.append(1 + int((similarity[row][~same] >= similarity[row][same].max()).sum()))
    return np.array(ranks)
