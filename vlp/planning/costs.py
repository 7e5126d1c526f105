"""What a training step costs, measured: the real objective runs forward and backward on a few made-up images and texts.

Memory is linear in the images of a process, so two small runs give what is fixed and what each image adds.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from anonymize.console import UserError
from vlp.encoders.dual import DualEncoder
from vlp.encoders.image import ImageEncoder
from vlp.encoders.text import TextEncoder
from vlp.encoders.tokenizer import SPECIAL, Tokenizer
from vlp.objectives.contrastive import ContrastiveObjective
from vlp.objectives.descriptions import FACETS
from vlp.training.align import AlignConfig
from vlp.training.data import source_square
from vlp.training.descriptions import FINDINGS
from vlp.training.flops import FlopCount
from vlp.training.pretrain import PretrainConfig, _objective

_DESCRIPTION = "0 " * 24  # as long as the packs' descriptions of findings are
_SMALL = 5_000_000  # parameters below which more images are measured: a single one is all overhead


@dataclass(frozen=True)
class StepCost:
    """Of one process. ``sample`` is an image for ``vlp pretrain`` and a study for ``vlp align``.

    Attributes:
        weights: numbers in parameters and buffers, a teacher's included.
        trained: numbers that get a gradient.
        fixed: bytes at the peak of forward and backward beyond weights, that no sample adds: gradients above all.
        sample: bytes that each sample adds to that peak.
        flops: floating-point operations of a sample, forward and backward.
        seconds: of a sample on this CPU, with the threads that torch uses here.
    """

    weights: int
    trained: int
    fixed: int
    sample: int
    flops: float
    seconds: float

    def memory(self, samples: int, *, ema: bool = False, processes: int = 1) -> int:
        """Bytes at the peak of a step of ``samples``: weights, moments (two a trained number), average, and the larger
        of backward pass and AdamW's update, whose temporaries are as large as the trained weights. float32 throughout:
        under bfloat16 weights and moments stay float32 and what is measured holds the rest.
        Several processes hold gradients twice (DistributedDataParallel's buckets)."""
        kept = 4 * (self.weights * (2 if ema else 1) + 2 * self.trained)
        buckets = 4 * self.trained if processes > 1 else 0
        return kept + buckets + max(self.fixed + samples * self.sample, 2 * 4 * self.trained)

    def checkpoint(self, *, ema: bool = False) -> int:
        """Bytes of one checkpoint: weights, moments, average."""
        return 4 * (self.weights * (2 if ema else 1) + 2 * self.trained)


def pretrain_cost(config: PretrainConfig, bf16: bool) -> StepCost:
    """Run ``config``'s objective on gray images. Takes seconds for small towers, a minute for a ViT-B on two cores."""
    objective = _objective(ImageEncoder(config.image), config).train()
    side = source_square(config.image, config.data.source_size).side

    def batch(samples: int) -> dict[str, Any]:
        return {"images": torch.zeros(samples, 1, side, side, dtype=torch.uint8)}

    return _measure(objective, batch, bf16)


def align_cost(config: AlignConfig, images_per_study: float, tokens: int, bf16: bool) -> StepCost:
    """Run ``config``'s objective on studies of ``images_per_study`` images and reports of ``tokens`` tokens.

    Every term that ``config`` switches on is run: rewritten texts are as long as the reports, descriptions are read once
    a batch whatever its size. Only slices (``contrastive.chunk``) are left out: what they save is the plan's to decide.
    """
    text = TextEncoder.from_folder(config.text) if config.text.folder else TextEncoder(config.text, _words(config))
    plain = config.contrastive.model_copy(update={"chunk": 0})
    objective = ContrastiveObjective(DualEncoder(ImageEncoder(config.image), text, config.dual), plain, 2).train()
    side = source_square(config.image, config.data.source_size).side
    report = "0 " * max(1, tokens - 2)

    def batch(samples: int) -> dict[str, Any]:
        count = max(samples, round(samples * images_per_study))
        keys = torch.arange(1, samples + 1).unsqueeze(1)
        return {
            "images": torch.zeros(count, 1, side, side, dtype=torch.uint8),
            "study_index": torch.arange(count) % samples,
            "texts": [report] * samples,
            "study_keys": keys,
            "text_keys": keys,
            "label_keys": torch.zeros(samples, dtype=torch.int64),
            "anatomy_keys": torch.zeros(samples, dtype=torch.int64),
            "negatives": [report] * samples,
            "descriptions": [_DESCRIPTION] * (len(FINDINGS) * len(FACETS)),
            "written": torch.ones(len(FINDINGS), len(FACETS), dtype=torch.bool),
            "findings": torch.ones(samples, len(FINDINGS), dtype=torch.int64),
        }

    return _measure(objective, batch, bf16)


def _words(config: AlignConfig) -> Tokenizer:
    """A tokenizer with as many entries as the planned one, one token a word: its size is what costs."""
    from tokenizers import Tokenizer as Rust
    from tokenizers import models, pre_tokenizers

    entries = [*SPECIAL, *(str(i) for i in range(config.text.vocabulary - len(SPECIAL)))]
    rust = Rust(models.WordLevel({word: i for i, word in enumerate(entries)}, unk_token=SPECIAL[1]))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer(rust.to_str(), config.text.max_length)


class _Live(TorchDispatchMode):
    """Bytes of tensors that were made inside and still live, and their most."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        pytree.tree_map_only(Tensor, self._see, out)
        return out

    def known(self, tensor: Tensor) -> None:
        """``tensor`` was there before."""
        self._seen.add(tensor.untyped_storage()._cdata)

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._seen:
            return
        self._seen.add(storage._cdata)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._now -= size
        self._seen.discard(key)


def _measure(objective: nn.Module, batch: Callable[[int], dict[str, Any]], bf16: bool) -> StepCost:
    weights = sum(t.numel() for t in (*objective.parameters(), *objective.buffers()))
    trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    few, many = (8, 24) if weights < _SMALL else (2, 4)
    try:
        low, high = (_step(objective, batch(samples), bf16) for samples in (few, many))
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise UserError(
                f"this machine's memory is too small to run {many} images through the planned model, which has "
                f"{weights / 1e6:.0f} million numbers; run `vlp plan` on the machine that will train"
            ) from None
        raise
    # the slope of the forward pass: few samples peak later, when gradients of weights outweigh activations
    sample = max(0.0, (high.forward - low.forward) / (many - few))
    return StepCost(
        weights=weights,
        trained=trained,
        fixed=max(0, int(low.peak - sample * few), int(high.peak - sample * many)),
        sample=int(sample),
        flops=high.flops / many,
        seconds=high.seconds / many,
    )


@dataclass(frozen=True)
class _Run:
    """One forward and backward pass: peak bytes of the forward part and of both, operations, seconds."""

    forward: int
    peak: int
    flops: float
    seconds: float


def _step(objective: nn.Module, batch: dict[str, Any], bf16: bool) -> _Run:
    live, flops = _Live(), FlopCount()
    for tensor in (*objective.parameters(), *objective.buffers()):
        live.known(tensor)
    with flops, live:
        loss = _forward(objective, batch, bf16)
        forward = live.peak
        with flops.backward():
            loss.backward()
    objective.zero_grad(set_to_none=True)
    began = time.perf_counter()
    _forward(objective, batch, bf16).backward()  # once more without counting, for the time
    seconds = time.perf_counter() - began
    objective.zero_grad(set_to_none=True)
    return _Run(forward, live.peak, float(flops.total), seconds)


def _forward(objective: nn.Module, batch: dict[str, Any], bf16: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss, _ = objective(batch, 0)
    return loss
