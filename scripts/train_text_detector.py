"""Train the detector of text in pixels and write it where the package looks for it.

    vlp phantom --out H512 patients=220 size=512 seed=101 burned_in_share=0 level=hard
    vlp phantom --out H512E patients=160 size=512 seed=104 burned_in_share=0 level=easy
    vlp phantom --out H256 patients=60 size=256 seed=103 burned_in_share=0 level=easy
    python scripts/train_text_detector.py --phantom H512 --real ../shared/data/xray_open --fonts FONTS \\
        --leave-out scripts/text_detector_leave_out.txt --batch 12 --steps 1500 --rate 4e-3 --out D1.onnx
    python scripts/train_text_detector.py --phantom H512 H512E H256 ... --start D1.safetensors --steps 1800 --rate 2e-3 --seed 2 \\
        --out anonymize/dicom/text_detector.onnx

The shipped weights had the second step in four pieces (250, 250, 600 and 700 steps), because it was stopped to correct the
list of films to leave out. FONTS: DejaVu and Hershey are built in; Liberation, Roboto, Inconsolata, JetBrains Mono and
OCR-B of Debian were added. STIX, Computer Modern, Lato, Open Sans, Noto Mono, Cantarell, Comic Neue, Ubuntu Title and the
35 fonts of URW are held out for benchmarks/burned_in.py.

A small fully convolutional network with skip connections (arXiv 1505.04597) says for each cell of 4 px whether a line of
text or a short mark stands there. It is trained on films of the phantom and on openly licensed radiographs, with text
drawn on the fly (scripts/text_films.py), and a second time on what it got wrong (--start). The same arguments and
versions give the same weights.

Real films: chest_hannover (CC BY 3.0), chest_nih (open, NIH Clinical Center), knee_gornale and spine_scoliosis (CC BY
4.0), of two thirds of the patients; the others, and every other part, are for measuring. Films that bear text of their
own are named in ``--leave-out`` (one path a line).
"""

from __future__ import annotations

import argparse
import csv
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from text_films import Crop, CropMaker, Ground
from text_ink import Writer, training_fonts
from torch import nn
from torch.nn import functional as F

from anonymize.files import read_rows

PARTS = ("chest_hannover", "chest_nih", "knee_gornale", "spine_scoliosis")


class Convolution(nn.Sequential):
    """3 x 3 convolution with batch norm and ReLU."""

    def __init__(self, inside: int, outside: int, stride: int = 1, dilation: int = 1) -> None:
        convolution = nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


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


def phantom_grounds(folder: Path) -> Iterator[Ground]:
    """Clean films of a ``vlp phantom`` output, with the places of their lead marks."""
    marks: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in read_rows(folder / "truth" / "objects.parquet"):
        if row["name"] == "marker":
            marks.setdefault(row["image_id"], []).append((row["x0"], row["y0"], row["x1"], row["y1"]))
    for row in read_rows(folder / "truth" / "images.parquet"):
        if not row["burned_in"]:
            gray = decoded(folder / "export" / "dicom" / row["path"])
            yield Ground(gray, tuple(marks.get(row["image_id"], ())), complete=True)


def decoded(path: Path) -> np.ndarray:
    """Stored values of a DICOM film as the search sees them: 8 bits over their whole range."""
    import pydicom

    from anonymize.dicom.frames import stored_frame

    frame = stored_frame(pydicom.dcmread(path))[0].astype(np.float32)
    return ((frame - frame.min()) * (255 / max(1.0, float(np.ptp(frame))))).round().astype(np.uint8)


def for_training(part: str, patient: str, image: str) -> bool:
    """Two thirds of the patients of the open parts, by a hash of patient (or image) that never changes."""
    return part in PARTS and zlib.crc32(f"{part}/{patient or image}".encode()) % 3 != 0


def real_grounds(folder: Path, leave_out: set[str]) -> Iterator[Ground]:
    """Films for training of the shared collection; the marks on them are not known."""
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if for_training(row["part"], row["patient_id"], row["image"]) and row["image"] not in leave_out:
                gray = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
                yield Ground(np.asarray(gray, np.uint8), (), complete=False)


def with_traps(model: Detector, grounds: list[Ground], least: float = 0.15) -> list[Ground]:
    """The films with the places that ``model`` takes for text although nothing was drawn there."""
    made, model = [], model.eval()
    for ground in grounds:
        places: list[tuple[float, float]] = []
        for scale in (1.0, 0.5, 0.25):
            gray = cv2.resize(ground.gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            whole = cv2.copyMakeBorder(gray, 0, -gray.shape[0] % 16, 0, -gray.shape[1] % 16, cv2.BORDER_REPLICATE)
            with torch.no_grad():
                scores = torch.sigmoid(model(torch.from_numpy(whole[None, None].astype(np.float32) / 255)))[
                    0, 0
                ].numpy()
            count, _, _, centres = cv2.connectedComponentsWithStats((scores >= least).astype(np.uint8))
            places += [(4 * x / scale, 4 * y / scale) for x, y in centres[1:count]]
        known = [box for box in ground.marks]
        places = [
            (x, y) for x, y in places if not any(b[0] - 9 < x < b[2] + 9 and b[1] - 9 < y < b[3] + 9 for b in known)
        ]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantom", type=Path, nargs="+", required=True)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--leave-out", type=Path)
    parser.add_argument("--fonts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights (safetensors) to go on from; their errors are shown again")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # on shared cores the waiting of a second thread costs more than it brings
    grounds = [ground for folder in options.phantom for ground in phantom_grounds(folder)]
    real: list[Ground] = []
    if options.real:
        named = options.leave_out.read_text(encoding="utf-8").split() if options.leave_out else []
        real = list(real_grounds(options.real, set(named)))
    model = Detector()
    if options.start:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(options.start))
        grounds, real = with_traps(model, grounds), with_traps(model, real)
    grounds += real * max(1, len(grounds) // max(1, len(real)))  # as many real films as phantom ones
    print(len(grounds), "films", flush=True)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    train(
        model, batches(CropMaker(grounds, Writer(training_fonts(options.fonts))), options.batch, options.seed), options
    )
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
