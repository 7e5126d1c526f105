"""Settings of ``vlp evaluate`` and ``vlp finetune``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from anonymize.config import Config
from vlp.corpus.augment import AugmentConfig
from vlp.training.config import LoopConfig


def _listed(value: Any) -> Any:
    """A single value stands for a list of one, so that ``labels=0.1`` can be typed."""
    return value if isinstance(value, list | tuple) else [value]


Fraction = Annotated[float, Field(gt=0, le=1)]
Fractions = Annotated[tuple[Fraction, ...], BeforeValidator(_listed), Field(min_length=1)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
EvaluateProtocols = Annotated[tuple[Literal["zero-shot", "linear", "knn"], ...], BeforeValidator(_listed)]
FinetuneProtocols = Annotated[
    tuple[Literal["linear", "attentive", "finetune", "scratch"], ...], BeforeValidator(_listed), Field(min_length=1)
]


class _Common(Config):
    data: str = "real"  # what the numbers are about: starts with phantom or real
    resamples: int = Field(default=1000, ge=100)  # of the bootstrap and the permutation test
    batch_size: int = Field(default=32, ge=1)
    group_floor: int = Field(
        default=30, ge=2
    )  # positives and negatives (or studies) below which a subgroup has no number

    @field_validator("data")
    @classmethod
    def _phantom_or_real(cls, data: str) -> str:
        if not data.startswith(("phantom", "real")) or "/" in data:
            raise ValueError("starts with phantom or real and holds no /")
        return data


class EvaluateConfig(_Common):
    """What ``vlp evaluate`` measures. Everything is measured on the test split."""

    tasks: Names = (
        "bone_age",
        "osteoarthritis",
        "fracture",
        "effusion",
        "consolidation",
        "cardiomegaly",
        "pneumothorax",
        "scoliosis",
    )
    protocols: EvaluateProtocols = ("zero-shot", "linear", "knn")
    labels: Fractions = (0.01, 0.1, 1.0)  # of the training labels, for the linear probe
    seeds: Seeds = (0,)  # which patients the fractions hold
    language: str = ""  # of the prompts; "" for the language of most reports
    prompts: Literal["pack", "descriptions"] = "pack"  # what stands for a finding: prompts.yaml or descriptions.yaml
    neighbours: int = Field(default=20, ge=1)
    random_baseline: bool = True  # the same network with random weights, probed in the same way
    minimum_test: int = Field(default=10, ge=2)  # studies below which a task is left out (and 2 of each class)
    attention_maps: int = Field(default=8, ge=0)
    examples: int = Field(default=6, ge=0)  # of retrieval, for the results page
    allow_non_commercial: bool = False  # measure weights whose licence forbids commercial use


class FinetuneConfig(_Common, LoopConfig):
    """How ``vlp finetune`` trains for one task with labels. ``steps``, ``lr`` and the like are the training loop's."""

    steps: int = Field(default=300, ge=1)
    layer_decay: float = Field(default=0.8, gt=0, le=1)
    tensorboard: bool = False
    labels: Fractions = (1.0,)
    protocol: FinetuneProtocols = ("finetune",)
    seeds: Seeds = (0,)  # of training and of which patients the fractions hold; `seed` is not used
    sex: bool | None = None  # the patient's sex as an input; by default as the task says (bone age: yes)
    images: int = Field(default=2, ge=1)  # of a study in a training batch; measuring uses all
    head_dropout: float = Field(default=0.1, ge=0, lt=1)
    encoder_lr_scale: float = Field(default=0.3, ge=0)  # rate of a pretrained encoder against the head's (scratch: 1)
    evaluations: int = Field(default=10, ge=1)  # times the validation split is measured; the best state is kept
    augment: AugmentConfig = AugmentConfig(scale=(0.7, 1.0), flip=0.5)

    @model_validator(mode="after")
    def _seeds_not_seed(self) -> FinetuneConfig:
        if self.seed:
            raise ValueError(f"give seeds=[{self.seed}] in place of seed={self.seed}")
        return self


class ReportConfig(_Common, LoopConfig):
    """How ``vlp finetune report-generation`` trains its decoder."""

    steps: int = Field(default=600, ge=1)
    tensorboard: bool = False
    width: int = Field(default=192, ge=32)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=6, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    vocabulary: int = Field(default=4000, ge=64)  # of the tokenizer, where the encoder's folder has none
    max_tokens: int = Field(default=160, ge=16)  # of a report; longer ones are cut in training, never in measuring
    images: int = Field(default=2, ge=1)  # of a study
    beams: int = Field(default=1, ge=1)  # 1 is greedy
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    encoder_lr_scale: float = Field(default=0.1, ge=0)  # 0 freezes the encoder
    evaluations: int = Field(default=5, ge=1)
    examples: int = Field(default=6, ge=0)
    augment: AugmentConfig = AugmentConfig(scale=(0.8, 1.0))


def loop_config(config: LoopConfig, **changes: Any) -> LoopConfig:
    """The training loop's part of ``config``, with ``changes``."""
    values = {name: getattr(config, name) for name in LoopConfig.model_fields}
    return LoopConfig(**values).model_copy(update=changes)
