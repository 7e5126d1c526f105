"""Image-text contrastive losses that are exact over several processes, and the objective that trains a dual encoder.

Radiology reports repeat themselves: "no fracture" is true of half a batch. A text is a positive of every study whose
report says all that the text says, not of its own study alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid, normalize
from torch.utils.checkpoint import checkpoint

from anonymize.config import Config
from vlp.corpus.augment import AugmentConfig, augment, resize
from vlp.encoders.dual import DualEncoder, study_mean
from vlp.training.config import LoopConfig
from vlp.training.distributed import gather, rank, world_size
from vlp.training.optim import parameter_groups


class ContrastiveConfig(Config):
    """What ``vlp align`` minimises."""

    loss: Literal["infonce", "siglip"] = "infonce"
    multi_positive: bool = True  # a text matches every study it is true of; off: only its own, as in CLIP
    chunk: int = Field(default=0, ge=0)  # studies whose activations are in memory at once; 0 for all
    image_lr_scale: float = Field(default=1.0, ge=0)  # rate of a pretrained image tower against the rest; 0 locks it
    text_lr_scale: float = Field(default=1.0, ge=0)
    augment: AugmentConfig = AugmentConfig(scale=(0.7, 1.0))


def matches(studies: Tensor, texts: Tensor) -> Tensor:
    """Which texts are true of which studies: bool [b, B].

    Args:
        studies: [b, Ks] int64, the keys of every statement in a study's report, padded with 0.
        texts: [B, Kt] int64, the keys of the statements in a text, padded with 0.

    Returns:
        True where every statement of the text stands in the study's report; false for a text without statements.
    """
    found = (texts != 0).any(dim=1).expand(studies.shape[0], -1)
    for column in texts.t():
        found = found & ((studies.unsqueeze(1) == column.view(1, -1, 1)).any(dim=-1) | (column == 0))
    return found


Keys = tuple[Tensor, Tensor]
"""Statement keys of this rank's studies [b, Ks] and texts [b, Kt]; see :func:`matches`."""


def info_nce(images: Tensor, texts: Tensor, scale: Tensor, keys: Keys | None = None) -> Tensor:
    """Symmetric InfoNCE over all ranks (van den Oord et al. 2018; Radford et al. 2021), several positives a row allowed.

    Args:
        images, texts: [b, E] L2-normalised, row i of one matches row i of the other; equal b on every rank.
        scale: [1], the inverse temperature.
        keys: where given, a text also matches other studies that it is true of; the matches of a row share its target
            evenly (Khosla et al. 2020, arXiv 2004.11362).

    Returns:
        [], whose mean over ranks is the loss of the whole batch, and whose averaged gradient is that loss's gradient.
    """
    every_image, every_text = gather(images), gather(texts)
    by_image, by_text = _wanted(images, keys)
    forward = -(_share(by_image) * log_softmax(scale * images @ every_text.t(), dim=1)).sum(dim=1)
    backward = -(_share(by_text) * log_softmax(scale * texts @ every_image.t(), dim=1)).sum(dim=1)
    return (forward + backward).mean() / 2


def siglip(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, keys: Keys | None = None) -> Tensor:
    """Sigmoid loss (Zhai et al. 2023, arXiv 2303.15343): every pair is its own yes-or-no question.

    Arguments and result as :func:`info_nce`; ``bias`` is [1].
    """
    every_text = gather(texts)
    wanted, _ = _wanted(images, keys)
    logits = scale * images @ every_text.t() + bias
    return -logsigmoid(torch.where(wanted, logits, -logits)).sum(dim=1).mean()


def siglip_bias(batch: int) -> float:
    """The bias that starts SigLIP at the rate of positives in a batch, ``log(p / (1 - p))`` with p = 1 / batch."""
    return -math.log(max(batch - 1, 1))


