"""Training on one card: images a second, model FLOP utilisation and memory, beside open_clip and lightly on the same card.

python benchmarks/train_gpu.py --json                 # one GPU; bf16, compiled blocks
python benchmarks/train_gpu.py --tiny --json          # the same code on a CPU at toy sizes: shows that it works, no more

Random weights, random images in memory, nothing is downloaded. Each case is one run of :func:`vlp.training.loop.fit` with our
own objectives; its numbers are the median of its log lines after the first two (compilation). ``open_clip`` is its own loop and
model at the same tower sizes and batch; ``lightly`` its losses, heads and mask wrappers in a plain loop with the same towers.
The rivals get no augmentation on the device, ours do: that favours them. Their model arithmetic is not counted.
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

import timm
import torch
from torch import nn
from train import open_clip_steps
from transformers import XLMRobertaConfig

from anonymize.console import Console
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
    "batch": {"align": 256, "dino": 64, "mae": 256},
    "text": {},  # XLM-RoBERTa base
    "tokens": 64,
    "dino": {"outputs": 65536, "hidden": 2048, "bottleneck": 256, "local_crops": 8, "local_size": 96},
    "mae": {"width": 512, "depth": 8, "heads": 16, "mask": 0.75},
}
TINY: dict[str, Any] = {
    "tower": "vit_tiny_patch16_224",
    "size": 32,
    "batch": {"align": 4, "dino": 4, "mae": 4},
    "text": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 8000,
    },
    "tokens": 16,
    "dino": {"outputs": 64, "hidden": 32, "bottleneck": 16, "local_crops": 8, "local_size": 16},
    "mae": {"width": 32, "depth": 1, "heads": 4, "mask": 0.75},
}


class Batches:
    """uint8 images [B, 1, S, S] a seventh larger than what the towers see, and as many texts; four batches in turn."""

    def __init__(self, batch: int, sizes: dict[str, Any]) -> None:
        generator = torch.Generator().manual_seed(0)
        side = sizes["size"] * 8 // 7
        self.made = []
        for number in range(4):
            texts = [" ".join(WORDS[(i + number + k) % len(WORDS)] for k in range(48)) for i in range(batch)]
            said = keys(texts)
            images = torch.randint(0, 256, (batch, 1, side, side), dtype=torch.uint8, generator=generator)
            owner = torch.arange(batch)
            self.made.append(
                {"images": images, "study_index": owner, "texts": texts, "study_keys": said, "text_keys": said}
            )

    def __getitem__(self, index: int) -> dict[str, Any]:
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
    """One run of the loop."""
    with tempfile.TemporaryDirectory() as folder:
        config = LoopConfig(
            steps=steps, log_every=max(1, steps // 8), checkpoint_every=10**9, tensorboard=False, **settings
        )
        fit(objective, Batches(batch, sizes), config, Path(folder), Console("quiet"))
        lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][2:]
    names = [name for name in ("images_per_s", "tflops", "mfu", "data_wait", "memory_mb") if name in rows[-1]]
    return {name: round(statistics.median(row[name] for row in rows), 4) for name in names}


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


def lightly_steps(
    kind: str, sizes: dict[str, Any], device: torch.device, bf16: bool, compiled: bool
) -> Callable[[int], None]:
    """lightly's parts in the loop of its own examples."""
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead, MAEDecoderTIMM, MaskedVisionTransformerTIMM
    from lightly.models.utils import get_at_index, patchify, random_token_mask, update_momentum

    batch, side = sizes["batch"][kind], sizes["size"]
    vit = timm.create_model(sizes["tower"], img_size=side, num_classes=0, dynamic_img_size=True)
    images = torch.rand(batch, 3, side, side, device=device)
    if kind == "dino":
        values = sizes["dino"]
        head = (vit.num_features, values["hidden"], values["bottleneck"], values["outputs"])
        student = nn.Sequential(vit, DINOProjectionHead(*head)).to(device)
        other = timm.create_model(sizes["tower"], img_size=side, num_classes=0, dynamic_img_size=True)
        teacher = nn.Sequential(other, DINOProjectionHead(*head)).to(device).requires_grad_(False)
        criterion = DINOLoss(output_dim=values["outputs"]).to(device)
        small = torch.rand(batch, 3, values["local_size"], values["local_size"], device=device)

        def loss() -> torch.Tensor:
            update_momentum(student, teacher, m=0.99)
            said = [teacher(images) for _ in range(2)]
            answers = [student(images) for _ in range(2)] + [student(small) for _ in range(values["local_crops"])]
            return criterion(said, answers, epoch=0)

        model: nn.Module = student
    else:
        values = sizes["mae"]
        seen = MaskedVisionTransformerTIMM(vit=vit)
        decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            patch_size=vit.patch_embed.patch_size[0],
            embed_dim=vit.embed_dim,
            decoder_embed_dim=values["width"],
            decoder_depth=values["depth"],
            decoder_num_heads=values["heads"],
        )
        model = nn.ModuleList([seen, decoder]).to(device)

        def loss() -> torch.Tensor:
            keep, hidden = random_token_mask((batch, seen.sequence_length), mask_ratio=values["mask"], device=device)
            x = decoder.embed(seen.encode(images=images, idx_keep=keep))
            full = torch.zeros(batch, seen.sequence_length, x.shape[-1], device=device, dtype=x.dtype)
            full = full + decoder.mask_token.to(x.dtype)
            full = full.scatter(1, keep.unsqueeze(-1).expand_as(x), x)
            drawn = decoder.predict(get_at_index(decoder.decode(full), hidden))
            wanted = get_at_index(patchify(images, vit.patch_embed.patch_size[0]), hidden - 1)
            return (drawn - wanted).square().mean()

    if compiled:
        for block in vit.blocks:
            block.compile()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                value = loss()
            value.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


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
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --tiny shows on a CPU that the script works")
    device = torch.device("cpu" if options.tiny else "cuda")
    sizes, bf16, compiled = (TINY if options.tiny else CARD), not options.tiny, not (options.tiny or options.no_compile)
    steps = options.steps or (8 if options.tiny else 80)
    settings = {
        "precision": "bf16" if bf16 else "fp32",
        "device": "cpu" if options.tiny else "auto",
        "compile": compiled,
    }
    result: dict[str, Any] = {"device": "cpu" if options.tiny else torch.cuda.get_device_name(), "compiled": compiled}
    for name, make in objectives(sizes).items():
        free(device)
        result[name] = ours(make(), sizes["batch"][name], sizes, steps, settings)
        print(name, result[name], file=sys.stderr, flush=True)
    free(device)
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
        result["open_clip align"] = rival(
            open_clip_steps(pairs, device, bf16, Path(folder)), pairs["batch"], steps, device
        )
    for kind in ("dino", "mae"):
        free(device)
        step = lightly_steps(kind, sizes, device, bf16, compiled)
        result[f"lightly {kind}"] = rival(step, sizes["batch"][kind], steps, device)
        print(kind, result[f"lightly {kind}"], file=sys.stderr, flush=True)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
