"""Train the detector of text in pixels and write it where the package looks for it.

    python scripts/train_text_detector.py --films FILMS --real ../shared/data/xray_open --fonts FONTS \\
        --steps 1500 --rate 4e-3 --out first.onnx
    python scripts/train_text_detector.py --films FILMS --real ../shared/data/xray_open --fonts FONTS \\
        --start anonymize/dicom/text_detector.onnx --seed 7 --out text_detector.onnx

The first command begins anew, the second goes on from the shipped weights. These came about in several runs of an earlier
revision of this file, of 3,300 steps in all (1,500 at a rate of 4e-3, 1,800 at 2e-3), so that no one command makes them
again. FONTS: DejaVu and Hershey are built in; Liberation, Roboto, Inconsolata, JetBrains Mono and OCR-B of Debian were
added. STIX, Computer Modern, Lato, Open Sans, Noto Mono, Cantarell, Comic Neue, Ubuntu Title and the 35 fonts of URW are
held out for benchmarks/burned_in.py. The Python package onnx is needed.

A small fully convolutional network with skip connections (arXiv 1505.04597) says for each cell of 4 px whether a line of
text or a short mark stands there. It is trained on films of the phantom and on openly licensed radiographs
(scripts/text_grounds.py), with text drawn on the fly (scripts/text_films.py); with ``--start`` the places that those
weights take for text are shown more often. The same arguments and versions give the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from text_films import STRIDE, Crop, CropMaker
from text_grounds import Ground, arguments, grounds_of
from text_ink import Writer, training_fonts
from torch import nn
from torch.nn import functional as F


class Convolution(nn.Sequential):
    """3 x 3 convolution with batch norm and ReLU."""

    def __init__(self, inside: int, outside: int, stride: int = 1, dilation: int = 1) -> None:
        convolution = nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))

    def fold(self) -> None:
        """Without batch norm, with a bias in its place."""
        plain = self[0]
        assert isinstance(plain, nn.Conv2d)
        plain.bias = nn.Parameter(torch.zeros(plain.out_channels))
        self[1] = nn.Identity()


class Detector(nn.Module):
    """[B, 1, H, W] in 0-1, H and W multiples of 16, to logits [B, 2, H/4, W/4] (text, mark). 236,000 parameters."""

    def __init__(self, a: int = 16, b: int = 32, c: int = 48, d: int = 64) -> None:
        super().__init__()
        self.quarter = nn.Sequential(Convolution(1, a, 2), Convolution(a, b, 2), Convolution(b, b))
        self.eighth = nn.Sequential(Convolution(b, c, 2), Convolution(c, c))
        self.deep = nn.Sequential(
            Convolution(c, d, 2), Convolution(d, d), Convolution(d, d, dilation=2), Convolution(d, d, dilation=2)
        )
        self.up8, self.up4 = nn.ConvTranspose2d(d, c, 2, 2), nn.ConvTranspose2d(c, b, 2, 2)
        self.join8, self.join4 = Convolution(c, c), Convolution(b, b)
        self.head = nn.Conv2d(b, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarter = self.quarter(x)
        eighth = self.eighth(quarter)
        up = self.join8(F.relu(self.up8(self.deep(eighth)) + eighth))
        return self.head(self.join4(F.relu(self.up4(up) + quarter)))


def loss_of(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy on what is asked, hard negatives three to a positive (arXiv 1911.08947), plus Dice of text."""
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight
    positive = (target > 0.5) & (weight > 0)
    negative = (target <= 0.5) & (weight > 0)
    wanted = max(3 * int(positive.sum()), 2000)
    hardest = torch.topk(cross[negative], min(wanted, int(negative.sum()))).values
    balanced = (cross[positive].sum() + hardest.sum()) / max(1, int(positive.sum()) + len(hardest))
    shown = torch.sigmoid(logits[:, 0]) * weight[:, 0]
    overlap = (shown * target[:, 0]).sum()
    dice = 1 - (2 * overlap + 1) / (shown.sum() + (target[:, 0] * weight[:, 0]).sum() + 1)
    return balanced + 0.3 * dice + 0.2 * cross.sum() / weight.sum().clamp(min=1)


