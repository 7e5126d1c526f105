"""Image and text tower with one shared space: what ``vlp align`` trains and every zero-shot task uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from anonymize.config import Config
from vlp.encoders.image import ImageEncoder
from vlp.encoders.pooling import GatedAttention, study_attended, study_mean
from vlp.encoders.text import TextEncoder


class DualConfig(Config):
    """The shared space."""

    width: int = Field(default=128, ge=8)  # E
    temperature: float = Field(default=0.07, gt=0)  # at the start; learned from there
    # of the images of a study: all alike, or a learned weight for each (a study with one image is the same in both)
    study_pooling: Literal["mean", "attention"] = "mean"


class DualEncoder(nn.Module):
    """CLIP's two towers with a linear projection each (Radford et al. 2021, arXiv 2103.00020).

    All embeddings are L2-normalised float [.., E], so that a dot product is a cosine.

    Attributes:
        width: E.
        logit_scale: [1], the logarithm of the inverse temperature. One element and not a scalar: FSDP2 refuses scalars.
        logit_bias: [1], SigLIP's bias; 0 and unused under InfoNCE.
    """

    def __init__(self, image: ImageEncoder, text: TextEncoder, config: DualConfig | None = None) -> None:
        super().__init__()
        self.config = config or DualConfig()
        self.image, self.text = image, text
        self.width = self.config.width
        self.image_projection = _projection(image.width, self.width)
        self.text_projection = _projection(text.width, self.width)
        self.study_attention = GatedAttention(self.width) if self.config.study_pooling == "attention" else None
        self.logit_scale = nn.Parameter(torch.full([1], -math.log(self.config.temperature)))
        self.logit_bias = nn.Parameter(torch.zeros(1))

    def encode_images(self, images: Tensor) -> Tensor:
        """[M, 1, H, W] float32, normalised by ``self.image.normalise``, to [M, E]."""
        return normalize(self.image_projection(self.image(images).pooled), dim=-1)

    def encode_studies(self, images: Tensor, study_index: Tensor, studies: int) -> Tensor:
        """Studies from the images [M, 1, H, W] float32, normalised, of each; see :meth:`pool_studies`."""
        return self.pool_studies(self.encode_images(images), study_index, studies)

    def pool_studies(self, embeddings: Tensor, study_index: Tensor, studies: int) -> Tensor:
        """The mean embedding of each study's images, weighted where ``study_pooling`` says so, normalised again.

        Args:
            embeddings: [M, E], of images (:meth:`encode_images`).
            study_index: [M] int64 in [0, studies): which study an image belongs to.
            studies: B. A study without an image gets zeros.

        Returns:
            [B, E].
        """
        if self.study_attention is None:
            return normalize(study_mean(embeddings, study_index, studies), dim=-1)
        scores = self.study_attention(embeddings)
        return normalize(study_attended(embeddings, scores, study_index, studies), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[B] texts to [B, E]."""
        return normalize(self.text_projection(self.text(texts)), dim=-1)

    def forward(self, images: Tensor, study_index: Tensor, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Study embeddings and text embeddings, both [len(texts), E]."""
        return self.encode_studies(images, study_index, len(texts)), self.encode_texts(texts)

    def patch_embeddings(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Every patch in the shared space, for grounding: [M, h*w, E] normalised, and (h, w)."""
        features = self.image(images)
        return normalize(self.image_projection(self.image.as_pooled(features.patches)), dim=-1), features.grid


def _projection(inputs: int, outputs: int) -> nn.Module:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    return layer
