"""Image and text tower with one shared space: what ``vlp align`` trains and every zero-shot task uses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from anonymize.config import Config
from vlp.encoders.image import ImageEncoder
from vlp.encoders.text import TextEncoder


class DualConfig(Config):
    """The shared space."""

    width: int = Field(default=128, ge=8)  # E
    temperature: float = Field(default=0.07, gt=0)  # at the start; learned from there


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
        self.logit_scale = nn.Parameter(torch.full([1], -math.log(self.config.temperature)))
        self.logit_bias = nn.Parameter(torch.zeros(1))

    def encode_images(self, images: Tensor) -> Tensor:
        """[M, 1, H, W] float32, normalised by ``self.image.normalise``, to [M, E]."""
        return normalize(self.image_projection(self.image(images).pooled), dim=-1)

    def encode_studies(self, images: Tensor, study_index: Tensor, studies: int) -> Tensor:
        """The mean embedding of each study's images, normalised again.

        Args:
            images: [M, 1, H, W] float32, normalised.
            study_index: [M] int64 in [0, studies): which study an image belongs to.
            studies: B. A study without an image gets zeros.

        Returns:
            [B, E].
        """
        return normalize(study_mean(self.encode_images(images), study_index, studies), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[B] texts to [B, E]."""
        return normalize(self.text_projection(self.text(texts)), dim=-1)

    def forward(self, images: Tensor, study_index: Tensor, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Study embeddings and text embeddings, both [len(texts), E]."""
        return self.encode_studies(images, study_index, len(texts)), self.encode_texts(texts)

    def patch_embeddings(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Every patch in the shared space, for grounding: [M, h*w, E] normalised, and (h, w)."""
        features = self.image(images)
        return normalize(self.image_projection(features.patches), dim=-1), features.grid


def study_mean(embeddings: Tensor, study_index: Tensor, studies: int) -> Tensor:
    """Mean over the rows [M, E] of each study: [B, E]; zeros for a study without rows."""
    sums = embeddings.new_zeros(studies, embeddings.shape[1]).index_add(0, study_index, embeddings)
    counts = embeddings.new_zeros(studies).index_add(0, study_index, torch.ones_like(embeddings[:, 0]))
    return sums / counts.clamp(min=1).unsqueeze(1)


def _projection(inputs: int, outputs: int) -> nn.Module:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    return layer
