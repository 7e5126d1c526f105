"""From many vectors to one: of the tokens of a text, of the images of a study."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedAttention(nn.Module):
    """How much each row counts (Ilse et al. 2018, arXiv 1802.04712, gated form). Starts as the plain mean."""

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.value = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, rows: Tensor) -> Tensor:
        """[.., width] to scores [..], which a softmax over the rows of one text or study turns into weights."""
        return self.score(torch.tanh(self.value(rows)) * torch.sigmoid(self.gate(rows))).squeeze(-1)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of tokens [B, T, D] where ``mask`` [B, T] is not 0: [B, D]; zeros for a row without any."""
    weights = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def attended_mean(tokens: Tensor, mask: Tensor, scores: Tensor) -> Tensor:
    """Mean of tokens [B, T, D] weighted by the softmax of ``scores`` [B, T] over those that ``mask`` [B, T] keeps."""
    low = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(mask == 0, low).softmax(dim=1)
    return (tokens * weights.unsqueeze(-1).to(tokens.dtype)).sum(dim=1)


def study_mean(embeddings: Tensor, study_index: Tensor, studies: int) -> Tensor:
    """Mean over the rows [M, E] of each study: [B, E]; zeros for a study without rows."""
    sums = embeddings.new_zeros(studies, embeddings.shape[1]).index_add(0, study_index, embeddings)
    counts = embeddings.new_zeros(studies).index_add(0, study_index, torch.ones_like(embeddings[:, 0]))
    return sums / counts.clamp(min=1).unsqueeze(1)


def study_attended(embeddings: Tensor, scores: Tensor, study_index: Tensor, studies: int) -> Tensor:
    """As :func:`study_mean`, each row weighted by the softmax of ``scores`` [M] over the rows of its study."""
    low = torch.finfo(scores.dtype).min
    highest = scores.detach().new_full([studies], low).scatter_reduce(0, study_index, scores.detach(), "amax")
    shares = (scores - highest[study_index]).exp()
    totals = shares.new_zeros(studies).index_add(0, study_index, shares)
    weights = (shares / totals[study_index]).to(embeddings.dtype).unsqueeze(1)
    return embeddings.new_zeros(studies, embeddings.shape[1]).index_add(0, study_index, embeddings * weights)
