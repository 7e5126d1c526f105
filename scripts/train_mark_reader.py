"""Train the reader of marks (anonymize/dicom/reader.py): a line of a film to letters, so that known marks stay.

    python scripts/train_mark_reader.py --films FILMS --real ../shared/data/xray_open --fonts FONTS \\
        --out anonymize/dicom/mark_reader.onnx

A convolutional network with connectionist temporal classification (Graves et al., ICML 2006) over 26 letters, one sign
for any digit and one for anything else. It learns from the marks of all language packs, from near misses of them, and
from made-up names, dates and numbers, drawn on the same films as scripts/train_text_detector.py uses.
"""

from __future__ import annotations

import string
import time
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from text_grounds import Ground, arguments, grounds_of
from text_ink import Writer, line_of, training_fonts
from torch import nn
from torch.nn import functional as F

from anonymize.dicom.marks import marks
from anonymize.dicom.reader import HEIGHT, LETTERS, WIDEST, letters_of


class Reader(nn.Module):
    """[B, 1, 32, W] in 0-1, W a multiple of 4, to logits [B, 29, 1, W/4]; class 0 is CTC's blank. 116,000 parameters."""

    def __init__(self) -> None:
        super().__init__()

        def layer(inside: int, outside: int, size: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int]):
            convolution = nn.Conv2d(inside, outside, size, stride, pad, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))

        self.body = nn.Sequential(
            layer(1, 16, (3, 3), (2, 2), (1, 1)),
            layer(16, 32, (3, 3), (2, 2), (1, 1)),
            layer(32, 48, (3, 3), (2, 1), (1, 1)),
            layer(48, 64, (3, 3), (2, 1), (1, 1)),
            layer(64, 64, (2, 3), (1, 1), (0, 1)),
            layer(64, 64, (1, 5), (1, 1), (0, 2)),
            layer(64, 64, (1, 5), (1, 1), (0, 2)),
            nn.Conv2d(64, len(LETTERS) + 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Lines:
    """Draws lines on films as the detector would cut them out."""

    def __init__(self, grounds: Sequence[Ground], writer: Writer, known: Sequence[str]) -> None:
        self.grounds, self.writer, self.known = list(grounds), writer, list(known)

    def text(self, rng: np.random.Generator) -> str:
        """A mark, two marks, a near miss, or a made-up line."""
        how = rng.random()
        if how > 0.65:
            return line_of(rng)[:22]
        text = str(rng.choice(self.known))
        text = f"{text} {rng.choice(self.known)}" if rng.random() < 0.2 else text
        if how > 0.35:
            at, letters = int(rng.integers(len(text) + 1)), list(string.ascii_uppercase + string.digits)
            new = "".join(rng.choice(letters, int(rng.integers(0, 3))))
            text = (text[:at] + new + text[at + int(rng.integers(0, 3)) :]).strip() or "X"
        return text if rng.random() < 0.6 else text.capitalize() if rng.random() < 0.6 else text.lower()

    def make(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A crop [32, W] uint8, W up to :data:`WIDEST`, and its letters."""
        text = self.text(rng)
        ink = self.writer.draw(text, float(np.exp(rng.uniform(np.log(8), np.log(40)))), rng).coverage
        h, w = ink.shape
        up, down, left, right = (int(h * v) for v in (*rng.uniform(0.05, 0.6, 2), *rng.uniform(0.1, 1.2, 2)))
        canvas = self._ground((h + up + down, w + left + right), rng)
        under = canvas[up : up + h, left : left + w]
        ground = float(np.median(under))
        value = float(rng.choice([255.0, 0.0, rng.uniform(0, 255)]))
        if abs(value - ground) < max(50.0, 1.5 * float(under.std())):
            value = 255.0 if ground < 128 else 0.0
        under[:] = under * (1 - ink) + value * ink
        if rng.random() < 0.3:
            canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 1.0))
        canvas = canvas + rng.normal(0, rng.uniform(0, 6), canvas.shape)
        width = min(WIDEST, max(16, round(canvas.shape[1] * HEIGHT / canvas.shape[0])))
        small = cv2.resize(canvas.clip(0, 255).astype(np.uint8), (width, HEIGHT), interpolation=cv2.INTER_AREA)
        return small, letters_of(text)

    def _ground(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        if rng.random() < 0.4:
            return np.full(shape, rng.choice([0.0, 255.0, rng.uniform(0, 255)]), np.float32)
        gray = self.grounds[int(rng.integers(len(self.grounds)))].gray
        scale = max(shape[0] / gray.shape[0], shape[1] / gray.shape[1], 1.0)
        gray = cv2.resize(gray, None, fx=1.01 * scale, fy=1.01 * scale) if scale > 1 else gray
        y, x = (int(rng.integers(0, g - s + 1)) for g, s in zip(gray.shape, shape, strict=True))
        return gray[y : y + shape[0], x : x + shape[1]].astype(np.float32)


def batch(lines: Lines, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gray [B, 1, 32, W] padded by edges, letters in one row, and their counts [B]."""
    made = [lines.make(rng) for _ in range(size)]
    made = [(gray, text) for gray, text in made if 0 < 1.6 * len(text) < gray.shape[1] / 4]
    widest = -(-max(gray.shape[1] for gray, _ in made) // 16) * 16
    whole = [np.pad(gray, ((0, 0), (0, widest - gray.shape[1])), mode="edge") for gray, _ in made]
    stack = np.stack([stretched(gray) for gray in whole])[:, None]
    codes = [LETTERS.index(letter) + 1 for _, text in made for letter in text]
    return torch.from_numpy(stack), torch.tensor(codes), torch.tensor([len(text) for _, text in made])


def stretched(gray: np.ndarray) -> np.ndarray:
    """Float32 in 0-1 over the crop's own range."""
    low, high = float(gray.min()), float(gray.max())
    return ((gray - low) / max(high - low, 1.0)).astype(np.float32)


def main() -> None:
    """Train and write."""
    options = arguments(__doc__, steps=2500, batch=24, rate=4e-3).parse_args()
    phantom, real = grounds_of(options)
    grounds = phantom + real
    lines = Lines(grounds, Writer(training_fonts(options.fonts)), sorted(marks()))
    model, rng = Reader(), np.random.default_rng(options.seed)
    if options.start:
        model.load_state_dict(load_file(options.start))
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps, pct_start=0.1)
    started, total = time.monotonic(), 0.0
    for step in range(1, options.steps + 1):
        gray, codes, counts = batch(lines, options.batch, rng)
        scores = F.log_softmax(model(gray)[:, :, 0], 1).permute(2, 0, 1)
        lengths = torch.full((len(gray),), scores.shape[0])
        loss = F.ctc_loss(scores, codes, lengths, counts, zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"{step} loss {total / 100:.4f} {time.monotonic() - started:.0f} s", flush=True)
            total = 0.0
        if step % 500 == 0 or step == options.steps:
            save_file(model.state_dict(), options.out.with_suffix(".safetensors"))
    whole = nn.Sequential(model, nn.Softmax(1)).eval()
    torch.onnx.export(
        whole, (torch.zeros(1, 1, HEIGHT, 160),), str(options.out), dynamo=False, opset_version=13,
        input_names=["line"], output_names=["letters"], dynamic_axes={"line": {3: "w"}, "letters": {3: "w4"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