def chunked(encode: Callable[..., Tensor], inputs: Sequence[Any], chunk: int, count: int) -> Tensor:
    """``encode`` over slices of ``inputs``, holding one slice's activations at a time: [count, E].

    The gradient cache of Gao et al. 2021 (arXiv 2101.06983) by recomputation: embeddings of all slices enter one loss,
    and each slice is run again in the backward pass with the random numbers of its first run, so dropout agrees.
    """
    if not chunk or chunk >= count:
        return encode(*inputs)
    parts = []
    for start in range(0, count, chunk):
        piece = [value[start : start + chunk] for value in inputs]
        parts.append(checkpoint(encode, *piece, use_reentrant=False, preserve_rng_state=True))
    return torch.cat(parts)


class ContrastiveObjective(nn.Module):
    """Trains ``dual``.

    A batch holds ``images`` uint8 or float 0-1 [M, 1, S, S], ``study_index`` [M] int64, ``texts`` (B strings) and
    ``study_keys`` and ``text_keys`` (see :func:`matches`); every rank needs the same B.
    """

    def __init__(self, dual: DualEncoder, config: ContrastiveConfig, batch_size: int) -> None:
        """``batch_size`` is the number of studies over all ranks; it sets SigLIP's first bias and temperature."""
        super().__init__()
        self.dual = dual
        self.config = config
        if config.loss == "siglip":
            with torch.no_grad():
                dual.logit_bias.fill_(siglip_bias(batch_size))
                dual.logit_scale.fill_(math.log(10))
        dual.logit_bias.requires_grad_(config.loss == "siglip")
        if dual.image.mask_token is not None:
            dual.image.mask_token.requires_grad_(False)
        for tower, scale in ((dual.image, config.image_lr_scale), (dual.text, config.text_lr_scale)):
            if scale == 0:
                tower.requires_grad_(False)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        dual, config = self.dual, self.config
        count = len(batch["texts"])
        images = self.embed_images(batch["images"])
        studies = normalize(study_mean(images, batch["study_index"], count), dim=-1)
        texts = chunked(dual.encode_texts, [batch["texts"]], config.chunk, count)
        scale = dual.logit_scale.exp().clamp(max=100)
        keys = (batch["study_keys"], batch["text_keys"]) if config.multi_positive else None
        if config.loss == "siglip":
            loss = siglip(studies, texts, scale, dual.logit_bias, keys)
        else:
            loss = info_nce(studies, texts, scale, keys)
        with torch.no_grad():
            wanted = matches(batch["study_keys"], batch["text_keys"])
            wanted.fill_diagonal_(True)
            hits = wanted.gather(1, (studies @ texts.t()).argmax(dim=1, keepdim=True)).float().mean()
        return loss, {"temperature": 1 / scale.detach(), "batch_recall_at_1": hits}

    def embed_images(self, images: Tensor) -> Tensor:
        """Augmented (in training) embeddings [M, E]."""
        size = self.dual.image.image_size
        pixels = augment(images, size, self.config.augment) if self.training else resize(images, size)
        return chunked(self.dual.encode_images, [self.dual.image.normalise(pixels)], self.config.chunk, len(pixels))

    def parameter_groups(self, config: LoopConfig) -> list[dict[str, Any]]:
        """Towers at their own rates."""
        scales = {"dual.image.": self.config.image_lr_scale, "dual.text.": self.config.text_lr_scale}
        return parameter_groups(self, config, scales)


def _wanted(images: Tensor, keys: Keys | None) -> tuple[Tensor, Tensor]:
    """The targets of this rank's image rows and of its text rows, each bool [b, B]; a row always matches its own."""
    rows = torch.arange(images.shape[0], device=images.device)
    own = rows + rank() * len(rows)
    if keys is None:
        alone = torch.zeros(len(rows), len(rows) * world_size(), dtype=torch.bool, device=images.device)
        alone[rows, own] = True
        return alone, alone
    studies, texts = keys
    by_image, by_text = matches(studies, gather(texts)), matches(gather(studies), texts).t().clone()
    by_image[rows, own] = True
    by_text[rows, own] = True
    return by_image, by_text


def _share(wanted: Tensor) -> Tensor:
    return wanted.float() / wanted.sum(dim=1, keepdim=True)
