"""Masked-language modelling on the text tower, as a term beside the contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from vlp.encoders.text import TextEncoder
from vlp.encoders.tokenizer import MASK


class MaskedLanguageHead(nn.Module):
    """Hidden states to words, with the tower's own token table as the output layer (Devlin et al. 2019, BERT)."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Hidden states [N, D] and token table [V, D] to logits [N, V]."""
        return self.norm(gelu(self.dense(tokens))) @ table.t() + self.bias


def mask_id(text: TextEncoder) -> int:
    """The id of the tower's mask token.

    Raises:
        ValueError: its tokenizer has none.
    """
    found = next((i for i in (text.tokenizer.id(token) for token in (MASK, "<mask>")) if i is not None), None)
    if found is None:
        raise ValueError("contrastive.masked_language needs a text tower whose tokenizer has a [MASK] or <mask> token")
    return found


def hide(ids: Tensor, mask: Tensor, text: TextEncoder, share: float = 0.15) -> tuple[Tensor, Tensor]:
    """Ids [B, T] with ``share`` of their words hidden, and which [B, T] bool: 80 % the mask token, 10 % a random token,
    10 % as they are. Draws from the generator of the ids' device."""
    special = torch.tensor(text.tokenizer.special_ids, device=ids.device)
    words = mask.bool() & ~torch.isin(ids, special)
    chosen = words & (torch.rand(ids.shape, device=ids.device) < share)
    kind = torch.rand(ids.shape, device=ids.device)
    random = torch.randint(len(text.tokenizer), ids.shape, device=ids.device)
    hidden = torch.where(chosen & (kind < 0.8), mask_id(text), ids)
    return torch.where(chosen & (kind >= 0.9), random, hidden), chosen


def masked_rows(
    text: TextEncoder, head: MaskedLanguageHead, hidden: Tensor, mask: Tensor, ids: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """The sum of each text's cross-entropies at its ``chosen`` places and their number, both [B].

    Args:
        hidden, mask, ids, chosen: [B, T]; see :func:`hide`.
    """
    table = text.backbone.get_input_embeddings().weight
    tokens = text.tokens(hidden, mask)[chosen]
    losses = cross_entropy(head(tokens, table), ids[chosen], reduction="none")
    row = torch.arange(len(ids), device=ids.device).unsqueeze(1).expand_as(ids)[chosen]
    return losses.new_zeros(len(ids)).index_add(0, row, losses), chosen.sum(dim=1)
