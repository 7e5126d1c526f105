"""LoRA: a frozen tower learns through small matrices beside its linear layers, which are added into them at the end."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from pydantic import Field
from torch import nn

from anonymize.config import Config
from anonymize.console import UserError


class LoraConfig(Config):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) by the peft library (extra ``lora``)."""

    rank: int = Field(default=0, ge=0)  # 0 is off
    alpha: float = Field(default=16.0, gt=0)  # the adapter's output counts alpha / rank
    dropout: float = Field(default=0.05, ge=0, lt=1)
    towers: tuple[Literal["image", "text"], ...] = ("text",)  # the others are trained as without it


def add_lora(backbone: nn.Module, config: LoraConfig, name: str) -> None:
    """Freeze ``backbone`` and put an adapter beside every linear layer in it. Its answers stay the same until trained.

    Raises:
        UserError: peft is not installed, or the tower (``name``) has no linear layer.
    """
    try:
        peft: Any = importlib.import_module("peft")  # optional: not there for the type checker either
    except ImportError:
        raise UserError("lora.rank needs the peft library: pip install 'vlp-xray[lora]', or set lora.rank=0") from None
    layers = [key for key, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError(f"lora.towers: the {name} tower has no linear layer to adapt; take it out of lora.towers")
    backbone.requires_grad_(False)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=layers
    )
    peft.inject_adapter_in_model(settings, backbone)


def merge_lora(module: nn.Module) -> int:
    """Add every adapter below ``module`` into its layer and take it away; returns how many there were.

    Afterwards ``module`` has the tensors, by name and shape, that it had before :func:`add_lora`.
    """
    try:
        kinds: Any = importlib.import_module("peft.tuners.tuners_utils")
    except ImportError:
        return 0
    adapted: list[tuple[str, Any]] = [
        (key, layer) for key, layer in module.named_modules() if isinstance(layer, kinds.BaseTunerLayer)
    ]
    for key, layer in adapted:
        layer.merge()
        parent, _, child = key.rpartition(".")
        setattr(module.get_submodule(parent), child, layer.get_base_layer())
    if adapted:
        module.requires_grad_(True)
    return len(adapted)
