"""Words against patches over the whole batch: the local loss of GLoRIA (Huang et al. 2021, ICCV).

It asks what :mod:`vlp.objectives.local` (SPARC) cannot: whether a word is to be seen in THIS film and not in another.
There a word may take any patch that no other word of its report wants, one of the background too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, pad

from vlp.objectives.blocks import in_blocks
from vlp.objectives.local import LocalFeatures
from vlp.objectives.targets import Targets
from vlp.training.distributed import gather, most_over_ranks

ELEMENTS = 2**23
"""Numbers of one block of words against all patches: 32 MB in float32, a few times over while it is made."""
SHARPNESS = 5.0
"""Of the soft maximum over words (``temp2`` of the published settings)."""


def gloria(features: LocalFeatures, scale: Tensor, targets: Targets | None = None, elements: int = ELEMENTS) -> Tensor:
    """Symmetric InfoNCE over :func:`likeness`, of every text of all ranks with this rank's studies, and the reverse.

    Memory is one block of words against the patches of this rank's studies, made again in the backward pass, and one
    number for each study and word.

    Args:
        features: equal b on every rank. A study without patches and a text without words are like nothing (0).
        scale: [1], inverse temperature: of the attention of a word over patches, and of the logits.
        targets: default: each text is true of its own study alone.

    Returns:
        [], whose mean over ranks is the loss of the whole batch, and whose averaged gradient is that loss's gradient.
    """
    rows = len(features.tokens)
    goal = targets or Targets.of(rows, features.tokens.device)
    longest = most_over_ranks(features.tokens.shape[1], features.tokens.device) - features.tokens.shape[1]
    tokens, words = gather(pad(features.tokens, (0, 0, 0, longest))), gather(pad(features.token_mask, (0, longest)))
    found = likeness(features.patches, features.patch_mask, tokens, words, scale, elements)  # [b, B]
    every = gather(found)  # [B, B]
    own = slice(goal.first, goal.first + rows)
    by_image = goal.shares(goal.images(0, rows), 0, rows) * log_softmax(scale * found, dim=1)
    by_text = goal.shares(goal.texts(0, rows), 0, rows) * log_softmax(scale * every[:, own].t(), dim=1)
    return -(by_image.sum() + by_text.sum()) / (2 * rows)


def likeness(
    patches: Tensor, patch_mask: Tensor, tokens: Tensor, token_mask: Tensor, scale: Tensor, elements: int = ELEMENTS
) -> Tensor:
    """How well the words of each text are seen in each study, [b, B] in [-1, 1].

    A word attends to the patches of a study, ``softmax(scale * cosine)``; its cosine with what it then sees is the
    word's. A text's is the soft maximum over its words, so that those that name what is to be seen count.

    Args:
        patches: [b, P, E], L2-normalised; ``patch_mask`` [b, P] bool says which are real.
        tokens: [B, T, E], L2-normalised; ``token_mask`` [B, T] bool says which are words.
    """
    text, place = token_mask.nonzero(as_tuple=True)
    words = tokens[text, place]  # [W, E]: no time for padding
    seen = patch_mask.unsqueeze(1)
    products = patches @ patches.transpose(1, 2)  # [b, P, P]: lengths of what is seen, without making it

    def cosines(start: int, stop: int) -> Tensor:
        similar = words[start:stop] @ patches.transpose(1, 2)  # [b, w, P]
        attention = (scale * similar).masked_fill(~seen, torch.finfo(similar.dtype).min).softmax(dim=2)
        length = ((attention @ products) * attention).sum(dim=2).clamp(min=1e-12).sqrt()
        return (attention * similar).sum(dim=2) / length

    each = torch.cat([*in_blocks(cosines, len(words), patches.shape[0] * patches.shape[1], elements)], dim=1)
    counts = token_mask.sum(dim=1)
    total = each.new_zeros(len(patches), len(tokens)).index_add(1, text, (SHARPNESS * (each - 1)).exp())
    best = 1 + (total / counts.clamp(min=1)).clamp(min=1e-12).log() / SHARPNESS
    return best * (patch_mask.any(dim=1).unsqueeze(1) & (counts > 0).unsqueeze(0))
