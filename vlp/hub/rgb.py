"""Our towers read one channel; other libraries feed three. The same tower for gray pictures in RGB, as timm builds it."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from anonymize.console import UserError
from vlp.encoders.image import ImageEncoder
from vlp.encoders.presets import CONV_PRESETS, PRESETS


def rgb_backbone(image: ImageEncoder, options: dict[str, Any]) -> nn.Module:
    """timm's module for ``image`` with three channels, which answers a gray picture in RGB as ours answers the gray one.

    The weights of a filter are shared out evenly over its channels; mean and deviation stay, one for each channel.

    Args:
        options: of ``timm.create_model``, beside the architecture.

    Raises:
        UserError: a tower that timm does not have.
    """
    name = image.config.name
    if name in PRESETS or name in CONV_PRESETS:
        raise UserError(
            f"the tower {name} is of this package: timm, open_clip and transformers cannot build it. Export it to onnx, or "
            "train with image.name=vit_small_patch16_224 or another architecture of timm"
        )
    twin = timm.create_model(name, pretrained=False, num_classes=0, **options)
    twin.load_state_dict(rgb_state(image.backbone, twin))
    return twin.eval()


def rgb_state(backbone: nn.Module, twin: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``backbone``, those that read the image widened to the three channels of ``twin``."""
    wanted = twin.state_dict()
    state: dict[str, Tensor] = {}
    for key, value in backbone.state_dict().items():
        state[key] = value
        if value.ndim == 4 and value.shape[1] == 1 and wanted[key].shape[1] == 3:
            state[key] = value.expand(-1, 3, -1, -1) / 3
    return state


def same_size_options(image: ImageEncoder) -> dict[str, Any]:
    """Options with which timm builds a transformer for the size that ``image`` was trained at; none for others."""
    return {"img_size": image.image_size, "dynamic_img_size": True} if image.is_vit else {}