def with_traps(model: Detector, grounds: list[Ground], least: float = 0.15) -> list[Ground]:
    """The films with the places that ``model`` takes for text although nothing was drawn there, marks among them."""
    made, model = [], model.eval()
    for ground in grounds:
        places: list[tuple[float, float, float]] = []
        for scale in (1.0, 0.5, 0.25):
            gray = cv2.resize(ground.gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            whole = cv2.copyMakeBorder(gray, 0, -gray.shape[0] % 32, 0, -gray.shape[1] % 32, cv2.BORDER_REPLICATE)
            with torch.no_grad():
                cells = torch.sigmoid(model(torch.from_numpy(whole[None, None].astype(np.float32) / 255)))[0, 0]
            count, _, _, centres = cv2.connectedComponentsWithStats((cells.numpy() >= least).astype(np.uint8))
            places += [(STRIDE * x / scale, STRIDE * y / scale, scale) for x, y in centres[1:count]]
        made.append(replace(ground, traps=tuple(places)))
    model.train()
    print(sum(bool(ground.traps) for ground in made), "films with traps", flush=True)
    return made


def batches(maker: CropMaker, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Endless batches: gray [B, 1, S, S] in 0-1, target and weight [B, 2, S/4, S/4]."""
    rng = np.random.default_rng(seed)
    while True:
        yield stacked([maker.make(rng) for _ in range(size)])


def stacked(crops: list[Crop]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops as one batch."""
    gray = torch.from_numpy(np.stack([crop.gray for crop in crops])[:, None].astype(np.float32) / 255)
    target, weight = (np.stack([getattr(crop, name) for crop in crops]) for name in ("target", "weight"))
    return gray, torch.from_numpy(target), torch.from_numpy(weight)


def load_onnx(model: Detector, path: Path) -> None:
    """Weights that :func:`write_onnx` wrote into ``model``: there batch norm is part of the convolutions, and stays so."""
    import onnx  # pyright: ignore[reportMissingImports]

    for layer in model.modules():
        if isinstance(layer, Convolution):
            layer.fold()
    graph = onnx.load(path).graph
    arrays = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    state = {}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            name = node.name.split("/")[-2]  # /0/quarter/quarter.0/quarter.0.0/Conv
            state[f"{name}.weight"], state[f"{name}.bias"] = arrays[node.input[1]], arrays[node.input[2]]
    model.load_state_dict(state)


def write_onnx(model: Detector, path: Path) -> None:
    """The trained network with a sigmoid at its end, ONNX opset 13, free height and width."""
    whole = nn.Sequential(model, nn.Sigmoid()).eval()
    torch.onnx.export(
        whole, (torch.zeros(1, 1, 128, 160),), str(path), dynamo=False, opset_version=13,
        input_names=["gray"], output_names=["cells"],
        dynamic_axes={"gray": {2: "h", 3: "w"}, "cells": {2: "h4", 3: "w4"}},
    )  # fmt: skip


def main() -> None:
    """Train and write."""
    options = arguments(__doc__, steps=900, batch=12, rate=1e-3).parse_args()
    phantom, real = grounds_of(options)
    model = Detector()
    if options.start:
        load_onnx(model, options.start)
        phantom, real = (with_traps(model, films[::3]) + films[1::3] + films[2::3] for films in (phantom, real))
    grounds = phantom + real * max(1, len(phantom) // max(1, len(real)))  # as many real films as phantom ones
    print(len(grounds), "films,", sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    maker = CropMaker(grounds, Writer(training_fonts(options.fonts)))
    train(model, batches(maker, options.batch, options.seed), options)
    write_onnx(model, options.out)


def train(model: Detector, source: Iterator[tuple[torch.Tensor, ...]], options: argparse.Namespace) -> None:
    """AdamW under one cycle of the learning rate; weights are kept beside the output every 250 steps."""
    from safetensors.torch import save_file

    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps, pct_start=0.1)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    started, total = time.monotonic(), 0.0
    for step in range(1, options.steps + 1):
        gray, target, weight = next(source)
        loss = loss_of(model(gray.to(memory_format=torch.channels_last)), target, weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 50 == 0:
            print(f"{step} loss {total / 50:.4f} {time.monotonic() - started:.0f} s", flush=True)
            total = 0.0
        if step % 250 == 0 or step == options.steps:
            save_file(
                {k: v.contiguous() for k, v in model.state_dict().items()}, options.out.with_suffix(".safetensors")
            )


if __name__ == "__main__":
    main()
