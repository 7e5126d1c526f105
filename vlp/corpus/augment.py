"""Augmentation of radiographs, whole batches at a time on whatever device they are.

Nothing here mirrors an image unless asked: sides carry meaning, and reports name them. Where images have texts, the
caller says which are mirrored, and swaps the sides of their texts. All draws come from torch's
generator of the batch's device, which the training loop reseeds before every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from anonymize.config import Config

Share = Annotated[float, Ge(0), Le(1)]
_AT_ONCE = 8 * 224**2  # pixels


class AugmentConfig(Config):
    """How far an augmented radiograph may differ from the original."""

    scale: tuple[float, float] = (0.6, 1.0)  # area of the crop as a share of the image
    ratio: float = Field(default=1.15, ge=1)  # stretch of width against height, either way
    rotation: float = Field(default=10.0, ge=0, le=180)  # degrees, either way
    flip: Share = (
        0.0  # chance of a mirror image; in `vlp align` the text's sides are swapped; keep 0 where labels have sides
    )
    brightness: float = Field(default=0.1, ge=0)  # shift, of the full range, either way
    contrast: float = Field(default=0.25, ge=0)  # log factor, either way
    gamma: float = Field(default=0.25, ge=0)  # log exponent, either way
    noise: float = Field(default=0.03, ge=0)  # largest standard deviation, of the full range
    blur: Share = 0.3  # chance of a blur of 3 pixels


def to_float(images: Tensor) -> Tensor:
    """uint8 [.., H, W] 0-255 to float32 0-1; float passes."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def resize(images: Tensor, size: int) -> Tensor:
    """Square images [B, 1, S, S], uint8 or float 0-1, to float [B, 1, size, size]; area mean when they shrink."""
    pixels = to_float(images)
    if pixels.shape[-1] == size:
        return pixels
    mode = "area" if pixels.shape[-1] > size else "bilinear"
    return torch.nn.functional.interpolate(pixels, size=(size, size), mode=mode)


def augment(images: Tensor, size: int, config: AugmentConfig, mirrored: Tensor | None = None) -> Tensor:
    """A random crop of each of ``images`` [B, 1, S, S] (uint8 or float 0-1) with its own changes: float [B, 1, size, size].

    ``mirrored`` [B] bool says which become mirror images; None draws them with ``config.flip``.
    """
    return _augmented(images, size, config, mirrored, None)[0]


