"""Settings of the one training loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from anonymize.config import Config

# what changes nothing in the trained weights may change between a kill and the resume
FREE = frozenset(
    {
        "log_every",
        "checkpoint_every",
        "keep_last",
        "workers",
        "tensorboard",
        "processes",
        "licence",
        "allow_non_commercial",
    }
    | {"monitor", "monitor_every", "validation", "validate_every"}
)


class LoopConfig(Config):
    """How long, how fast and how carefully. One *step* is one update of the weights."""

    steps: int = Field(default=1000, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches per step; for contrastive objectives use `chunk`, which is exact
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)  # not on biases, norms, tokens and position embeddings
    beta2: float = Field(default=0.98, gt=0, lt=1)
    warmup: float = Field(default=0.1, ge=0, le=1)  # share of the steps in which the rate rises from 0
    final_lr: float = Field(default=0.01, ge=0, le=1)  # share of lr at the end of the cosine
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # each block's rate is this times that of the block above
    clip: float = Field(default=1.0, gt=0)  # norm of the gradient
    ema: float = Field(
        default=0.0, ge=0, lt=1
    )  # decay of a moving average of the weights, which then is the result; 0 is off
    seed: int = Field(default=0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the GPU or CPU has it in hardware
    device: Literal["auto", "cpu"] = "auto"
    processes: int | None = None  # refuse to start with another number
    workers: int = Field(
        default=0, ge=0
    )  # processes that load batches ahead; 0 is right where the images are in memory
    log_every: int = Field(default=10, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    keep_last: int = Field(default=1, ge=1)  # checkpoints kept
    tensorboard: bool = True

    def identity(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in FREE}
