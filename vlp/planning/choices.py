"""From facts, hardware and measured costs to settings, each with its reason.

The rules are published recipes or what this project measured (docs/training.md); none is tuned on the corpus at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from anonymize.config import validate
from anonymize.console import UserError
from vlp.planning.costs import StepCost, align_cost, pretrain_cost
from vlp.planning.facts import CorpusFacts, TextFacts, vocabulary_for
from vlp.planning.hardware import Hardware
from vlp.planning.stage import (
    RECOMPUTED,
    Draft,
    Stage,
    choose_steps,
    finish,
    fitting,
    power_of_two,
    rounded,
    uses_bf16,
)
from vlp.training.align import AlignConfig
from vlp.training.pretrain import PretrainConfig

FEW, SOME, MANY = 5_000, 200_000, 2_000_000  # training images


@dataclass(frozen=True)
class Costs:
    """How costs are found; tests of the rules give known ones."""

    pretrain: Callable[[PretrainConfig, bool], StepCost] = pretrain_cost
    align: Callable[[AlignConfig, float, int, bool], StepCost] = align_cost


def plan_pretrain(facts: CorpusFacts, hardware: Hardware, hours: float, costs: Costs | None = None) -> Stage:
    """Settings of ``vlp pretrain``.

    Raises:
        UserError: not even two images fit into the memory.
    """
    draft, images = Draft(), facts.images["train"]
    _image_tower(draft, facts, hardware)
    objective = _objective(draft, images, hardware)
    cost = (costs or Costs()).pretrain(validate(PretrainConfig, draft.values()), uses_bf16(hardware))
    wish = 64 if not hardware.gpus else 256 if images < FEW else 512 if images < SOME else 1024
    batch, accumulate = _pretrain_batch(draft, images, hardware, cost, wish)
    whole = batch * accumulate
    if draft.values()["image"]["name"].startswith("conv"):
        rate = 1e-3 * math.sqrt(whole / 64)
        draft.add("lr", rounded(rate), "1e-3 at a batch of 64 is this project's default; Adam's rate goes by the root of "
                  "the batch (Malladi et al. 2022, arXiv 2205.10287)")  # fmt: skip
    else:
        rate = min(2e-3, 5e-4 * whole / 256)
        draft.add("lr", rounded(rate), "5e-4 x batch / 256, at most 2e-3 (Caron et al. 2021, DINO, arXiv 2104.14294; the "
                  "linear rule of Goyal et al. 2017)")  # fmt: skip
    epochs = min(400.0, max(10.0, 4e7 / images))
    steps, seconds, passes = choose_steps(draft, images, whole, epochs, hours, hardware, cost, 1.0, _PRETRAIN_RULE)
    every = max(1, steps // 10)
    draft.add("monitor_every", every, "ten looks at kNN and RankMe on validation images show a collapse early")
    if not facts.images["validation"]:
        draft.warnings.append(
            "no validation images: pretraining is watched by RankMe on training images only; give split.validation "
            "to `vlp prepare`"
        )
    if hardware.gpus and objective != "mae":
        draft.add("image.drop_path", 0.1, "as in configs/pretrain.yaml; DINOv2 uses up to 0.3 for larger towers")
    return finish("pretrain", draft, facts, hardware, cost, batch, steps, passes, seconds, batch, ema=False)


def plan_align(
    facts: CorpusFacts, hardware: Hardware, hours: float, text_folder: str = "", costs: Costs | None = None
) -> Stage | None:
    """Settings of ``vlp align``; None where the corpus has too few reports."""
    text = facts.text
    if text is None or text.patients < 4:
        return None
    draft, studies = Draft(), facts.reported["train"]
    _image_tower(draft, facts, hardware)
    _text_tower(draft, text, hardware, text_folder)
    _positives(draft, facts, text)  # before the costs, which its terms add to
    per_study = min(2.0, facts.images["train"] / max(1, facts.studies["train"]))
    config = validate(AlignConfig, draft.values())
    cost = (costs or Costs()).align(config, per_study, config.text.max_length, uses_bf16(hardware))
    ema = bool(hardware.gpus) and studies >= FEW
    batch, held = _align_batch(draft, text, studies, hardware, cost, ema)
    if hardware.gpus and studies >= FEW:
        draft.add("lr", rounded(5e-4 * math.sqrt(batch / 512)), "5e-4 at 512 (configs/align.yaml, the rate of Radford et al. "
                  "2021, CLIP, for ViT-B), by the root of the batch (arXiv 2205.10287)")  # fmt: skip
        draft.add("contrastive.image_lr_scale", 0.2, "the image tower is pretrained, text tower and projections are not",
                  "0: locked (LiT, Zhai et al. 2022)", "1: from random weights")  # fmt: skip
        draft.add(
            "layer_decay", 0.85, "lower blocks of a pretrained tower change less (Bao et al. 2022, arXiv 2106.08254)"
        )
        draft.add("ema", 0.999, "the averaged weights are the result; free of cost beside a step")
    else:
        draft.add("lr", rounded(1e-3 * math.sqrt(batch / 64)), "1e-3 at a batch of 64 is this project's default, by the "
                  "root of the batch (arXiv 2205.10287)")  # fmt: skip
    epochs = min(100.0, max(10.0, 1e7 / studies))
    again = RECOMPUTED if held < batch // hardware.processes else 1.0
    steps, seconds, passes = choose_steps(draft, studies, batch, epochs, hours, hardware, cost, again, _ALIGN_RULE)
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
    return finish("align", draft, facts, hardware, cost, batch, steps, passes, seconds, held, ema=ema)


_PRETRAIN_RULE = (
    "40 million images seen, at least 10 and at most 400 epochs: between MAE's 800 epochs of 1.3 million images (He et al. "
    "2022, arXiv 2111.06377) and DINOv2's 13 of 142 million (Oquab et al. 2024, arXiv 2304.07193)"
)
_ALIGN_RULE = (
    "10 million pairs seen, at least 10 and at most 100 epochs: MGCA takes 50 of 217,000 studies (Wang et al. 2022, arXiv "
    "2210.06044), CLIP 32 of 400 million (Radford et al. 2021, arXiv 2103.00020)"
)


def _image_tower(draft: Draft, facts: CorpusFacts, hardware: Hardware) -> None:
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


def _objective(draft: Draft, images: int, hardware: Hardware) -> str:
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


def _text_tower(draft: Draft, text: TextFacts, hardware: Hardware, folder: str) -> None:
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


def _pretrain_batch(draft: Draft, images: int, hardware: Hardware, cost: StepCost, wish: int) -> tuple[int, int]:
    """Batch over all processes, and batches a step."""
    processes = hardware.processes
    wanted = max(2 * processes, min(wish, power_of_two(images / 4)))
    holds = fitting(hardware, cost, ema=False)
    each = min(max(1, power_of_two(wanted / processes)), holds)
    accumulate = max(1, wanted // (each * processes))
    reason = f"wish {wish}; at most a quarter of {images} images" if wanted < wish else "as large as its recipe asks"
    if accumulate > 1:
        reason = f"{holds} images a process fit; {accumulate} batches make one step of {wanted}"
    draft.add("data.batch_size", each * processes, reason + f"; over {processes} process(es)")
    if accumulate > 1:
        draft.add("accumulate", accumulate, f"memory holds no batch of {wanted} at once")
    return each * processes, accumulate


def _align_batch(
    draft: Draft, text: TextFacts, studies: int, hardware: Hardware, cost: StepCost, ema: bool
) -> tuple[int, int]:
    """Batch over all processes, and the studies whose activations one process holds at once."""
    processes = hardware.processes
    wish = 64 if not hardware.gpus else 128 if studies < FEW else 512 if studies < SOME else 2048
    wish = 4096 if hardware.gpus and studies >= MANY else wish
    batch = max(2 * processes, min(wish, power_of_two(text.patients / 2)) // processes * processes)
    if batch > text.patients:
        raise UserError(
            f"{processes} processes need a batch of {batch} different patients, and the corpus has {text.patients} with a "
            "report; plan with fewer GPUs (--gpus, --nodes)"
        )
    why = "more negatives help until texts repeat" if batch == wish // processes * processes else "half the patients"
    draft.add("data.batch_size", batch, f"{why}: no two studies of one of {text.patients} patients are in a batch; over "
              f"{processes} process(es)")  # fmt: skip
    holds = fitting(hardware, cost, ema=ema)
    each = batch // processes
    if holds >= each:
        return batch, each
    chunk = draft.add("contrastive.chunk", holds, f"activations of {each} studies do not fit, of {holds} they do; "
                      "exact, for a third more time", "activation checkpointing", "a smaller batch")  # fmt: skip
    return batch, chunk


def _positives(draft: Draft, facts: CorpusFacts, text: TextFacts) -> None:
    shares = f"{text.repeated:.0%} of the reports and {text.repeated_statements:.0%} of the statements are those of others too"
    draft.add("contrastive.multi_positive", True, f"{shares}: a text is no negative of a study it is true of")
    if len(facts.languages) > 1:
        draft.add("contrastive.cross_lingual", 0.1, f"reports in {', '.join(facts.languages)} (after Med-UniC)", "0")