def augment_with(images: Tensor, maps: Tensor, size: int, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """As :func:`augment`, and ``maps`` [B, 1, h, w] (0-1) of the same views cut, turned and mirrored as their images are.

    Returns:
        Images and maps, both float [B, 1, size, size]. What lies outside an image is 0 in its map.
    """
    pixels, cut = _augmented(images, size, config, None, maps)
    assert cut is not None
    return pixels, cut


def _augmented(
    images: Tensor, size: int, config: AugmentConfig, mirrored: Tensor | None, maps: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    # on a CPU a few at a time, which stay in its cache from one operation to the next; small images all at once
    at_once = max(1, _AT_ONCE // size**2 if images.device.type == "cpu" else len(images))
    pixels: list[Tensor] = []
    cut: list[Tensor] = []
    for start in range(0, max(1, len(images)), at_once):
        part = slice(start, start + at_once)
        shown = images[part]
        places = _places(len(shown), size, config, None if mirrored is None else mirrored[part], images.device)
        pixels.append(intensity(_sampled(shown, places, config), config))
        if maps is not None:
            cut.append(grid_sample(maps[part].float(), places, align_corners=False))
    return _joined(pixels), _joined(cut) if cut else None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def crop(images: Tensor, size: int, config: AugmentConfig, mirrored: Tensor | None = None) -> Tensor:
    """Random place, size, stretch, rotation and (if asked) mirror image. What lies outside the image is 0 (air)."""
    return _sampled(images, _places(len(images), size, config, mirrored, images.device), config)


def _sampled(images: Tensor, places: Tensor, config: AugmentConfig) -> Tensor:
    """Images [B, 1, S, S] at ``places`` [B, size, size, 2]."""
    pixels = to_float(images)
    factor = int(pixels.shape[-1] * math.sqrt(config.scale[0]) // places.shape[1])
    if factor > 1:  # bilinear sampling reads 4 pixels; averaging first keeps fine lines from aliasing
        pixels = avg_pool2d(pixels, factor)
    return grid_sample(pixels, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _places(count: int, size: int, config: AugmentConfig, mirrored: Tensor | None, device: torch.device) -> Tensor:
    """Where each pixel of a random crop comes from, over -1 to 1: [count, size, size, 2]."""
    low, high = config.scale
    side = _uniform(count, low, high, device).sqrt()
    stretch = _log_uniform(count, math.log(config.ratio) / 2, device)
    angle = _uniform(count, -1, 1, device) * math.radians(config.rotation)
    drawn = torch.rand(count, device=device) < config.flip  # drawn in any case: the numbers that follow stay the same
    mirror = torch.where(drawn if mirrored is None else mirrored, -1.0, 1.0)
    wide, high_side = side * stretch, side / stretch
    shift_x = _uniform(count, -1, 1, device) * (1 - wide).clamp(min=0)
    shift_y = _uniform(count, -1, 1, device) * (1 - high_side).clamp(min=0)
    cosine, sine = angle.cos(), angle.sin()
    rows = (
        (wide * cosine * mirror, -high_side * sine, shift_x),
        (wide * sine * mirror, high_side * cosine, shift_y),
    )
    return _grid(rows, size)


def _grid(rows: Sequence[Sequence[Tensor]], size: int) -> Tensor:
    """Where each pixel of [size, size] comes from: [B, size, size, 2] of x and y over -1 to 1.

    As torch's ``affine_grid`` with ``align_corners=False``, whose matrix product takes longer than the sampling.
    """
    device = rows[0][0].device
    steps = (torch.arange(size, device=device, dtype=torch.float32) * 2 + 1) / size - 1
    across = [along[:, None, None] * steps + shift[:, None, None] for along, _, shift in rows]
    downward = [down[:, None, None] * steps[:, None] for _, down, _ in rows]
    if torch.compiler.is_compiling():  # which fuses this, and cannot write into part of a tensor
        return torch.stack([x + y for x, y in zip(across, downward, strict=True)], dim=-1)
    grid = torch.empty(len(rows[0][0]), size, size, 2, device=device)
    for axis in range(2):
        torch.add(across[axis], downward[axis], out=grid[..., axis])
    return grid


def intensity(images: Tensor, config: AugmentConfig) -> Tensor:
    """Exposure, window, blur and noise: float 0-1 [B, 1, H, W] to the same, one draw an image."""
    count, device = images.shape[0], images.device

    def each(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    pixels = images.clamp(1e-4, 1).pow_(each(_log_uniform(count, config.gamma, device)))
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels.sub_(middle).mul_(each(_log_uniform(count, config.contrast, device))).add_(middle)
    pixels.add_(each(_uniform(count, -config.brightness, config.brightness, device)))
    if config.blur:
        weight = each((torch.rand(count, device=device) < config.blur).float() * torch.rand(count, device=device))
        pixels.lerp_(_blurred(pixels), weight)
    if config.noise:
        pixels.addcmul_(each(_uniform(count, 0, config.noise, device)), torch.randn_like(pixels))
    return pixels.clamp_(0, 1)


def _blurred(images: Tensor) -> Tensor:
    """The mean of 3 x 3 pixels, at the edges of those inside; two sums of three are faster than torch's pooling."""
    for axis in (2, 3):
        count = images.shape[axis]
        total = images.clone()
        total.narrow(axis, 1, count - 1).add_(images.narrow(axis, 0, count - 1))
        total.narrow(axis, 0, count - 1).add_(images.narrow(axis, 1, count - 1))
        inside = torch.full((count,), 3.0, device=images.device)
        for end in (inside[:1], inside[-1:]):  # a number written to one element would make a GPU wait
            end.fill_(min(2.0, float(count)))
        images = total / inside.view(-1, 1) if axis == 2 else total / inside
    return images


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(count, device=device) * (high - low) + low


def _log_uniform(count: int, reach: float, device: torch.device) -> Tensor:
    return (_uniform(count, -1, 1, device) * reach).exp()
