"""Self-distillation without labels, after DINOv2 (Oquab et al. 2024, arXiv 2304.07193): DINO + iBOT + KoLeo.

A student sees small and masked crops and predicts what a teacher, its own moving average, says of large ones. The
teacher's answers are spread over the prototypes by Sinkhorn-Knopp: with the running centre of the first DINO, small
corpora collapsed to the uniform answer.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax, normalize

from anonymize.config import Config
from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment
from vlp.encoders.image import ImageEncoder
from vlp.training.distributed import sum_over_ranks

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # its import asks a server for news otherwise
from lightly.loss import KoLeoLoss


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
    ibot: float = Field(default=1.0, ge=0)  # weight of the masked-patch loss; 0 is off
    mask: tuple[float, float] = (0.1, 0.5)  # share of masked patches, in every second large crop
    koleo: float = Field(default=0.1, ge=0)  # weight of the spread of embeddings; 0 is off


class _BatchNorm(nn.BatchNorm1d):
    """Batch statistics always, as the teacher's are those of its own crops. Without it, heads on few images go constant."""

    def __init__(self, width: int) -> None:
        super().__init__(width, track_running_stats=False)


class DinoHead(nn.Module):
    """Three linear layers, a unit-length bottleneck and unit-length prototypes: [n, width] to [n, outputs]."""

    def __init__(self, width: int, config: DinoConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, config.hidden),
            _BatchNorm(config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            _BatchNorm(config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(config.outputs, config.bottleneck))
        for tensor in (*(layer.weight for layer in self.layers if isinstance(layer, nn.Linear)), self.prototypes):
            nn.init.trunc_normal_(tensor, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        return linear(normalize(self.layers(features), dim=-1), normalize(self.prototypes, dim=-1))


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Soft assignments of all ranks' rows to prototypes, each prototype used equally (Caron et al. 2020, SwAV).

    Args:
        scores: [n, K] cosines; n may differ between ranks.

    Returns:
        [n, K], rows sum to 1.
    """
    shares = ((scores.float() - 1) / temperature).exp()  # cosines are at most 1
    rows = sum_over_ranks(torch.tensor([float(len(scores))], device=scores.device))
    for _ in range(iterations):
        shares = shares / (sum_over_ranks(shares.sum(dim=0)) * shares.shape[1]).clamp(min=1e-30)
        shares = shares / (shares.sum(dim=1, keepdim=True) * rows).clamp(min=1e-30)
    return shares * rows


def view_loss(targets: Sequence[Tensor], answers: Sequence[Tensor], temperature: float) -> Tensor:
    """Mean cross-entropy of every answer against the target of every other view.

    Args:
        targets: the teacher's assignments [B, K] of the first views.
        answers: the student's scores [B, K] of all views, in the same order.
    """
    logs = [log_softmax(answer.float() / temperature, dim=-1) for answer in answers]
    terms = [-(t * log).sum(dim=-1).mean() for i, t in enumerate(targets) for j, log in enumerate(logs) if i != j]
    return torch.stack(terms).mean()


def patch_loss(targets: Tensor, answers: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """iBOT's cross-entropy at the masked patches (Zhou et al. 2022, arXiv 2111.07832), every image with a mask alike.

    Args:
        targets, answers: [M, K] at the true places of ``mask`` in row order.
        mask: [B, N] bool.
    """
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
    weights = (1 / counts).expand(mask.shape)[mask]
    terms = -(targets * log_softmax(answers.float() / temperature, dim=-1)).sum(dim=-1)
    return (terms * weights).sum() / mask.any(dim=1).sum().clamp(min=1)


class DinoObjective(nn.Module):
    """Trains ``encoder`` (the student). A batch holds ``images`` uint8 or float 0-1 [B, 1, S, S]."""

    def __init__(self, encoder: ImageEncoder, config: DinoConfig, steps: int) -> None:
        """``steps`` is the length of the run: momentum and temperature follow it.

        Raises:
            UserError: iBOT with a tower that takes no masks, or a local crop that is no whole number of patches.
        """
        super().__init__()
        if config.ibot and not encoder.takes_masks:
            raise UserError(
                f"dino.ibot needs a vit_ or conv_ tower, which {encoder.config.name} is not; set dino.ibot=0"
            )
        if encoder.takes_masks and config.local_crops and config.local_size % encoder.patch:
            raise UserError(f"dino.local_size={config.local_size} is no multiple of the patch, {encoder.patch} pixels")
        self.config, self.steps = config, steps
        self.student = nn.ModuleDict({"encoder": encoder, "head": DinoHead(encoder.width, config)})
        if config.ibot:
            self.student["patch_head"] = DinoHead(encoder.width, config)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        if encoder.mask_token is not None and not config.ibot:
            encoder.mask_token.requires_grad_(False)
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
        assert isinstance(encoder, ImageEncoder)
        images, size = batch["images"], encoder.image_size
        local = config.augment.model_copy(update={"scale": config.local_scale})
        large = [encoder.normalise(augment(images, size, config.augment)) for _ in range(2)]
        small = [encoder.normalise(augment(images, config.local_size, local)) for _ in range(config.local_crops)]
        both = torch.cat(large)
        temperature = self._teacher_temperature(step)
        mask = self._mask(len(both), encoder, both.device) if config.ibot else None
        with torch.no_grad():
            seen = self.teacher["encoder"](both)
            said = sinkhorn(self.teacher["head"](seen.pooled), temperature)
        features = encoder(both, mask)
        answers = list(self.student["head"](features.pooled).chunk(2))
        if small:
            pooled = encoder(torch.cat(small)).pooled
            answers += self.student["head"](pooled).chunk(len(small))
        dino = view_loss(said.chunk(2), answers, config.student_temperature)
        loss = dino
        logs: dict[str, Tensor | float] = {"dino": dino.detach()}
        if config.koleo and len(images) > 1:
            spread = cast(Tensor, sum(self.koleo(part) for part in features.pooled.chunk(2)))
            loss, logs = loss + config.koleo * spread, {**logs, "koleo": spread.detach()}
        if mask is not None:
            with torch.no_grad():
                wanted = sinkhorn(self.teacher["patch_head"](seen.patches[mask]), temperature)
            given = self.student["patch_head"](features.patches[mask])
            patches = patch_loss(wanted, given, mask, config.student_temperature)
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
