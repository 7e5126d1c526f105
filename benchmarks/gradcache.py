"""Cost and memory of recomputed slices (contrastive.chunk) against a plain step, and against the two-phase GradCache.

python benchmarks/gradcache.py --json
Same towers, augmentation and loss; times are CPU seconds of one thread, variants interleaved, medians. ``ratio`` is the
time a sample at 4 x the batch in slices of the plain batch, over the time a sample of the plain step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from memory import peak_megabytes
from torch import Tensor
from torch.nn.functional import normalize

from vlp.encoders.dual import DualConfig, DualEncoder, study_mean
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from vlp.objectives.infonce import info_nce
from vlp.training.texts import keys

WORDS = ["Fracture du radius gauche sans déplacement, corticales par ailleurs continues.", "Pas d'épanchement pleural."]


def objective(chunk: int) -> ContrastiveObjective:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(WORDS * 2, 400, 32)
    text = TextEncoder(TextConfig(width=128, layers=2, vocabulary=400, max_length=32), tokenizer)
    dual = DualEncoder(ImageEncoder(ImageConfig(name="vit_femto", image_size=112)), text, DualConfig(width=128))
    return ContrastiveObjective(dual, ContrastiveConfig(chunk=chunk, multi_positive=False), 64).train()


def batch(count: int) -> dict[str, Any]:
    texts = [f"{WORDS[i % 2]} {i}" for i in range(count)]
    images = torch.randint(0, 256, (count, 1, 128, 128), dtype=torch.uint8)
    said = keys(texts)
    return {
        "images": images,
        "study_index": torch.arange(count),
        "texts": texts,
        "study_keys": said,
        "text_keys": said,
    }


def step(model: ContrastiveObjective, data: dict[str, Any]) -> None:
    model.zero_grad()
    model(data, 0)[0].backward()


def two_phase_step(model: ContrastiveObjective, data: dict[str, Any], chunk: int) -> None:
    """Gao et al. 2021 as published: embed without gradient, loss on the embeddings, embed again slice by slice."""
    model.zero_grad()
    count = len(data["texts"])
    mirrored = torch.zeros(count, dtype=torch.bool)
    ids, mask = model._tokens(data["texts"])
    sides: list[tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]] = [
        (model._see, [data["images"], mirrored]),
        (model._read, [ids, mask]),
    ]
    leaves, states = [], []
    for encode, inputs in sides:
        parts = []
        with torch.no_grad():
            for piece in zip(*(value.split(chunk) for value in inputs), strict=True):
                states.append(torch.get_rng_state())
                parts.append(encode(*piece)[0])
        leaves.append(torch.cat(parts).requires_grad_())
    studies = normalize(study_mean(leaves[0], data["study_index"], count), dim=-1)
    info_nce(studies, leaves[1], model.dual.logit_scale.exp().clamp(max=100)).backward()
    after = torch.get_rng_state()
    saved = iter(states)
    for (encode, inputs), leaf in zip(sides, leaves, strict=True):
        assert leaf.grad is not None
        for *piece, gradient in zip(*(value.split(chunk) for value in inputs), leaf.grad.split(chunk), strict=True):
            torch.set_rng_state(next(saved))
            encode(*piece)[0].backward(gradient)
    torch.set_rng_state(after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    small = options.batch
    large = 4 * small
    plain, sliced = objective(0), objective(small)
    few, many = batch(small), batch(large)
    variants: dict[str, tuple[Callable[[], None], int]] = {
        "plain": (lambda: step(plain, few), small),
        "plain_4x": (lambda: step(plain, many), large),
        "chunk_4x": (lambda: step(sliced, many), large),
        "two_phase_4x": (lambda: two_phase_step(sliced, many, small), large),
    }
    gradients = {}
    for name in ("chunk_4x", "two_phase_4x"):
        torch.manual_seed(5)
        variants[name][0]()
        gradients[name] = torch.cat([p.grad.flatten() for p in sliced.parameters() if p.grad is not None])
    difference = (gradients["chunk_4x"] - gradients["two_phase_4x"]).norm() / gradients["chunk_4x"].norm()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.repeats):
        for name, (run, count) in variants.items():
            began = time.process_time()
            run()
            times[name].append((time.process_time() - began) / count)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "batch": small,
        "ms_a_sample": {name: round(1000 * value, 2) for name, value in medians.items()},
        "ratio": round(medians["chunk_4x"] / medians["plain"], 3),
        "ratio_two_phase": round(medians["two_phase_4x"] / medians["plain"], 3),
        "peak_mb": {name: round(peak_megabytes(run), 1) for name, (run, _) in variants.items()},
        "difference_of_gradients": float(difference),
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
