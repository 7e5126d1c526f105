"""Self-distillation without labels, after DINOv2 (Oquab et al. 2024, arXiv 2304.07193): DINO + iBOT + KoLeo.

A student sees small and masked crops and predicts what a teacher, its own moving average, says of large ones. Losses are
lightly's; softmax centring, as in DINO and iBOT.
"""

from __future__ import annotations

import copy
import math
import os
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment
from vlp.encoders.image import ImageEncoder

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # its import asks a server for news otherwise
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss


class DinoConfig(Config):
    """Crops, heads and weights. Crops are large for DINO: a fracture line must survive them."""

    outputs: int = Field(2048, ge=16)  # prototypes
    hidden: int = Field(512, ge=16)
    bottleneck: int = Field(128, ge=8)
    local_crops: int = Field(4, ge=0)
    local_size: int = Field(64, ge=16)  # pixels
    local_scale: tuple[float, float] = (0.15, 0.45)
    augment: AugmentConfig = AugmentConfig(scale=(0.45, 1.0))  # of the two large crops
    momentum: float = Field(0.99, ge=0, lt=1)  # of the teacher at the start; 1 at the end
    student_temperature: float = Field(0.1, gt=0)
    teacher_temperature: tuple[float, float] = (0.04, 0.07)  # rising over the first tenth of the steps
    ibot: float = Field(1.0, ge=0)  # weight of the masked-patch loss; 0 is off
    mask: tuple[float, float] = (0.1, 0.5)  # share of masked patches, in every second large crop
    koleo: float = Field(0.1, ge=0)  # weight of the spread of embeddings; 0 is off


class DinoHead(nn.Module):
    """Three linear layers, a unit-length bottleneck and unit-length prototypes: [.., width] to [.., outputs]."""

    def __init__(self, width: int, config: DinoConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(config.outputs, config.bottleneck))
        for tensor in (*(layer.weight for layer in self.layers if isinstance(layer, nn.Linear)), self.prototypes):
            nn.init.trunc_normal_(tensor, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        return linear(normalize(self.layers(features), dim=-1), normalize(self.prototypes, dim=-1))


class DinoObjective(nn.Module):
    """Trains ``encoder`` (the student). A batch holds ``images`` uint8 or float 0-1 [B, 1, S, S]."""

    def __init__(self, encoder: ImageEncoder, config: DinoConfig, steps: int) -> None:
        """``steps`` is the length of the run: momentum and temperature follow it.

        Raises:
            UserError: iBOT without a vision transformer, or a local crop that is no whole number of patches.
        """
        super().__init__()
        if config.ibot and not encoder.is_vit:
            raise UserError(
                f"dino.ibot needs a vision transformer, which {encoder.config.name} is not; set dino.ibot=0"
            )
        if encoder.is_vit and config.local_crops and config.local_size % encoder.patch:
            raise UserError(f"dino.local_size={config.local_size} is no multiple of the patch, {encoder.patch} pixels")
        self.config, self.steps = config, steps
        self.student = nn.ModuleDict({"encoder": encoder, "head": DinoHead(encoder.width, config)})
        if config.ibot:
            self.student["patch_head"] = DinoHead(encoder.width, config)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        if encoder.mask_token is not None and not config.ibot:
            encoder.mask_token.requires_grad_(False)
        temperature = config.student_temperature
        self.dino = DINOLoss(output_dim=config.outputs, student_temp=temperature)
        self.ibot = IBOTPatchLoss(output_dim=config.outputs, student_temp=temperature) if config.ibot else None
        self.koleo = KoLeoLoss()

    @property
    def encoder(self) -> ImageEncoder:
        """The result: the teacher's encoder."""
        found = self.teacher["encoder"]
        assert isinstance(found, ImageEncoder)
        return found

    def train(self, mode: bool = True) -> DinoObjective:
        """The teacher is never in training mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        config, encoder = self.config, self.student["encoder"]
        images, size = batch["images"], encoder.image_size
        local = config.augment.model_copy(update={"scale": config.local_scale})
        large = [encoder.normalise(augment(images, size, config.augment)) for _ in range(2)]
        small = [encoder.normalise(augment(images, config.local_size, local)) for _ in range(config.local_crops)]
        both = torch.cat(large)
        temperature = self._teacher_temperature(step)
        mask = self._mask(len(both), encoder, both.device) if self.ibot else None
        with torch.no_grad():
            seen = self.teacher["encoder"](both)
            said = self.teacher["head"](seen.pooled)
        features = encoder(both, mask)
        answers = list(self.student["head"](features.pooled).chunk(2))
        if small:
            pooled = encoder(torch.cat(small)).pooled
            answers += self.student["head"](pooled).chunk(len(small))
        dino = self.dino(list(said.chunk(2)), answers, teacher_temp=temperature)
        loss, logs = dino, {"dino": dino.detach()}
        if config.koleo and len(images) > 1:
            spread = sum(self.koleo(part) for part in features.pooled.chunk(2))
            loss, logs = loss + config.koleo * spread, {**logs, "koleo": spread.detach()}
        if self.ibot is not None and mask is not None:
            with torch.no_grad():
                wanted = self.teacher["patch_head"](seen.patches[mask])
            given = self.student["patch_head"](features.patches[mask])
            patches = self.ibot(wanted, given, mask.unflatten(1, features.grid), teacher_temp=temperature)
            loss, logs = loss + config.ibot * patches, {**logs, "ibot": patches.detach()}
        return loss, logs

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher towards the student; the momentum rises to 1 along a cosine."""
        momentum = 1 - (1 - self.config.momentum) * (math.cos(math.pi * step / self.steps) + 1) / 2
        ours, theirs = list(self.teacher.parameters()), list(self.student.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - momentum)

    def _teacher_temperature(self, step: int) -> float:
        low, high = self.config.teacher_temperature
        return low + (high - low) * min(1.0, step / max(1, self.steps // 10))

    def _mask(self, count: int, encoder: ImageEncoder, device: torch.device) -> Tensor:
        """[count, N] bool: in every second image a random share of patches, at least one."""
        patches = encoder.grid[0] * encoder.grid[1]
        low, high = self.config.mask
        share = torch.rand(count, device=device) * (high - low) + low
        share[1::2] = 0
        wanted = (share * patches).round().clamp(max=patches)
        wanted[0::2] = wanted[0::2].clamp(min=1)
        order = torch.rand(count, patches, device=device).argsort(dim=1).argsort(dim=1)
        return order < wanted.unsqueeze(1)
