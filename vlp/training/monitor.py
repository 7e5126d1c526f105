"""Does the encoder learn? Cheap signs without a trained head, on validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import normalize

from vlp.corpus.augment import resize
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.study import BINARY_LABELS

_FEWEST = 5  # images with and without a finding, or its AUROC says nothing
_PENALTY = 0.01  # C of the logistic regression, the middle of what the probes of `vlp evaluate` try


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


def probe_findings(
    train: Tensor, train_labels: Sequence[Mapping[str, float]], test: Tensor, test_labels: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """AUROC on ``test`` [M, D] of a logistic regression on ``train`` [N, D], for each binary label known in both.

    Returns:
        ``probe_<label>`` where both sets hold at least ``_FEWEST`` of either answer, and ``probe``, their mean, where
        there is one. Labels are those of the image's study; where none is given it is left out, not 0.
    """
    scaler = StandardScaler().fit(train.numpy())
    inputs, queries = (np.asarray(scaler.transform(x.numpy())) for x in (train, test))
    found: dict[str, float] = {}
    for name in BINARY_LABELS:
        known, asked = (
            [i for i, labels in enumerate(every) if name in labels] for every in (train_labels, test_labels)
        )
        answers = np.array([train_labels[i][name] > 0.5 for i in known])
        wanted = np.array([test_labels[i][name] > 0.5 for i in asked])
        if min(min(x.sum(), (~x).sum()) if len(x) else 0 for x in (answers, wanted)) < _FEWEST:
            continue
        model = LogisticRegression(C=_PENALTY, max_iter=1000).fit(inputs[known], answers)
        found[f"probe_{name}"] = float(roc_auc_score(wanted, model.decision_function(queries[asked])))
    return {**found, "probe": float(np.mean(list(found.values())))} if found else {}


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
