"""Texts longer than a tower's positions: read in windows of tokens that overlap, put together again token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """How a long text is read.

    Attributes:
        size: tokens of a window, its marks included.
        overlap: tokens that two neighbours share, so that no word stands at an edge in both.
        before, after: marks that every window begins and ends with ([CLS], [SEP]).
    """

    size: int
    overlap: int
    before: int
    after: int

    @property
    def content(self) -> int:
        """Tokens of a window without its marks."""
        return self.size - self.before - self.after

    def capacity(self, count: int) -> int:
        """Tokens of the longest text, marks included, that ``count`` windows hold."""
        return self.size + (count - 1) * (self.content - self.overlap)

    def places(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Where the tokens of every window stand in its text.

        Args:
            lengths: [B] int64, tokens of each text, marks included.

        Returns:
            The text of each window [W], and for each of its tokens the place in that text [W, size]; -1 is padding.
        """
        content = (lengths - self.before - self.after).clamp(min=0)
        stride = self.content - self.overlap
        counts = 1 + ((content - self.content).clamp(min=0) + stride - 1) // stride
        row = torch.arange(len(lengths), device=lengths.device).repeat_interleave(counts)
        number = torch.arange(len(row), device=lengths.device) - (counts.cumsum(0) - counts)[row]
        start = (number * stride).unsqueeze(1)
        here = (content[row].unsqueeze(1) - start).clamp(max=self.content)
        token = torch.arange(self.size, device=lengths.device).unsqueeze(0)
        end = self.before + here
        place = torch.where(token < self.before, token, token + start)
        place = torch.where(token >= end, lengths[row].unsqueeze(1) - self.after + token - end, place)
        return row, place.masked_fill(token >= end + self.after, -1)

    def read(self, ids: Tensor, mask: Tensor, pad: int, encode: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Hidden states [B, T, D] of texts of any length; a token that two windows saw gets the mean of both.

        Args:
            ids, mask: [B, T] int64, padded on the right.
            pad: id of padding.
            encode: ids and mask [W, size] to hidden states [W, size, D].
        """
        row, place = self.places(mask.sum(dim=1))
        seen = place >= 0
        chosen = ids[row.unsqueeze(1), place.clamp(min=0)].masked_fill(~seen, pad)
        hidden = encode(chosen, seen.to(mask.dtype))
        flat = (row.unsqueeze(1) * ids.shape[1] + place)[seen]
        sums = hidden.new_zeros(ids.numel(), hidden.shape[-1]).index_add(0, flat, hidden[seen])
        counts = torch.bincount(flat, minlength=ids.numel()).clamp(min=1).to(hidden.dtype)
        return (sums / counts.unsqueeze(1)).view(*ids.shape, -1)
