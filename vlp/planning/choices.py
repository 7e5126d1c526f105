"""From facts, hardware and measured costs to settings, each with its reason.

The rules are published recipes or what this project measured (docs/training.md); none is tuned on the corpus at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from anonymize.config import validate
from anonymize.console import UserError
from vlp.planning.costs import StepCost, align_cost, pretrain_cost
from vlp.planning.facts import CorpusFacts, TextFacts, vocabulary_for
from vlp.planning.hardware import GB, Hardware
from vlp.training.align import AlignConfig
from vlp.training.pretrain import PretrainConfig

UTILISATION = 0.35  # of a GPU's peak that a step is assumed to reach; not measured here
STEP_FLOOR = 0.03  # seconds that a step takes on a GPU however small the model: launching its kernels; assumed
FILL = 0.85  # of the memory that may be planned: fragments and libraries take the rest
CONTEXT = 1 * GB  # what the driver and the libraries hold on a GPU
RECOMPUTED = 4 / 3  # arithmetic of a step whose activations are computed again

FEW, SOME, MANY = 5_000, 200_000, 2_000_000  # training images


@dataclass(frozen=True)
class Choice:
    """One setting: ``key`` as in the configuration (``a.b``), why, and what else was possible."""

    key: str
    value: Any
    reason: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What one command is given and what it will take. Bytes and seconds; memory is of one process."""

    command: str
    choices: tuple[Choice, ...]
    processes: int
    batch: int
    steps: int
    epochs: float
    memory: int
    memory_limit: int
    flops_per_sample: float
    seconds: float | None  # of the whole run; None where the GPU's peak is not known
    checkpoint: int
    disk: int
    warnings: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """The settings as a nested mapping."""
        found: dict[str, Any] = {}
        for choice in self.choices:
            *parents, last = choice.key.split(".")
            place = found
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = choice.value
        return found


@dataclass(frozen=True)
class Costs:
    """How costs are found; tests of the rules give known ones."""

    pretrain: Callable[[PretrainConfig, bool], StepCost] = pretrain_cost
    align: Callable[[AlignConfig, float, int, bool], StepCost] = align_cost


@dataclass
class _Draft:
    """A stage in the making."""

    choices: list[Choice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any, reason: str, *alternatives: str) -> Any:
        self.choices.append(Choice(key, value, reason, alternatives))
        return value

    def values(self) -> dict[str, Any]:
        return Stage("", tuple(self.choices), 1, 0, 0, 0.0, 0, 0, 0.0, None, 0, 0).values()


