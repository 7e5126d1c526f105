"""Self-distillation without labels, after DINOv2 (Oquab et al. 2024, arXiv 2304.07193): DINO + iBOT + KoLeo.

A student sees small and masked crops and predicts what a teacher, its own moving average, says of large ones. By default
the teacher's answers are spread over the prototypes by Sinkhorn-Knopp: with the running centre of the first DINO
(``centring=softmax``), small corpora collapsed to the uniform answer.

Gradients over several processes are those of one with the whole batch: batch statistics of the heads, balance, centre
and nearest neighbours are over all ranks.
"""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment
from vlp.encoders.device import moved
from vlp.encoders.image import ImageEncoder
from vlp.objectives.centring import Centring, Targets
from vlp.objectives.dino_head import DinoHead
from vlp.objectives.dino_losses import (
    cross_entropy_rows,
    entropy_share,
    koleo,
    mean_entropy,
    patch_loss,
    view_loss,
)
from vlp.objectives.fused import Fused


class DinoConfig(Config):
    """Crops, heads and weights. Crops are large for DINO: a fracture line must survive them."""

    outputs: int = Field(default=2048, ge=16)  # prototypes
    hidden: int = Field(default=512, ge=16)
    bottleneck: int = Field(default=128, ge=8)
    local_crops: int = Field(default=4, ge=0)
    local_size: int = Field(default=64, ge=16)  # pixels
    local_scale: tuple[float, float] = (0.15, 0.45)
    augment: AugmentConfig = AugmentConfig(scale=(0.45, 1.0))  # of the two large crops
    momentum: float = Field(default=0.99, ge=0, lt=1)  # of the teacher at the start; 1 at the end
    student_temperature: float = Field(default=0.1, gt=0)
    teacher_temperature: tuple[float, float] = (0.04, 0.04)  # from, to, over the first tenth of the steps
    centring: Centring = "sinkhorn"
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)  # of the softmax's centre
    freeze_prototypes: float = Field(
        default=0.01, ge=0, le=1
    )  # share of the steps in which the last layers stand still
    ibot: float = Field(default=1.0, ge=0)  # weight of the masked-patch loss; 0 is off
    mask: tuple[float, float] = (0.1, 0.5)  # share of masked patches, in every second large crop
    koleo: float = Field(default=0.1, ge=0)  # weight of the spread of embeddings; 0 is off


class DinoObjective(nn.Module):
    """Trains ``encoder`` (the student). A batch holds ``images`` uint8 or float 0-1 [B, 1, S, S]."""

    def __init__(self, encoder: ImageEncoder, config: DinoConfig, steps: int, frozen_steps: int = 0) -> None:
        """
        Args:
            steps: the length of the run, which momentum and temperature follow.
            frozen_steps: in the first so many, heads learn alone: fresh heads would spoil a trained encoder. The
                teacher's encoder is the student's until then.

        Raises:
            UserError: iBOT with a tower that takes no masks, or a local crop that is no whole number of patches.
        """
        super().__init__()
        if config.ibot and not encoder.takes_masks:
            raise UserError(
                f"dino.ibot needs a vit_ or conv_ tower, which {encoder.config.name} is not; set dino.ibot=0"
            )
        if encoder.takes_masks and config.local_crops and config.local_size % encoder.patch:
            nearest = max(1, round(config.local_size / encoder.patch)) * encoder.patch
            raise UserError(
                f"dino.local_size={config.local_size} is no multiple of the patch, {encoder.patch} pixels; "
                f"set it to {nearest}"
            )
        self.config, self.steps, self.frozen_steps = config, steps, frozen_steps
        shape = (encoder.width, config.hidden, config.bottleneck, config.outputs)
        self.student = nn.ModuleDict({"encoder": encoder, "head": DinoHead(*shape)})
        if config.ibot:
            self.student["patch_head"] = DinoHead(*shape)
        self.targets = nn.ModuleDict(
            {name: Targets(config.centring, config.outputs, config.centre_momentum) for name in ("view", "patch")}
        )
        self.augment, self.rows = Fused(augment), Fused(cross_entropy_rows)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        if encoder.mask_token is not None and not config.ibot:
            encoder.mask_token.requires_grad_(False)

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
        assert isinstance(encoder, ImageEncoder)
        images, size = batch["images"], encoder.image_size
        local = config.augment.model_copy(update={"scale": config.local_scale})
        large = [encoder.normalise(self.augment(images, size, config.augment)) for _ in range(2)]
        small = [encoder.normalise(self.augment(images, config.local_size, local)) for _ in range(config.local_crops)]
        both = torch.cat(large)
        temperature = self._teacher_temperature(step)
        mask = self._mask(len(both), encoder) if config.ibot else None
        hidden = None if mask is None else moved(mask, both.device)
        still = step < round(config.freeze_prototypes * self.steps)
        with torch.no_grad():
            seen = self.teacher["encoder"](both)
            said = self.targets["view"](self.teacher["head"](seen.pooled), temperature)
        with torch.no_grad() if step < self.frozen_steps else nullcontext():
            features = encoder(both, hidden)
            small_pooled = [encoder(torch.cat(small)).pooled] if small else []
        answers = list(self.student["head"](features.pooled, still).chunk(2))
        for pooled in small_pooled:
            answers += self.student["head"](pooled, still).chunk(len(small))
        dino = view_loss(said.chunk(2), answers, config.student_temperature, self.rows)
        entropy = mean_entropy(said)
        loss = dino
        logs: dict[str, Tensor | float] = {
            "dino": dino.detach(),
            "teacher_entropy": entropy_share(entropy, config.outputs),
            "teacher_student_kl": dino.detach() - entropy,
        }
        if config.koleo and len(images) > 1:
            spread = cast(Tensor, sum(koleo(part) for part in features.pooled.chunk(2)))
            loss, logs = loss + config.koleo * spread, {**logs, "koleo": spread.detach()}
        if mask is not None:
            places = moved(mask.flatten().nonzero().squeeze(1), both.device)
            with torch.no_grad():
                shown = seen.patches.flatten(0, 1)[places]
                wanted = self.targets["patch"](self.teacher["patch_head"](shown), temperature)
            given = self.student["patch_head"](features.patches.flatten(0, 1)[places], still)
            patches = patch_loss(wanted, given, mask, config.student_temperature, self.rows)
            loss, logs = loss + config.ibot * patches, {**logs, "ibot": patches.detach()}
        return loss, logs

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher towards the student; the momentum rises to 1 along a cosine."""
        momentum = 1 - (1 - self.config.momentum) * (math.cos(math.pi * step / self.steps) + 1) / 2
        ours: list[Tensor] = list(self.teacher.parameters())
        theirs: list[Tensor] = list(self.student.parameters())
        # one launch for all of them; it has no public name
        torch._foreach_lerp_(ours, theirs, 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]

    def _teacher_temperature(self, step: int) -> float:
        low, high = self.config.teacher_temperature
        return low + (high - low) * min(1.0, step / max(1, self.steps // 10))

    def _mask(self, count: int, encoder: ImageEncoder) -> Tensor:
        """[count, N] bool on the CPU: in every second image a random share of patches, at least one."""
        patches = encoder.grid[0] * encoder.grid[1]
        low, high = self.config.mask
        share = torch.rand(count) * (high - low) + low
        share[1::2] = 0
        wanted = (share * patches).round().clamp(max=patches)
        wanted[0::2] = wanted[0::2].clamp(min=1)
        order = torch.rand(count, patches).argsort(dim=1).argsort(dim=1)
        return order < wanted.unsqueeze(1)
