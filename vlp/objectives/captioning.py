"""Next-token prediction: for report generation, and as a term beside the contrastive loss (CoCa)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def captioning_loss(logits: Tensor, ids: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of every token given those before it.

    Args:
        logits: [B, T, V] at each position of ``ids``; the last position's are not used.
        ids: [B, T] int64.
        mask: [B, T], 1 for tokens and 0 for padding; padding is no target.
        smoothing: label smoothing in [0, 1).

    Returns:
        []; 0 where no token has a successor.
    """
    total, count = captioning_rows(logits, ids, mask, smoothing)
    return total.sum() / count.sum().clamp(min=1)


def captioning_rows(logits: Tensor, ids: Tensor, mask: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The sum of a text's cross-entropies and the number of its targets, both [B]; arguments as above."""
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    losses = cross_entropy(
        logits[:, :-1].transpose(1, 2), targets, ignore_index=-100, label_smoothing=smoothing, reduction="none"
    )
    return losses.sum(dim=1), (targets != -100).sum(dim=1)


class CaptionHead(nn.Module):
    """Writes a text from the patches of its study's images: a small causal decoder with cross-attention, for training only.

    After CoCa (Yu et al. 2022, arXiv 2205.01917). It is no part of the model that is saved.

    Attributes:
        words: token table [V, E], also the output layer.
    """

    def __init__(self, width: int, vocabulary: int, longest: int, layers: int = 2, dropout: float = 0.1) -> None:
        """``width`` is E of the shared space, ``longest`` the most tokens of a text."""
        super().__init__()
        heads = max(1, width // 64)
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.zeros(1, longest, width))
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places, std=0.02)

    def forward(self, ids: Tensor, patches: Tensor, patch_mask: Tensor) -> Tensor:
        """Ids [B, T], patches [B, P, E] and their mask [B, P] bool to logits [B, T, V] of the next token.

        A study without images is written from nothing.
        """
        hidden = self.words(ids) + self.places[:, : ids.shape[1]]
        causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).triu(1)
        blind = ~patch_mask.any(dim=1, keepdim=True)  # attention over nothing is not a number: let it see zeros
        found = self.decoder(
            hidden, patches, tgt_mask=causal, tgt_is_causal=True, memory_key_padding_mask=~(patch_mask | blind)
        )
        return found @ self.words.weight.t() + self.bias
