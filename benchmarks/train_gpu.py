"""Training on one card: images a second, model FLOP utilisation and memory, beside open_clip and lightly on the same card.

python benchmarks/train_gpu.py --json                 # one GPU; bf16, compiled blocks
python benchmarks/train_gpu.py --tiny --json          # the same code on a CPU at toy sizes: shows that it works, no more

Random weights, drawn images in memory, nothing is downloaded. Each case is one run of :func:`vlp.training.loop.fit` with our
own objectives; its numbers are the median of its log lines after the first two (compilation), and the last steps are
profiled. ``open_clip`` is its own loop and model at the same tower sizes and batch; ``lightly`` its losses, heads and mask
wrappers in the loops of its examples with the same towers. All compile the same blocks. The rivals get no augmentation, ours
do: that favours them. Their model arithmetic is not counted. A case that fails (memory) says so and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from train import open_clip_steps
from train_gpu_peers import lightly_steps
from train_gpu_profile import Profile
from transformers import XLMRobertaConfig

from anonymize.console import Console, UserError
from vlp.corpus.body import body_masks
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.objectives.dino import DinoConfig, DinoObjective
from vlp.objectives.mae import MaeConfig, MaeObjective
from vlp.training.config import LoopConfig
from vlp.training.loop import fit
from vlp.training.meter import memory_mb
from vlp.training.texts import keys

WORDS = [
    "fracture",
    "du",
    "radius",
    "gauche",
    "sans",
    "déplacement",
    "corticales",
    "continues",
    "pas",
    "d'épanchement",
    "pleural",
]
CARD: dict[str, Any] = {
    "tower": "vit_base_patch16_224",
    "size": 224,
    "batch": {"align": 512, "dino": 128, "mae": 512},
    "text": {},  # XLM-RoBERTa base
    "tokens": 64,
    "dino": {"outputs": 65536, "hidden": 2048, "bottleneck": 256, "local_crops": 8, "local_size": 96},
    "mae": {"width": 512, "depth": 8, "heads": 16, "mask": 0.75},
}
TINY: dict[str, Any] = {
    "tower": "vit_tiny_patch16_224",
    "size": 64,
    "batch": {"align": 4, "dino": 4, "mae": 4},
    "text": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 8000,
    },
    "tokens": 16,
    "dino": {"outputs": 64, "hidden": 32, "bottleneck": 16, "local_crops": 8, "local_size": 32},
    "mae": {"width": 32, "depth": 1, "heads": 4, "mask": 0.75},
}


class Batches:
    """uint8 images [B, 1, S, S] a seventh larger than what the towers see, and as many texts; four batches in turn.

    An image is a bright ellipse with noise before dark air. Where the body is comes with it, as after the first epoch of a
    corpus that is held in memory.
    """

    def __init__(self, batch: int, sizes: dict[str, Any], profile: Profile | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        side = sizes["size"] * 8 // 7
        self.made, self.profile = [], profile
        line = torch.linspace(-1, 1, side)
        for number in range(4):
            texts = [" ".join(WORDS[(i + number + k) % len(WORDS)] for k in range(48)) for i in range(batch)]
            said = keys(texts)
            wide, high = (torch.rand(2, batch, 1, 1, generator=generator) * 0.6 + 0.3).unbind()
            inside = (line / wide).square() + (line.unsqueeze(1) / high).square() < 1
            shade = torch.rand(batch, side, side, generator=generator) * 40 + inside * 150
            images = shade.to(torch.uint8).unsqueeze(1)
            owner = torch.arange(batch)
            made = {"images": images, "study_index": owner, "texts": texts, "study_keys": said, "text_keys": said}
            self.made.append({**made, "body": body_masks(images)})

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.profile is not None:
            self.profile.at(index)
        return self.made[index % 4]


def encoder(sizes: dict[str, Any]) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(ImageConfig(name=sizes["tower"], image_size=sizes["size"]))


def text_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """XLM-RoBERTa base: 12 layers of 768, 250,002 pieces; smaller where ``sizes`` says so."""
    base = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}
    return XLMRobertaConfig(**{**base, **sizes["text"]}).to_dict()


def objectives(sizes: dict[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    """Our own, by name."""

    def align() -> nn.Module:
        tokenizer = Tokenizer.train([" ".join(WORDS)] * 2, 300, sizes["tokens"])
        values = {**text_config(sizes), "pad_token_id": tokenizer.pad_id}
        text = TextEncoder(TextConfig(max_length=sizes["tokens"]), tokenizer, values)
        dual = DualEncoder(encoder(sizes), text, DualConfig(width=512))
        return ContrastiveObjective(dual, ContrastiveConfig(multi_positive=False), sizes["batch"]["align"])

    return {
        "align": align,
        "dino": lambda: DinoObjective(encoder(sizes), DinoConfig(**sizes["dino"]), 1000),
        "mae": lambda: MaeObjective(encoder(sizes), MaeConfig(**sizes["mae"])),
    }


def ours(objective: nn.Module, batch: int, sizes: dict[str, Any], steps: int, settings: dict[str, Any]) -> dict:
    """One run of the loop: ``steps`` that are timed, and on a GPU a few more that are profiled."""
    each, on_gpu = max(1, steps // 8), settings["device"] != "cpu"
    timed = 8 * each
    profile = Profile(timed) if on_gpu else None
    with tempfile.TemporaryDirectory() as folder:
        config = LoopConfig(
            steps=timed + (profile.length if profile else 0),
            log_every=each,
            checkpoint_every=10**9,
            tensorboard=False,
            **settings,
        )
        fit(objective, Batches(batch, sizes, profile), config, Path(folder), Console("quiet"))
        lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][2:8]
    names = [name for name in ("images_per_s", "tflops", "mfu", "data_wait", "memory_mb") if name in rows[-1]]
    result: dict[str, Any] = {name: round(statistics.median(row[name] for row in rows), 4) for name in names}
    return result | ({"batch": batch, "profile": profile.result} if profile else {"batch": batch})


def rival(step: Callable[[int], None], batch: int, steps: int, device: torch.device) -> dict[str, float]:
    """``step(n)`` does n steps."""
    step(2)
    wait(device)
    began = time.perf_counter()
    step(steps)
    wait(device)
    return {"images_per_s": round(batch * steps / (time.perf_counter() - began), 1), "memory_mb": memory_mb(device)}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy sizes on a CPU, not compiled")
    parser.add_argument("--json", action="store_true", help="one line of JSON, last")
    parser.add_argument("--steps", type=int, default=None, help="of each run (default: 80, tiny: 8)")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--compile", action="store_true", help="with --tiny, compile as on a GPU")
    parser.add_argument("--residual", choices=("fp32", "bf16"), default="fp32", help="of our own cases; see LoopConfig")
    parser.add_argument("--only", nargs="+", help="cases, such as: align 'open_clip align'")
    parser.add_argument("--batch", type=int, nargs=3, default=None, help="images of align, dino and mae")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file that is written after every case")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --tiny shows on a CPU that the script works")
    device = torch.device("cpu" if options.tiny else "cuda")
    sizes, bf16, compiled = (TINY if options.tiny else CARD), not options.tiny, not options.no_compile
    compiled = compiled and (options.compile or not options.tiny)
    if options.batch:
        sizes["batch"] = dict(zip(("align", "dino", "mae"), options.batch, strict=True))
    steps = options.steps or (8 if options.tiny else 80)
    settings = {
        "precision": "bf16" if bf16 else "fp32",
        "device": "cpu" if options.tiny else "auto",
        "compile": compiled,
        "residual": options.residual,
    }
    result: dict[str, Any] = {"device": "cpu" if options.tiny else torch.cuda.get_device_name(), "compiled": compiled}
    result |= {"torch": torch.__version__, "residual": options.residual}

    def case(name: str, run: Callable[[], dict[str, Any]]) -> None:
        if options.only and name not in options.only:
            return
        free(device)
        began = time.perf_counter()
        try:
            result[name] = run()
        except (RuntimeError, UserError) as error:  # memory above all
            result[name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        result[name]["wall_s"] = round(time.perf_counter() - began, 1)
        shown = {key: value for key, value in result[name].items() if key != "profile"}
        print(name, json.dumps(shown), json.dumps(result[name].get("profile", {}).get("shares", {})), file=sys.stderr)
        if options.out:
            options.out.write_text(json.dumps(result, indent=1))

    for name, make in objectives(sizes).items():
        case(name, lambda name=name, make=make: ours(make(), sizes["batch"][name], sizes, steps, settings))
    text = text_config(sizes)
    pairs = {
        "image": sizes["tower"],
        "size": sizes["size"],
        "batch": sizes["batch"]["align"],
        "tokens": sizes["tokens"],
        "text": text["hidden_size"],
        "layers": text["num_hidden_layers"],
        "vocabulary": text["vocab_size"],
    }
    with tempfile.TemporaryDirectory() as folder:
        case(
            "open_clip align",
            lambda: rival(
                open_clip_steps(pairs, device, bf16, Path(folder), compiled), pairs["batch"], steps // 2, device
            ),
        )
    for kind in ("dino", "mae"):
        case(
            f"lightly {kind}",
            lambda kind=kind: rival(
                lightly_steps(kind, sizes, device, bf16, compiled), sizes["batch"][kind], steps // 2, device
            ),
        )
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
