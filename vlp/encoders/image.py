"""The image tower: any timm backbone with one input channel, seen through one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from pydantic import Field
from timm.layers.patch_dropout import patch_dropout_forward
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.frame import Framing
from vlp.encoders.convnet import ConvNet
from vlp.encoders.presets import build_backbone


class ImageConfig(Config):
    """Which image tower, for which images. ``name`` is a preset of ``vlp.encoders.presets`` or a timm architecture."""

    name: str = "conv_pico"
    image_size: int = Field(default=112, ge=16, le=2048)
    framing: Framing = "squash"  # how an image becomes a square
    mean: float = 0.35  # of pixels scaled to 0-1
    std: float = Field(default=0.25, gt=0)
    # cls_mean: the sum of both. mean_max: the sum of mean and maximum, normalised; small findings survive a maximum.
    # auto: cls_mean for vision transformers, mean_max for the convolutional presets, mean for other architectures
    pooling: Literal["auto", "cls", "mean", "cls_mean", "mean_max"] = "auto"
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    # weights to start from: a safetensors file, or a folder with one and its settings (docs/pretraining.md)
    weights: str | None = None
    # tokens beside the class token that take up what the network would write into empty patches (Darcet et al. 2024,
    # arXiv 2309.16588); vision transformers only. None: as the architecture has them
    registers: int | None = Field(default=None, ge=1)
    # share of patches left out in training, so that a step costs less (FLIP, Li et al. 2023, arXiv 2212.00794); for
    # `vlp align` with a vision transformer
    patch_dropout: float = Field(default=0.0, ge=0, lt=1)
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class ImageFeatures:
    """``pooled`` [B, D], ``patches`` [B, h*w, D] in row order, ``grid`` (h, w); float.

    With ``patch_dropout`` in training ``patches`` are [B, K, D], and ``kept`` [B, K] int64 says which, in rising order.
    """

    pooled: Tensor
    patches: Tensor
    grid: tuple[int, int]
    kept: Tensor | None = None


class ImageEncoder(nn.Module):
    """Images [B, 1, H, W], float32 and normalised (see :meth:`normalise`), to :class:`ImageFeatures`.

    Attributes:
        width: D, the size of a feature vector.
        image_size: side in pixels of the square images it was made for; transformers take others, by resampling their
            position embedding.
    """

    def __init__(self, config: ImageConfig) -> None:
        """Raises:
        UserError: no such architecture, or registers or patch dropout for one that is no vision transformer.
        """
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.name, config.image_size, config.drop_path, config.registers)
        if config.patch_dropout and not self.is_vit:
            raise UserError(f"image.patch_dropout needs a vision transformer, which {config.name} is not; set it to 0")
        self.width = cast(int, self.backbone.num_features)
        self.image_size = config.image_size
        switch = getattr(self.backbone, "set_grad_checkpointing", None)
        if config.gradient_checkpointing and switch is not None:
            switch(True)
        self.pooling = config.pooling
        if config.pooling == "auto":
            self.pooling = "cls_mean" if self.is_vit else "mean_max" if self.is_conv else "mean"
        self.pool_norm = nn.LayerNorm(self.width) if self.pooling == "mean_max" else nn.Identity()
        # iBOT's mask token; a backbone without it cannot do masked image modelling
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.width)) if self.is_vit else None

    @property
    def is_vit(self) -> bool:
        """Whether the backbone is a timm ``VisionTransformer``: only those take masks and give attention maps."""
        return isinstance(self.backbone, VisionTransformer)

    @property
    def is_conv(self) -> bool:
        """Whether the backbone is one of the convolutional presets."""
        return isinstance(self.backbone, ConvNet)

    @property
    def takes_masks(self) -> bool:
        """Whether patches can be hidden from it: masked image modelling needs that."""
        return self.is_vit or self.is_conv

    @property
    def has_attention(self) -> bool:
        """Whether :meth:`attention` works."""
        return self.is_vit or (self.is_conv and self.pooling == "mean_max")

    @property
    def patch(self) -> int:
        """Side in pixels of the square that one patch stands for (where :attr:`takes_masks`)."""
        if isinstance(self.backbone, ConvNet):
            return self.backbone.stride
        return int(self._patch_embed.feat_ratio())

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at ``image_size`` (where :attr:`takes_masks`)."""
        if isinstance(self.backbone, ConvNet):
            side = -(-self.image_size // self.backbone.stride)
            return side, side
        height, width = self._patch_embed.grid_size
        return int(height), int(width)

    @property
    def _patch_embed(self) -> Any:
        return self.backbone.patch_embed  # timm's have no common type

    @property
    def _vit(self) -> VisionTransformer:
        """The backbone, where :attr:`is_vit`."""
        assert isinstance(self.backbone, VisionTransformer)
        return self.backbone

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels as the encoder expects them: uint8 0-255, or float 0-1, of any shape, to float32."""
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return (pixels - self.config.mean) / self.config.std

    def forward(self, images: Tensor, mask: Tensor | None = None) -> ImageFeatures:
        """Encode ``images`` [B, 1, H, W]; where ``mask`` [B, h*w] bool is true, the patch is hidden.

        Transformers see a learned token in its place; convolutional presets see the mean gray (Xie et al. 2022, SimMIM).
        In training without a mask, ``patch_dropout`` leaves patches out.

        Raises:
            ValueError: a mask for another backbone.
        """
        if mask is not None and not self.takes_masks:
            raise ValueError(f"{self.config.name} takes no mask: masked image modelling needs a vit_ or conv_ tower")
        if not self.is_vit:
            return self._any_backbone(images if mask is None else self._hide(images, ~mask))
        tokens, grid = self._embed(images)
        if mask is not None and self.mask_token is not None:
            tokens = torch.where(mask.unflatten(1, grid).unsqueeze(-1), self.mask_token.to(tokens.dtype), tokens)
        tokens, kept = self._vit._pos_embed(tokens), None
        if mask is None:
            prefix = self._vit.num_prefix_tokens
            tokens, kept = patch_dropout_forward(tokens, self.config.patch_dropout, prefix, True, self.training)
        return self._split(self._blocks(tokens), grid, kept)

    def visible(self, images: Tensor, keep: Tensor) -> Tensor:
        """Encode only the patches whose indices are in ``keep`` [B, K] int64 (MAE); others are not even convolved.

        Returns prefix tokens and patch tokens [B, P + K, D], in the order of ``keep``.
        """
        grid = (images.shape[-2] // self.patch, images.shape[-1] // self.patch)
        shown = torch.zeros(images.shape[0], grid[0] * grid[1], device=images.device).scatter_(1, keep, 1.0)
        # a convolution stem sees beyond its patch, so hidden pixels must be gone before it
        tokens, _ = self._embed(self._hide(images, shown.bool()))
        tokens = self._vit._pos_embed(tokens)
        prefix = self._vit.num_prefix_tokens
        kept = tokens[:, prefix:].gather(1, keep.unsqueeze(-1).expand(-1, -1, self.width))
        return self._blocks(torch.cat([tokens[:, :prefix], kept], dim=1))

    @torch.no_grad()
    def attention(self, images: Tensor) -> Tensor:
        """Where the encoder looks: [B, h, w], sums to 1.

        Transformers: where the last block attends from the class token (without one, from the mean patch).
        Convolutional presets: the share of channels whose maximum lies in a cell, that is, what max pooling passed on.

        Raises:
            ValueError: the backbone has neither (see :attr:`has_attention`).
        """
        if not self.has_attention:
            raise ValueError(f"{self.config.name} has no attention maps: they need a vit_ or conv_ tower")
        if not self.is_vit:
            features = self._any_backbone(images)
            winners = features.patches.argmax(dim=1)  # [B, D]
            counts = torch.zeros(features.patches.shape[:2], device=images.device)
            votes = torch.ones_like(winners, dtype=counts.dtype)
            return (counts.scatter_add_(1, winners, votes) / self.width).unflatten(1, features.grid)
        tokens, grid = self._embed(images)
        vit = self._vit
        tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(tokens)))
        *blocks, last = cast(Any, vit.blocks)  # timm leaves the types of their parts open
        for block in blocks:
            tokens = block(tokens)
        inner = last.attn
        qkv = inner.qkv(last.norm1(tokens)).unflatten(-1, (3, inner.num_heads, inner.head_dim))
        query, key, _ = qkv.permute(2, 0, 3, 1, 4)
        prefix = vit.num_prefix_tokens
        source = inner.q_norm(query)
        source = source[:, :, :1] if prefix else source.mean(dim=2, keepdim=True)
        weights = (source * inner.scale @ inner.k_norm(key).transpose(-2, -1)).softmax(dim=-1)
        patches = weights[:, :, 0, prefix:].mean(dim=1)
        return (patches / patches.sum(dim=1, keepdim=True)).unflatten(1, grid)

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        tokens = self._patches_of(images)
        if tokens.dim() == 4:  # dynamic image size: [B, h, w, D]
            return tokens, (tokens.shape[1], tokens.shape[2])
        return tokens.unflatten(1, self.grid), self.grid

    def _patches_of(self, images: Tensor) -> Tensor:
        """What timm's patch embedding says. A convolution whose patches do not overlap is one matrix product: of one
        channel cuDNN and oneDNN make a slow one."""
        embed, side = self._patch_embed, self.patch
        projection = getattr(embed, "proj", None)
        if (
            not isinstance(embed, PatchEmbed)
            or not isinstance(projection, nn.Conv2d)
            or embed.flatten
            or not projection.kernel_size == projection.stride == (side, side)
            or images.shape[-2] % side
            or images.shape[-1] % side
        ):
            return embed(images)
        rows = pixels_by_patch(images, side)
        return embed.norm(nn.functional.linear(rows, projection.weight.flatten(1), projection.bias))

    def _blocks(self, tokens: Tensor) -> Tensor:
        vit = self._vit
        tokens = vit.norm_pre(vit.patch_drop(tokens))
        if vit.grad_checkpointing and torch.is_grad_enabled():
            from timm.models import checkpoint_seq

            return vit.norm(checkpoint_seq(vit.blocks, tokens))
        return vit.norm(vit.blocks(tokens))

    def _split(self, tokens: Tensor, grid: tuple[int, int], kept: Tensor | None = None) -> ImageFeatures:
        prefix = self._vit.num_prefix_tokens
        patches = tokens[:, prefix:]
        return ImageFeatures(self.pool(tokens, prefix), patches, grid, kept)

    def pool(self, tokens: Tensor, prefix: int) -> Tensor:
        """[B, prefix + N, D] (class token, registers, then patches) to [B, D], as the configuration says.

        Registers enter no pooling: they hold what the network computes with, not what it says of the image.
        """
        patches = tokens[:, prefix:]
        if self.pooling == "mean_max":
            return self.pool_norm(patches.mean(dim=1) + patches.amax(dim=1))
        if self.pooling == "mean" or not prefix:
            return patches.mean(dim=1)
        return tokens[:, 0] if self.pooling == "cls" else tokens[:, 0] + patches.mean(dim=1)

    def as_pooled(self, patches: Tensor) -> Tensor:
        """Patches [B, N, D] in the space of pooled features: each as an image would be that shows nothing else.

        What is trained on pooled features (a projection, a probe) reads patches only so.
        """
        return self.pool_norm(patches)

    def _hide(self, images: Tensor, shown: Tensor) -> Tensor:
        """``images`` with the mean gray where ``shown`` [B, h*w] bool is false."""
        grid = (-(-images.shape[-2] // self.patch), -(-images.shape[-1] // self.patch))
        pixels = nn.functional.interpolate(
            shown.unflatten(1, (1, *grid)).to(images.dtype), scale_factor=float(self.patch)
        )
        return images * pixels[..., : images.shape[-2], : images.shape[-1]]

    def _any_backbone(self, images: Tensor) -> ImageFeatures:
        features: Tensor = cast(Any, self.backbone).forward_features(images)
        if features.dim() == 3:  # a transformer outside timm's VisionTransformer, such as Eva
            patches = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            side = round(patches.shape[1] ** 0.5)
            return ImageFeatures(self.pool(patches, 0), patches, (side, patches.shape[1] // side))
        if features.shape[1] != self.width:  # [B, h, w, D]
            features = features.permute(0, 3, 1, 2)
        grid = (features.shape[2], features.shape[3])
        patches = features.flatten(2).transpose(1, 2)
        return ImageFeatures(self.pool(patches, 0), patches, grid)


def pixels_by_patch(images: Tensor, patch: int) -> Tensor:
    """[B, C, H, W], both sides multiples of ``patch``, to the pixels of each patch, [B, h, w, C * patch * patch]."""
    parts = images.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # [B, C, h, patch, w, patch]
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(3)
