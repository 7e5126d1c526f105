"""Does the contour of ``vlp.corpus.body`` keep what matters? ``python benchmarks/body_contour.py XRAY_OPEN``

XRAY_OPEN is a folder with ``metadata.csv`` (columns image, part, boxes: JSON [x0, y0, x1, y1, name] in pixels). Counts, for
each part, the images of which a box (lung, fracture, finding) is less than 90 % body; the mean share of body; and the time
an image takes at a side of 224 pixels.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from vlp.corpus.body import body_mask, body_masks

SIDE = 224
INSIDE = 0.9


def main(folder: Path) -> None:
    """Print the table."""
    with (folder / "metadata.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, list[tuple[float, bool | None]]] = defaultdict(list)
    seconds = 0.0
    for row in rows:
        pixels = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            continue
        small = np.asarray(cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
        mask = body_mask(small)
        square = torch.from_numpy(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[None, None]
        begun = time.process_time()
        share = float(body_masks(square).float().mean())
        seconds += time.process_time() - begun
        boxes = [box for box in json.loads(row["boxes"] or "[]") if box[2] > box[0] and box[3] > box[1]]
        cut = any(_inside(mask, box, pixels.shape) < INSIDE for box in boxes) if boxes else None
        found[row["part"]].append((share, cut))
    print(f"{'part':18} images  body  with boxes  cut")
    for part, values in sorted(found.items()):
        known = [cut for _, cut in values if cut is not None]
        print(f"{part:18} {len(values):6} {np.mean([b for b, _ in values]):5.2f} {len(known):11} {sum(known):4}")
    print(f"{1000 * seconds / sum(map(len, found.values())):.2f} ms of CPU time an image at {SIDE} pixels")


def _inside(mask: np.ndarray, box: list[float], shape: tuple[int, ...]) -> float:
    scale_y, scale_x = mask.shape[0] / shape[0], mask.shape[1] / shape[1]
    top, bottom = int(box[1] * scale_y), int(np.ceil(box[3] * scale_y))
    left, right = int(box[0] * scale_x), int(np.ceil(box[2] * scale_x))
    part = mask[max(0, top) : max(top + 1, bottom), max(0, left) : max(left + 1, right)]
    return float(part.mean()) if part.size else 1.0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
