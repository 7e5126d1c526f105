"""Small towers that learn from scratch on a CPU, beside every architecture that timm knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.hybrid_embed import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from anonymize.console import UserError
from vlp.encoders.convnet import ConvNet


@dataclass(frozen=True)
class Preset:
    """A vision transformer behind a convolution stem; ``stride`` is the side of a patch in pixels."""

    width: int
    depth: int
    heads: int
    stride: int
    stem: int  # channels of the first convolution; they double with every halving of the image


PRESETS = {
    "vit_atto": Preset(width=96, depth=3, heads=3, stride=16, stem=12),
    "vit_femto": Preset(width=128, depth=4, heads=4, stride=16, stem=16),
    "vit_pico": Preset(width=192, depth=5, heads=6, stride=16, stem=24),
    "vit_pico8": Preset(width=128, depth=4, heads=4, stride=8, stem=24),
    "vit_nano": Preset(width=256, depth=6, heads=8, stride=16, stem=32),
    "vit_small": Preset(width=384, depth=12, heads=6, stride=16, stem=32),  # the last two are for GPUs
    "vit_base": Preset(width=768, depth=12, heads=12, stride=16, stem=64),
}


@dataclass(frozen=True)
class ConvPreset:
    """A :class:`ConvNet`: channels of its stages, and their convolutions beyond the one that halves the image."""

    channels: tuple[int, ...]
    extra: tuple[int, ...]


CONV_PRESETS = {
    "conv_pico": ConvPreset(channels=(16, 32, 64, 128), extra=(0, 1, 1, 1)),
    "conv_nano": ConvPreset(channels=(24, 48, 96, 192), extra=(0, 1, 1, 1)),
}


class ConvStem(nn.Module):
    """Convolutions of stride 2 in place of the patch projection (Xiao et al. 2021, arXiv 2106.14881).

    A transformer with this stem learns from few images and few steps. [B, C, H, W] to [B, stem * stride / 2, H / stride,
    W / stride]. Group normalisation: no running statistics, so that an EMA teacher and several processes agree.
    """

    def __init__(self, in_chans: int, channels: int, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        reduction, width = 1, in_chans
        while reduction < stride:
            layers += [
                nn.Conv2d(width, channels, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(1, channels),
                nn.GELU(),
            ]
            reduction, width, channels = reduction * 2, channels, channels * 2
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def build_backbone(name: str, image_size: int, drop_path: float = 0.0, registers: int | None = None) -> nn.Module:
    """A backbone with one input channel, no classifier and random weights, for images of ``image_size`` pixels.

    ``name`` is a key of ``PRESETS`` or ``CONV_PRESETS``, or a timm architecture; transformers accept other image sizes at run time.
    ``registers`` adds so many register tokens to a vision transformer; None leaves the architecture as it is.

    Raises:
        UserError: no such architecture, or registers for one that is no vision transformer.
    """
    if name in PRESETS:
        return _preset(PRESETS[name], image_size, drop_path, registers or 0)
    if name in CONV_PRESETS and not registers:
        return ConvNet(1, CONV_PRESETS[name].channels, CONV_PRESETS[name].extra)
    if name not in CONV_PRESETS and not timm.is_model(name):
        known = [*PRESETS, *CONV_PRESETS]
        near = difflib.get_close_matches(name, [*known, *timm.list_models()], n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}? Else " if near else ""
        raise UserError(
            f"image.name: no architecture '{name}'; {hint}use one of {', '.join(known)} or a name that "
            "timm.list_models() has"
        )
    options: dict[str, Any] = {"pretrained": False, "in_chans": 1, "num_classes": 0}
    transformer: dict[str, Any] = {"img_size": image_size, "dynamic_img_size": True, "drop_path_rate": drop_path}
    tries = [transformer, {"drop_path_rate": drop_path}, {}]
    if registers:  # as in DINOv2, neither they nor the class token have a position
        tries = [{**transformer, "reg_tokens": registers, "no_embed_class": True}] if name not in CONV_PRESETS else []
    for extra in tries:  # convolutional networks take no image size, a few architectures no drop path
        try:
            return timm.create_model(name, **options, **extra)
        except TypeError:
            continue
    if registers:
        raise UserError(
            f"image.registers={registers} needs a vision transformer, which {name} is not; leave the key out"
        )
    raise UserError(f"image.name: '{name}' cannot be built with one input channel")


def _preset(preset: Preset, image_size: int, drop_path: float, registers: int) -> VisionTransformer:
    embed: Callable[..., Any] = partial(HybridEmbed, backbone=ConvStem(1, preset.stem, preset.stride))
    model = VisionTransformer(
        img_size=image_size,
        patch_size=1,  # the stem already reduces to one cell a token
        in_chans=1,
        num_classes=0,
        embed_dim=preset.width,
        depth=preset.depth,
        num_heads=preset.heads,
        init_values=1e-1,
        class_token=True,
        reg_tokens=registers,
        no_embed_class=registers > 0,
        dynamic_img_size=True,
        drop_path_rate=drop_path,
        embed_layer=embed,
    )
    assert model.pos_embed is not None
    with torch.no_grad():
        model.pos_embed.normal_(std=0.02)
    return model
