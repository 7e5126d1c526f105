"""Masked autoencoding (He et al. 2022, arXiv 2111.06377): see a few patches, draw the rest."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment
from vlp.encoders.image import ImageEncoder


class MaeConfig(Config):
    """What is hidden and who draws it."""

    mask: float = Field(default=0.7, gt=0, lt=1)  # share of hidden patches
    width: int = Field(default=128, ge=16)  # of the decoder
    depth: int = Field(default=1, ge=1)
    heads: int = Field(default=4, ge=1)
    normalise_patches: bool = True  # targets with mean 0 and variance 1 a patch: structure instead of exposure
    augment: AugmentConfig = AugmentConfig(scale=(0.5, 1.0), noise=0.0, blur=0.0)


class MaeObjective(nn.Module):
    """Trains ``encoder``. A batch holds ``images`` uint8 or float 0-1 [B, 1, S, S]."""

    position: Tensor

    def __init__(self, encoder: ImageEncoder, config: MaeConfig) -> None:
        """Raises:
        UserError: the encoder takes no masks.
        """
        super().__init__()
        if not encoder.takes_masks:
            raise UserError(f"objective=mae needs a vit_ or conv_ tower, which {encoder.config.name} is not")
        self.encoder, self.config = encoder, config
        if encoder.mask_token is not None:
            encoder.mask_token.requires_grad_(False)
        self.enter = nn.Linear(encoder.width, config.width)
        self.hidden_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.register_buffer("position", _sine_position(*encoder.grid, config.width), persistent=False)
        self.blocks = nn.Sequential(*(Block(config.width, config.heads, qkv_bias=True) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.draw = nn.Linear(config.width, encoder.patch**2)
        nn.init.normal_(self.hidden_token, std=0.02)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        encoder, config = self.encoder, self.config
        images = encoder.normalise(augment(batch["images"], encoder.image_size, config.augment))
        count, patches = len(images), encoder.grid[0] * encoder.grid[1]
        shown = max(1, round(patches * (1 - config.mask)))
        order = torch.rand(count, patches, device=images.device).argsort(dim=1)
        keep, hide = order[:, :shown], order[:, shown:]
        canvas = self._canvas(images, keep, patches) + self.position
        drawn = self.draw(self.norm(self.blocks(canvas)))
        index = hide.unsqueeze(-1).expand(-1, -1, drawn.shape[-1])
        wanted = self.patches(images).gather(1, index)
        if config.normalise_patches:
            wanted = (wanted - wanted.mean(dim=-1, keepdim=True)) / (wanted.var(dim=-1, keepdim=True) + 1e-4).sqrt()
        loss = (drawn.gather(1, index) - wanted).square().mean()
        return loss, {"mae": loss.detach()}

    def _canvas(self, images: Tensor, keep: Tensor, patches: int) -> Tensor:
        """What the decoder reads: [B, patches, width]."""
        encoder = self.encoder
        if not encoder.is_vit:  # a convolution cannot skip patches: it sees gray in their place
            hidden = torch.ones(len(images), patches, dtype=torch.bool, device=images.device).scatter_(1, keep, False)
            return self.enter(encoder(images, hidden).patches)
        prefix = encoder.backbone.num_prefix_tokens
        tokens = self.enter(encoder.visible(images, keep)[:, prefix:])
        canvas = self.hidden_token.to(tokens.dtype).expand(len(images), patches, -1)
        return canvas.scatter(1, keep.unsqueeze(-1).expand_as(tokens), tokens)

    def patches(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] to the pixels of each patch, [B, h*w, patch * patch]."""
        return nn.functional.unfold(images, self.encoder.patch, stride=self.encoder.patch).transpose(1, 2)


def _sine_position(rows: int, columns: int, width: int) -> Tensor:
    """Fixed sine and cosine positions, half the channels for rows and half for columns: [1, rows * columns, width]."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * frequencies for axis in (row, column)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).unsqueeze(0)