def plan_pretrain(facts: CorpusFacts, hardware: Hardware, hours: float, costs: Costs | None = None) -> Stage:
    """Settings of ``vlp pretrain``.

    Raises:
        UserError: not even two images fit into the memory.
    """
    draft, images = _Draft(), facts.images["train"]
    _image_tower(draft, facts, hardware)
    objective = _objective(draft, images, hardware)
    cost = (costs or Costs()).pretrain(validate(PretrainConfig, draft.values()), _bf16(hardware))
    wish = 64 if not hardware.gpus else 256 if images < FEW else 512 if images < SOME else 1024
    batch, accumulate = _pretrain_batch(draft, images, hardware, cost, wish)
    whole = batch * accumulate
    if draft.values()["image"]["name"].startswith("conv"):
        rate = 1e-3 * math.sqrt(whole / 64)
        draft.add("lr", _round(rate), "1e-3 at a batch of 64 is this project's default; Adam's rate goes by the root of "
                  "the batch (Malladi et al. 2022, arXiv 2205.10287)")  # fmt: skip
    else:
        rate = min(2e-3, 5e-4 * whole / 256)
        draft.add("lr", _round(rate), "5e-4 x batch / 256, at most 2e-3 (Caron et al. 2021, DINO, arXiv 2104.14294; the "
                  "linear rule of Goyal et al. 2017)")  # fmt: skip
    epochs = min(400.0, max(10.0, 4e7 / images))
    steps, seconds, passes = _steps(draft, images, whole, epochs, hours, hardware, cost, 1.0, _PRETRAIN_RULE)
    every = max(1, steps // 10)
    draft.add("monitor_every", every, "ten looks at kNN and RankMe on validation images show a collapse early")
    if not facts.images["validation"]:
        draft.warnings.append(
            "no validation images: pretraining is watched by RankMe on training images only; give split.validation "
            "to `vlp prepare`"
        )
    if hardware.gpus and objective != "mae":
        draft.add("image.drop_path", 0.1, "as in configs/pretrain.yaml; DINOv2 uses up to 0.3 for larger towers")
    return _finish("pretrain", draft, facts, hardware, cost, batch, steps, passes, seconds, batch, ema=False)


def plan_align(
    facts: CorpusFacts, hardware: Hardware, hours: float, text_folder: str = "", costs: Costs | None = None
) -> Stage | None:
    """Settings of ``vlp align``; None where the corpus has too few reports."""
    text = facts.text
    if text is None or text.patients < 4:
        return None
    draft, studies = _Draft(), facts.reported["train"]
    _image_tower(draft, facts, hardware)
    _text_tower(draft, text, hardware, text_folder)
    per_study = min(2.0, facts.images["train"] / max(1, facts.studies["train"]))
    config = validate(AlignConfig, draft.values())
    cost = (costs or Costs()).align(config, per_study, config.text.max_length, _bf16(hardware))
    ema = bool(hardware.gpus) and studies >= FEW
    batch, held = _align_batch(draft, text, studies, hardware, cost, ema)
    if hardware.gpus and studies >= FEW:
        draft.add("lr", _round(5e-4 * math.sqrt(batch / 512)), "5e-4 at 512 (configs/align.yaml, the rate of Radford et al. "
                  "2021, CLIP, for ViT-B), by the root of the batch (arXiv 2205.10287)")  # fmt: skip
        draft.add("contrastive.image_lr_scale", 0.2, "the image tower is pretrained, text tower and projections are not",
                  "0: locked (LiT, Zhai et al. 2022)", "1: from random weights")  # fmt: skip
        draft.add(
            "layer_decay", 0.85, "lower blocks of a pretrained tower change less (Bao et al. 2022, arXiv 2106.08254)"
        )
        draft.add("ema", 0.999, "the averaged weights are the result; free of cost beside a step")
    else:
        draft.add("lr", _round(1e-3 * math.sqrt(batch / 64)), "1e-3 at a batch of 64 is this project's default, by the "
                  "root of the batch (arXiv 2205.10287)")  # fmt: skip
    epochs = min(100.0, max(10.0, 1e7 / studies))
    again = RECOMPUTED if held < batch // hardware.processes else 1.0
    steps, seconds, passes = _steps(draft, studies, batch, epochs, hours, hardware, cost, again, _ALIGN_RULE)
    _positives(draft, facts, text)
    checked = facts.reported["validation"]
    if checked < 2:
        draft.add("validation", 0, "no validation study has a report")
        draft.warnings.append(
            "no validation studies with a report: nothing shows whether `vlp align` learns or overfits; give "
            "split.validation to `vlp prepare`"
        )
    else:
        draft.add("validation", min(checked, 1024 if hardware.gpus else 256), f"of {checked} validation studies with a "
                  "report; retrieval among them is the check")  # fmt: skip
        draft.add("validate_every", max(1, steps // 10), "ten checks show where it begins to overfit")
    return _finish("align", draft, facts, hardware, cost, batch, steps, passes, seconds, held, ema=ema)


_PRETRAIN_RULE = (
    "40 million images seen, at least 10 and at most 400 epochs: between MAE's 800 epochs of 1.3 million images (He et al. "
    "2022, arXiv 2111.06377) and DINOv2's 13 of 142 million (Oquab et al. 2024, arXiv 2304.07193)"
)
_ALIGN_RULE = (
    "10 million pairs seen, at least 10 and at most 100 epochs: MGCA takes 50 of 217,000 studies (Wang et al. 2022, arXiv "
    "2210.06044), CLIP 32 of 400 million (Radford et al. 2021, arXiv 2103.00020)"
)


def _image_tower(draft: _Draft, facts: CorpusFacts, hardware: Hardware) -> None:
    images = facts.images["train"]
    weights = "image.weights=FILE of released weights, where a licence allows them"
    if not hardware.gpus:
        name = "conv_pico" if images < 20_000 else "conv_nano"
        reason = "a CPU: in its minutes small convolutional towers learn and transformers do not (docs/training.md)"
        wanted = 112
    elif images < FEW:
        name, wanted = "conv_nano", 224
        reason = f"{images} images from scratch: too few for a transformer, which lacks a convolution's locality"
    elif images < SOME:
        name, wanted = "vit_small_patch16_224", 224
        reason = f"{images} images: 22 million weights; a ViT-B from scratch wants hundreds of thousands"
    else:
        name, wanted = "vit_base_patch16_224", 384 if images >= MANY or hardware.processes >= 8 else 224
        reason = f"{images} images: the size of RAD-DINO's tower (Pérez-García et al. 2024, arXiv 2401.10815)"
    draft.add("image.name", name, reason, "conv_nano", "vit_small_patch16_224", "vit_base_patch16_224", weights)
    stored = facts.median_long_side
    size = min(wanted, max(32, stored // 16 * 16))
    reason = (
        "what this hardware trains in the given time" if size == wanted else f"images are stored with {stored} pixels"
    )
    if size < 384:
        reason += "; fine fractures and nodules need more detail: RAD-DINO gains up to 518 pixels"
    finer = f"384 or 518, at (side / {size})^2 times the cost" + (
        f", after `vlp prepare size=...`: now {facts.working_size}" if facts.working_size < 384 else ""
    )
    draft.add("image.image_size", size, reason, finer)
    if size < 224 and hardware.gpus:
        draft.warnings.append(
            f"images are stored with a long side of {stored} pixels; prepare the corpus with a larger `size` for "
            "findings such as fractures"
        )
    source = min(size * 8 // 7, max(size, stored))
    draft.add(
        "data.source_size", source, "crops are cut from squares a seventh larger, but not larger than what is stored"
    )


def _objective(draft: _Draft, images: int, hardware: Hardware) -> str:
    if not hardware.gpus:
        return draft.add(
            "objective", "mae", "the cheapest a step and the one that fits CPUs (docs/training.md)", "dino"
        )
    if images < FEW:
        return draft.add("objective", "mae", "self-distillation collapses easily on few images", "dino", "both")
    draft.add("objective", "both", "DINOv2's global features and MAE's local ones on one tower", "dino", "mae")
    draft.add("dino.outputs", 8192 if images < SOME else 65536, "prototypes; DINOv2 uses 65,536 for millions of images")
    for key, value in (
        ("hidden", 2048),
        ("bottleneck", 256),
        ("local_crops", 6),
        ("local_size", 96),
        ("momentum", 0.994),
    ):
        draft.add(f"dino.{key}", value, "as DINOv2's configuration, with fewer local crops")
    for key, value in (("mask", 0.75), ("width", 256), ("depth", 2), ("heads", 8)):
        draft.add(f"mae.{key}", value, "MAE's mask with a small decoder (configs/pretrain.yaml)")
    return "both"


def _text_tower(draft: _Draft, text: TextFacts, hardware: Hardware, folder: str) -> None:
    if folder:
        draft.add("text.folder", folder, "given with --text: a pretrained tower knows the language")
    else:
        size = (128, 2, 4) if not hardware.gpus else (256, 4, 8) if text.reports < FEW else (512, 6, 8)
        size = (768, 12, 12) if hardware.gpus and text.reports >= SOME else size
        better = "text.folder=FOLDER with a local transformers encoder of the reports' language"
        for key, value in zip(("width", "layers", "heads"), size, strict=True):
            draft.add(f"text.{key}", value, f"a BERT from scratch for {text.reports} reports", better)
        draft.add("text.vocabulary", vocabulary_for(text.reports), "byte-level BPE learned on the reports: 4,000 entries, "
                  "twice as many with every tenfold of reports from 5,000")  # fmt: skip
    length = min(512, max(32, -(-text.p99_tokens // 16) * 16))
    draft.add("text.max_length", length, f"99 % of the reports have at most {text.p99_tokens} tokens, half at most "
              f"{text.median_tokens}, the longest {text.longest_tokens}; what is beyond is cut")  # fmt: skip
    width = 128 if not hardware.gpus else 256 if text.reports < FEW else 512
    draft.add("dual.width", width, "of the shared space; CLIP's is 512 for a ViT-B")


def _pretrain_batch(draft: _Draft, images: int, hardware: Hardware, cost: StepCost, wish: int) -> tuple[int, int]:
    """Batch over all processes, and batches a step."""
    processes = hardware.processes
    wanted = max(2 * processes, min(wish, _power(images / 4)))
    fitting = _fitting(hardware, cost, ema=False)
    each = min(max(1, _power(wanted / processes)), fitting)
    accumulate = max(1, wanted // (each * processes))
    reason = f"wish {wish}; at most a quarter of {images} images" if wanted < wish else "as large as its recipe asks"
    if accumulate > 1:
        reason = f"{fitting} images a process fit; {accumulate} batches make one step of {wanted}"
    draft.add("data.batch_size", each * processes, reason + f"; over {processes} process(es)")
    if accumulate > 1:
        draft.add("accumulate", accumulate, f"memory holds no batch of {wanted} at once")
    return each * processes, accumulate


def _align_batch(
    draft: _Draft, text: TextFacts, studies: int, hardware: Hardware, cost: StepCost, ema: bool
) -> tuple[int, int]:
    """Batch over all processes, and the studies whose activations one process holds at once."""
    processes = hardware.processes
    wish = 64 if not hardware.gpus else 128 if studies < FEW else 512 if studies < SOME else 2048
    wish = 4096 if hardware.gpus and studies >= MANY else wish
    batch = max(2 * processes, min(wish, _power(text.patients / 2)) // processes * processes)
    if batch > text.patients:
        raise UserError(
            f"{processes} processes need a batch of {batch} different patients, and the corpus has {text.patients} with a "
            "report; plan with fewer GPUs (--gpus, --nodes)"
        )
    why = "more negatives help until texts repeat" if batch == wish // processes * processes else "half the patients"
    draft.add("data.batch_size", batch, f"{why}: no two studies of one of {text.patients} patients are in a batch; over "
              f"{processes} process(es)")  # fmt: skip
    fitting = _fitting(hardware, cost, ema=ema)
    each = batch // processes
    if fitting >= each:
        return batch, each
    chunk = draft.add("contrastive.chunk", fitting, f"activations of {each} studies do not fit, of {fitting} they do; "
                      "exact, for a third more time", "activation checkpointing", "a smaller batch")  # fmt: skip
    return batch, chunk


def _positives(draft: _Draft, facts: CorpusFacts, text: TextFacts) -> None:
    shares = f"{text.repeated:.0%} of the reports and {text.repeated_statements:.0%} of the statements are those of others too"
    draft.add("contrastive.multi_positive", True, f"{shares}: a text is no negative of a study it is true of")
    if len(facts.languages) > 1:
        draft.add("contrastive.cross_lingual", 0.1, f"reports in {', '.join(facts.languages)} (after Med-UniC)", "0")


def _steps(
    draft: _Draft,
    samples: int,
    batch: int,
    epochs: float,
    hours: float,
    hardware: Hardware,
    cost: StepCost,
    again: float,
    rule: str,
) -> tuple[int, float | None, float]:
    """Steps, seconds of the run, epochs."""
    steps = max(1, round(epochs * samples / batch))
    seconds = _seconds(hardware, cost, batch, again)
    reason = f"{epochs:.0f} epochs: {rule}"
    if seconds and seconds * steps > hours * 3600:
        possible = max(1, int(hours * 3600 / seconds))
        reason = f"what {hours:g} hours hold at {seconds:.2g} s a step (--hours); the rule wants {steps}. {rule}"
        if possible * 10 < steps:
            draft.warnings.append(
                f"{hours:g} hours hold {possible} of {steps} steps: expect a weak model; give more --hours or GPUs"
            )
        steps = possible
    draft.add("steps", steps, reason)
    return steps, seconds * steps if seconds else None, steps * batch / samples


def _seconds(hardware: Hardware, cost: StepCost, batch: int, again: float) -> float | None:
    """Of one step."""
    if not hardware.gpus:
        return batch * cost.seconds * again
    if hardware.gpu is None or not hardware.gpu.tflops:
        return None
    arithmetic = batch * cost.flops * again / (hardware.processes * hardware.gpu.tflops * 1e12 * UTILISATION)
    return max(STEP_FLOOR, arithmetic)


def _finish(
    command: str,
    draft: _Draft,
    facts: CorpusFacts,
    hardware: Hardware,
    cost: StepCost,
    batch: int,
    steps: int,
    epochs: float,
    seconds: float | None,
    held: int,
    *,
    ema: bool,
) -> Stage:
    each = batch // hardware.processes if command == "pretrain" else held
    memory = cost.memory(each, ema=ema, processes=hardware.processes)
    _loading(draft, facts, hardware)
    _precision(draft, hardware)
    if hardware.processes > 1:
        draft.add("processes", hardware.processes, "refuse to start with another number, such as one by mistake")
    every = steps if not seconds else max(1, min(steps, round(600 * steps / seconds)))
    draft.add("checkpoint_every", every, "about ten minutes of work are lost when the run is killed")
    draft.add("log_every", max(1, min(50, steps // 20)), "a line in log.jsonl")
    checkpoint = cost.checkpoint(ema=ema)
    disk = 2 * checkpoint + 4 * cost.weights
    if disk > hardware.disk:
        draft.warnings.append(
            f"`vlp {command}` writes up to {disk / GB:.1f} GB (two checkpoints for a moment, and the model), and "
            f"{hardware.disk / GB:.1f} GB are free: write to another disk"
        )
    return Stage(
        command=command,
        choices=tuple(draft.choices),
        processes=hardware.processes,
        batch=batch,
        steps=steps,
        epochs=round(epochs, 2),
        memory=memory,
        memory_limit=_limit(hardware),
        flops_per_sample=cost.flops,
        seconds=seconds,
        checkpoint=checkpoint,
        disk=disk,
        warnings=tuple(draft.warnings),
    )


def _loading(draft: _Draft, facts: CorpusFacts, hardware: Hardware) -> None:
    side = draft.values()["data"]["source_size"]
    count = facts.images["train"] + facts.images["validation"]
    size, local = count * side**2, max(1, hardware.gpus)
    if size * local <= 0.4 * hardware.memory:
        draft.add("data.cache_mb", size // 2**20 + 64, f"{size / 1e9:.1f} GB hold all squares; {local} process(es) of a "
                  "machine hold them each")  # fmt: skip
        draft.add("workers", 0, "images are in memory")
        return
    draft.add("data.cache_mb", 0, f"{size / 1e9:.0f} GB of squares for each of {local} process(es) are too much for "
              f"{hardware.memory / 1e9:.0f} GB of memory", "VLP_CACHE=FOLDER on a local disk: decoded once")  # fmt: skip
    workers = min(8, max(0, hardware.cpus // local - 1))
    draft.add("workers", workers, f"{hardware.cpus} cores for {local} process(es), one kept for training")
    if not workers:
        draft.warnings.append("one core for each process: reading images will hold training up")


def _precision(draft: _Draft, hardware: Hardware) -> None:
    if not hardware.gpus:
        draft.add("precision", "auto", "bf16 where the CPU has it; memory is estimated for fp32")
    elif _bf16(hardware):
        draft.add("precision", "bf16", "the GPU has it; weights and moments stay float32")
    else:
        draft.add("precision", "fp32", f"{hardware.gpu.name if hardware.gpu else 'the GPU'} has no bfloat16")


def _bf16(hardware: Hardware) -> bool:
    return hardware.gpu is not None and hardware.gpu.bf16


def _limit(hardware: Hardware) -> int:
    """Bytes that one process may plan."""
    if hardware.gpu is not None:
        return int(FILL * (hardware.gpu.memory - CONTEXT))
    return int(0.5 * hardware.memory)  # the other half is for images and the system


def _fitting(hardware: Hardware, cost: StepCost, *, ema: bool) -> int:
    """The largest power of two of samples that a process holds.

    Raises:
        UserError: not even two.
    """
    limit, samples = _limit(hardware), 1
    while samples < 2**16 and cost.memory(2 * samples, ema=ema, processes=hardware.processes) <= limit:
        samples *= 2
    if samples < 2:
        need = cost.memory(2, ema=ema, processes=hardware.processes)
        raise UserError(
            f"the planned model needs {need / GB:.1f} GB for two samples, and a process may use {limit / GB:.1f} GB; plan "
            "for hardware with more memory (--gpu, --gpu-memory, --ram), or write a smaller image.name and image.image_size "
            "into a configuration by hand"
        )
    return samples


def _power(value: float) -> int:
    """The largest power of two that is at most ``value``, at least 1."""
    return 2 ** max(0, math.floor(math.log2(max(1.0, value))))


def _round(rate: float) -> float:
    return float(f"{rate:.2g}")
