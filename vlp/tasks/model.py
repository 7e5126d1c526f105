"""A task model: an image encoder and a head that answers for a whole study."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlp.encoders.dual import study_mean
from vlp.encoders.image import ImageEncoder
from vlp.objectives.classification import binary_loss
from vlp.objectives.ordinal import OrdinalHead, expected_grade, ordinal_loss
from vlp.objectives.regression import Standardizer, regression_loss
from vlp.tasks.linear_probe import FittedProbe
from vlp.tasks.task import Task


class TaskModel(nn.Module):
    """``image`` encodes each image; a study's features are the mean over its images; a linear head answers.

    Attributes:
        image: the encoder.
        attentive: whether a learned query weighs all patches of the study (else pooled feature and mean patch).
        sex: whether the patient's sex ([B] 1 F, -1 M, 0 unknown) is a further feature.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, image: ImageEncoder, task: Task, *, attentive: bool = False, sex: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.image, self.task, self.sex = image, task, sex
        self.attentive = _AttentivePool(image.width) if attentive else None
        width = 2 * image.width + int(sex)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.dropout = nn.Dropout(dropout)
        self.head: nn.Module = OrdinalHead(width, task.classes) if task.kind == "ordinal" else nn.Linear(width, 1)
        self.scale = Standardizer()

    def forward(self, images: Tensor, study_index: Tensor, sex: Tensor) -> Tensor:
        """Raw answers [B, K]: logits, or the quantity in standard units. ``images`` [M, 1, H, W] normalised."""
        found = self.image(images)
        if self.attentive is not None:
            features = self.attentive(found.pooled, found.patches, study_index, len(sex))
        else:
            both = torch.cat([found.pooled, found.patches.mean(dim=1)], dim=1)
            features = study_mean(both, study_index, len(sex))
        if self.sex:
            features = torch.cat([features, sex.unsqueeze(1)], dim=1)
        return self.head(self.dropout((features - self.mean) / self.std))

    def answer(self, raw: Tensor) -> Tensor:
        """[B]: the probability of the finding, the expected grade, or the quantity in its unit."""
        if self.task.kind == "ordinal":
            return expected_grade(raw)
        return raw[:, 0].sigmoid() if self.task.kind == "binary" else self.scale.inverse(raw[:, 0])

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """[] of raw answers [B, K] and targets [B]."""
        if self.task.kind == "ordinal":
            return ordinal_loss(raw, target)
        if self.task.kind == "binary":
            return binary_loss(raw, target.unsqueeze(1))
        return regression_loss(raw[:, 0], self.scale(target))

    @torch.no_grad()
    def start_from(self, probe: FittedProbe) -> None:
        """Make the head answer as the linear probe does (Kumar 2022, arXiv 2202.10054: probe first, then fine-tune)."""
        self.mean.copy_(torch.as_tensor(probe.mean))
        self.std.copy_(torch.as_tensor(probe.std))
        weight = torch.as_tensor(probe.weight, dtype=torch.float32)
        bias = torch.as_tensor(np.atleast_1d(probe.bias), dtype=torch.float32)
        if isinstance(self.head, OrdinalHead):
            self.head.score.weight.copy_(weight[None])
            self.head.first.copy_(bias[:1])
            gaps = (bias[:-1] - bias[1:]).clamp(min=1e-3)
            self.head.gaps.copy_(torch.log(torch.expm1(gaps)))  # the inverse of softplus
            return
        assert isinstance(self.head, nn.Linear)
        if self.task.kind == "regression":
            weight, bias = weight / self.scale.std, (bias - self.scale.mean) / self.scale.std
        self.head.weight.copy_(weight[None])
        self.head.bias.copy_(bias)

    def description(self) -> dict[str, Any]:
        """What ``config.json`` needs to build the head again."""
        return {"name": self.task.name, "attentive": self.attentive is not None, "sex": self.sex}


class _AttentivePool(nn.Module):
    """One learned query over all patches of a study, beside the mean pooled feature (attentive probe of V-JEPA)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.width = width

    def forward(self, pooled: Tensor, patches: Tensor, study_index: Tensor, studies: int) -> Tensor:
        score = self.key(patches) @ self.query / self.width**0.5  # [M, N]
        # softmax over the patches of all images of a study
        top = score.new_full((studies,), -torch.inf).scatter_reduce(0, study_index, score.amax(dim=1), "amax")
        weight = (score - top.clamp(min=-1e4)[study_index, None]).exp()
        total = weight.new_zeros(studies).index_add(0, study_index, weight.sum(dim=1))
        image = (weight.unsqueeze(-1) * self.value(patches)).sum(dim=1)
        study = image.new_zeros(studies, self.width).index_add(0, study_index, image)
        return torch.cat([study_mean(pooled, study_index, studies), study / total.clamp(min=1e-12)[:, None]], dim=1)
