"""Cost of the training loop: a bare step, ``fit``, and open_clip's own loop, on the same towers, batches and precision.

python benchmarks/train.py --quick --json
python benchmarks/train.py --json                    # ViT-S/16, 224 pixels, more rounds

All three train timm's vision transformer and a BERT with a linear projection each by InfoNCE under AdamW, from the same
tensors: float images [B, 1, H, W] and token ids [B, T] (all of length T).

* bare: timm + transformers + fused ``torch.optim.AdamW``, nothing else.
* fit: :func:`vlp.training.loop.fit` with all that it does at every step: schedule, clipping, the check that loss and gradient
  are finite, sums for the log, log.jsonl.
* open_clip: ``open_clip_train.train.train_one_epoch`` on its own ``CustomTextCLIP``, with clipping of the same norm and
  PyTorch's default AdamW, as open_clip makes it.

One call of ``fit`` is under way all the time; whenever it has done the steps of a round and asks for the next batch, the
others do theirs. A time is CPU seconds (``process_time``) on a CPU and seconds on a GPU; a ratio is the median over the rounds
of the ratios of times in one round: ``step_ratio_bare`` = fit / bare, ``step_ratio_open_clip`` = fit / open_clip. Start and end
of a run and its checkpoints, of which the others have none, are not in it.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel, BertConfig

from anonymize.console import Console
from vlp.training.config import LoopConfig
from vlp.training.loop import fit
from vlp.training.speed import repeated_blocks

QUICK = {"image": "vit_tiny_patch16_224", "size": 96, "batch": 16, "text": 192, "layers": 4, "tokens": 32, "steps": 4}
FULL = {"image": "vit_small_patch16_224", "size": 224, "batch": 32, "text": 256, "layers": 4, "tokens": 64, "steps": 3}
VOCABULARY, WIDTH, LR, DECAY, CLIP = 8000, 256, 1e-4, 0.05, 1.0


class Pairs:
    """Batches by index: images float32 [B, 1, S, S] and ids int64 [B, T]; a few of them, made once."""

    def __init__(self, sizes: dict[str, Any], count: int = 4) -> None:
        generator = torch.Generator().manual_seed(0)
        side, tokens, batch = sizes["size"], sizes["tokens"], sizes["batch"]
        self.images = [torch.randn(batch, 1, side, side, generator=generator) for _ in range(count)]
        self.ids = [torch.randint(5, VOCABULARY, (batch, tokens), generator=generator) for _ in range(count)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        which = index % len(self.images)
        return {"images": self.images[which], "text": self.ids[which]}


def bert(sizes: dict[str, Any]) -> BertConfig:
    return BertConfig(
        vocab_size=sizes.get("vocabulary", VOCABULARY),
        hidden_size=sizes["text"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["text"] // 64,
        intermediate_size=4 * sizes["text"],
        max_position_embeddings=sizes["tokens"],
    )


class Bare(nn.Module):
    """Two towers, two projections, one InfoNCE; takes and returns what an objective of the loop does."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image = timm.create_model(sizes["image"], img_size=sizes["size"], in_chans=1, num_classes=0)
        self.text = AutoModel.from_config(bert(sizes), add_pooling_layer=False)
        self.image_projection = nn.Linear(self.image.num_features, WIDTH, bias=False)
        self.text_projection = nn.Linear(sizes["text"], WIDTH, bias=False)
        self.scale = nn.Parameter(torch.full([1], math.log(1 / 0.07)))

    def forward(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Tensor | float]]:
        images, ids = batch["images"], batch["text"]
        states = self.text(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        x = normalize(self.image_projection(self.image(images)), dim=-1)
        y = normalize(self.text_projection(states.mean(dim=1)), dim=-1)
        logits = self.scale.exp() * x @ y.t()
        target = torch.arange(len(x), device=x.device)
        loss = (cross_entropy(logits, target) + cross_entropy(logits.t(), target)) / 2
        return loss, {"temperature": 1 / self.scale.detach().exp()}


def bare_steps(sizes: dict[str, Any], device: torch.device, bf16: bool) -> Callable[[int], None]:
    """The shortest training that there is."""
    model, pairs = Bare(sizes).to(device).train(), Pairs(sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY, fused=True)  # as the loop's

    def run(steps: int) -> None:
        for step in range(steps):
            batch = {key: value.to(device, non_blocking=True) for key, value in pairs[step].items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss, _ = model(batch, step)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


class Rounds(Pairs):
    """The batches of ``fit``. Between two rounds it lets the others run; times of all are in ``times``."""

    def __init__(self, sizes: dict[str, Any], others: dict[str, Callable[[int], None]], device: torch.device) -> None:
        super().__init__(sizes)
        self.others, self.device, self.steps = others, device, sizes["steps"]
        self.times: dict[str, list[float]] = {name: [] for name in ("fit", *others)}
        self.round = -1
        self.began = self.now()

    def now(self) -> float:
        """CPU seconds on a CPU; on a GPU seconds, when it has done all its work."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index % self.steps == 0:
            self.close_round()
        return super().__getitem__(index)

    def close_round(self) -> None:
        """Note what ``fit`` took, then run the others, in an order that changes; the first round is not counted."""
        found = {"fit": (self.now() - self.began) / self.steps}
        names = list(self.others)
        for name in names if self.round % 2 else names[::-1]:
            began = self.now()
            self.others[name](self.steps)
            found[name] = (self.now() - began) / self.steps
        if self.round > 0:
            for name, seconds in found.items():
                self.times[name].append(seconds)
        self.round += 1
        self.began = self.now()


def run_rounds(
    sizes: dict[str, Any],
    others: dict[str, Callable[[int], None]],
    rounds: int,
    device: torch.device,
    bf16: bool,
    **settings: Any,
) -> dict[str, list[float]]:
    """Seconds a step of ``fit`` and of ``others`` in each round, one more round before them not counted."""
    batches = Rounds(sizes, others, device)
    with tempfile.TemporaryDirectory() as folder:
        config = LoopConfig(
            steps=(rounds + 1) * sizes["steps"] + 1,
            lr=LR,
            weight_decay=DECAY,
            clip=CLIP,
            checkpoint_every=10**9,
            tensorboard=False,
            precision="bf16" if bf16 else "fp32",
            device="cpu" if device.type == "cpu" else "auto",
            **settings,
        )
        fit(Bare(sizes), batches, config, Path(folder), Console("quiet"))
    return batches.times


def open_clip_steps(
    sizes: dict[str, Any], device: torch.device, bf16: bool, folder: Path, compiled: bool = False
) -> Callable[[int], None]:
    """open_clip's model, loss and loop. It builds its text tower from a folder, without weights."""
    from open_clip import ClipLoss
    from open_clip.model import CustomTextCLIP
    from open_clip_train.train import train_one_epoch

    logging.getLogger().setLevel(logging.WARNING)
    bert(sizes).save_pretrained(folder)
    torch.manual_seed(0)
    vision = {"timm_model_name": sizes["image"], "timm_pool": "", "timm_proj": "linear", "image_size": sizes["size"]}
    text = {
        "hf_model_name": str(folder),
        "hf_model_pretrained": False,
        "hf_tokenizer_name": "",
        "hf_proj_type": "linear",
    }
    model = CustomTextCLIP(WIDTH, vision, {**text, "hf_pooler_type": "mean_pooler"}, output_dict=True).to(device)
    one = timm.create_model(sizes["image"], img_size=sizes["size"], in_chans=1, num_classes=0)
    model.visual.trunk = one.to(device)  # one channel, as the others have
    for block in repeated_blocks(model) if compiled else ():
        block.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
    pairs = Pairs(sizes)
    args = SimpleNamespace(
        device=str(device),
        precision="amp_bf16" if bf16 else "fp32",
        distill=False,
        accum_freq=1,
        skip_scheduler=True,
        horovod=False,
        grad_clip_norm=CLIP,
        rank=0,
        local_rank=0,
        world_size=1,
        log_every_n_steps=10,
        batch_size=sizes["batch"],
        wandb=False,
    )

    class Loader:
        def __init__(self, steps: int) -> None:
            self.num_batches, self.num_samples = steps, steps * sizes["batch"]

        def __iter__(self) -> Any:
            for step in range(self.num_batches):
                batch = pairs[step]
                yield batch["images"], batch["text"]

    def run(steps: int) -> None:
        data = {"train": SimpleNamespace(dataloader=Loader(steps), set_epoch=lambda epoch: None)}
        train_one_epoch(model, data, ClipLoss(), 0, optimizer, None, None, None, args)

    return run


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """Median over rounds of ``one`` / ``other``."""
    return round(statistics.median(a / b for a, b in zip(times[one], times[other], strict=True)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="one line of JSON, last")
    parser.add_argument("--rounds", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes, device = QUICK if options.quick else FULL, torch.device("cpu")
    rounds = options.rounds or (12 if options.quick else 9)
    with tempfile.TemporaryDirectory() as folder:
        others = {
            "bare": bare_steps(sizes, device, False),
            "open_clip": open_clip_steps(sizes, device, False, Path(folder)),
        }
        times = run_rounds(sizes, others, rounds, device, False)
    result = {
        "step_ratio_bare": ratio(times, "fit", "bare"),
        "step_ratio_open_clip": ratio(times, "fit", "open_clip"),
        "cpu_ms_a_step": {name: round(1000 * statistics.median(values), 2) for name, values in times.items()},
        "rounds": rounds,
        "steps_a_round": sizes["steps"],
        "parameters": sum(p.numel() for p in Bare(sizes).parameters()),
        "setting": {key: value for key, value in sizes.items() if key != "steps"},
        "threads": 1,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
