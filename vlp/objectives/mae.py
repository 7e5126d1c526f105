"""Masked autoencoding (He et al. 2022, arXiv 2111.06377): see a few patches, draw the rest of the body.

Air teaches nothing: the same share of body and of air is hidden, and only hidden body is compared. The body's contour is
found in each image (:mod:`vlp.corpus.body`) and cut and turned with it.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from pydantic import Field
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment, augment_with
from vlp.corpus.body import body_masks
from vlp.encoders.image import ImageEncoder, pixels_by_patch
from vlp.objectives.fused import Fused
from vlp.training.distributed import mean_of_all

_LEAST = 4  # patches of body: with fewer, all of the image counts


class MaeConfig(Config):
    """What is hidden and who draws it."""

    mask: float = Field(default=0.7, gt=0, lt=1)  # share of hidden patches
    # a patch with at least so much body (0-1) is drawn, others are not; 0 draws all patches, whatever they show
    body: float = Field(default=0.25, ge=0, le=1)
    width: int = Field(default=128, ge=16)  # of the decoder
    depth: int = Field(default=1, ge=1)
    heads: int = Field(default=4, ge=1)
    normalise_patches: bool = True  # targets with mean 0 and variance 1 a patch: structure instead of exposure
    augment: AugmentConfig = AugmentConfig(scale=(0.5, 1.0), noise=0.0, blur=0.0)


class MaeObjective(nn.Module):
    """Trains ``encoder``. A batch holds ``images`` uint8 or float 0-1 [B, 1, S, S].

    It may hold ``body`` uint8 [B, 1, c, c], what :func:`vlp.corpus.body.body_masks` makes of them; without it they are
    made here, on the CPU, while a GPU waits.
    """

    position: Tensor

    def __init__(self, encoder: ImageEncoder, config: MaeConfig, frozen_steps: int = 0) -> None:
        """``frozen_steps``: in the first so many, the decoder learns alone, so as not to spoil a trained encoder.

        Raises:
            UserError: the encoder takes no masks, or the image is no whole number of patches.
        """
        super().__init__()
        if not encoder.takes_masks:
            raise UserError(f"objective=mae needs a vit_ or conv_ tower, which {encoder.config.name} is not")
        if encoder.image_size % encoder.patch:
            nearest = encoder.image_size // encoder.patch * encoder.patch
            raise UserError(
                f"image.image_size={encoder.image_size} is no multiple of the patch, {encoder.patch} pixels; "
                f"set it to {nearest}"
            )
        self.encoder, self.config, self.frozen_steps = encoder, config, frozen_steps
        if encoder.mask_token is not None:
            encoder.mask_token.requires_grad_(False)
        self.augment, self.augment_with = Fused(augment), Fused(augment_with)
        self.enter = nn.Linear(encoder.width, config.width)
        self.hidden_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.register_buffer("position", _sine_position(*encoder.grid, config.width), persistent=False)
        self.blocks = nn.Sequential(*(Block(config.width, config.heads, qkv_bias=True) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.draw = nn.Linear(config.width, encoder.patch**2)
        nn.init.normal_(self.hidden_token, std=0.02)

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        encoder, config = self.encoder, self.config
        pixels, body = self._augmented(batch)
        images = encoder.normalise(pixels)
        keep, hide = choose(body, config.mask)
        with torch.no_grad() if step < self.frozen_steps else nullcontext():
            seen = self._seen(images, keep)
        drawn = self.draw(self.norm(self.blocks(self._canvas(seen, keep) + self.position)))
        index = hide.unsqueeze(-1).expand(-1, -1, drawn.shape[-1])
        wanted = self.patches(images).gather(1, index)
        if config.normalise_patches:
            wanted = (wanted - wanted.mean(dim=-1, keepdim=True)) / (wanted.var(dim=-1, keepdim=True) + 1e-4).sqrt()
        errors = (drawn.gather(1, index) - wanted).square().mean(dim=-1)
        loss = mean_of_all(errors.flatten(), body.gather(1, hide).flatten())
        return loss, {"mae": loss.detach(), "body": body.float().mean()}

    def _augmented(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Augmented images, float 0-1 [B, 1, S, S], and which of their patches show body [B, h*w]."""
        images, size, config = batch["images"], self.encoder.image_size, self.config
        if not config.body:
            grid = self.encoder.grid
            everything = torch.ones(len(images), grid[0] * grid[1], dtype=torch.bool, device=images.device)
            return self.augment(images, size, config.augment), everything
        masks = batch["body"] if "body" in batch else body_masks(images)
        pixels, masks = self.augment_with(images, masks, size, config.augment)
        return pixels, self.body(masks)

    def body(self, masks: Tensor) -> Tensor:
        """Which patches show body, by the masks of images, float 0-1 [B, 1, S, S]: [B, h*w] bool.

        An image with too little of it to hide some and show some counts as body everywhere.
        """
        body = avg_pool2d(masks, self.encoder.patch).flatten(1) >= self.config.body
        return body | (body.sum(dim=1, keepdim=True) < _LEAST)

    def _seen(self, images: Tensor, keep: Tensor) -> Tensor:
        """Features of the visible patches [B, K, D]; of all patches [B, N, D] with a convolution, which cannot skip any."""
        encoder = self.encoder
        if encoder.is_vit:
            return encoder.visible(images, keep)[:, encoder.backbone.num_prefix_tokens :]
        patches = encoder.grid[0] * encoder.grid[1]
        hidden = torch.ones(len(images), patches, dtype=torch.bool, device=images.device).scatter_(1, keep, False)
        return encoder(images, hidden).patches

    def _canvas(self, seen: Tensor, keep: Tensor) -> Tensor:
        """What the decoder reads, without positions: [B, N, width]."""
        tokens = self.enter(seen)
        if not self.encoder.is_vit:  # it saw gray in the place of hidden patches
            return tokens
        canvas = self.hidden_token.to(tokens.dtype).expand(len(seen), self.position.shape[1], -1)
        return canvas.scatter(1, keep.unsqueeze(-1).expand_as(tokens), tokens)

    def patches(self, images: Tensor) -> Tensor:
        """[B, 1, H, W] to the pixels of each patch, [B, h*w, patch * patch]."""
        return pixels_by_patch(images, self.encoder.patch).flatten(1, 2)


def choose(body: Tensor, mask: float) -> tuple[Tensor, Tensor]:
    """Which patches are shown and which are hidden, at random: indices [B, K] and [B, N - K], int64.

    K = N * (1 - ``mask``), at least 1. Of each image's ``body`` [B, N] bool the same share is shown, at least one patch;
    places that are left are air.
    """
    count, patches = body.shape
    shown = max(1, round(patches * (1 - mask)))
    size = body.sum(dim=1, keepdim=True)
    of_body = (size * (1 - mask)).round().clamp(min=1, max=shown).minimum(size - 1)  # something is left to draw
    drawn = torch.rand(count, patches, device=body.device)
    place = (drawn + (~body).float()).argsort(dim=1).argsort(dim=1)  # rank among the body's patches, then air's
    # shown body first, shown air next, then what is hidden; the random number settles the order within each
    first = torch.where(body, place < of_body, place - size < shown - of_body)
    # where there is too little air to fill the places, more body is shown
    order = (drawn + torch.where(first, 0.0, torch.where(body, 1.0, 2.0))).argsort(dim=1)
    return order[:, :shown], order[:, shown:]


def _sine_position(rows: int, columns: int, width: int) -> Tensor:
    """Fixed sine and cosine positions, half the channels for rows and half for columns: [1, rows * columns, width]."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * frequencies for axis in (row, column)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).unsqueeze(0)
