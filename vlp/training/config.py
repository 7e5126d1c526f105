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
        "trackers",
        "flops",
        "processes",
        "licence",
        "allow_non_commercial",
    }
    | {"activation_checkpointing", "best", "best_goal", "result"}
    | {"monitor", "monitor_every", "validation", "validate_every"}
)


class LoopConfig(Config):
    """How long, how fast and how carefully. One *step* is one update of the weights."""

    steps: int = Field(default=1000, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches per step; for contrastive objectives use `chunk`, which is exact
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)  # not on biases, norms, tokens and position embeddings
    final_weight_decay: float | None = Field(default=None, ge=0)  # reached along a cosine, as in DINO; None: constant
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
    residual: Literal["fp32", "bf16"] = (
        "fp32"  # with precision=bf16, what flows between the blocks of timm's transformers
    )
    device: Literal["auto", "cpu"] = "auto"
    processes: int | None = None  # refuse to start with another number
    shard: Literal["none", "fsdp2"] = "none"  # fsdp2: weights, gradients and moments are spread over the processes
    compile: bool = False  # torch.compile of each transformer block or convolutional stage
    activation_checkpointing: bool = False  # both towers compute their blocks again in the backward pass: less memory
    channels_last: bool = False  # memory format of convolutions; faster on GPUs with tensor cores
    workers: int = Field(
        default=0, ge=0
    )  # processes that load batches ahead; 0 is right where the images are in memory
    log_every: int = Field(default=10, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    keep_last: int = Field(default=1, ge=1)  # checkpoints kept
    best: str | None = None  # also keep the weights with the best value of this check, as validation_recall_at_1
    best_goal: Literal["max", "min"] = "max"
    result: Literal["last", "best"] = "last"  # which weights the model folder gets
    tensorboard: bool = True
    trackers: tuple[Literal["mlflow", "wandb", "trackio"], ...] = ()  # beside log.jsonl; on this machine only
    flops: bool = True  # log tflops and mfu, counted on the first step
    allow_non_commercial: bool = False  # start from weights whose licence forbids commercial use

    def identity(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in FREE}
