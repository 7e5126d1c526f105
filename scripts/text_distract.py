"""Sharp things on films that are no text, for scripts/text_films.py."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def distract(canvas: npt.NDArray[np.float32], taken: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Draw something sharp that is no text: ruler, screws, chain, grid, wires, clips, step wedge, frame, dots."""
    side = canvas.shape[0]
    kind = int(rng.integers(9))
    value = float(rng.choice([255, 230, 180, 0]))
    x, y = (int(v) for v in rng.integers(0, side, 2))
    layer = np.zeros(canvas.shape, np.uint8)
    pitch, long, thick = int(rng.integers(3, 16)), int(rng.integers(4, 26)), int(rng.integers(1, 4))
    if kind == 0:
        for n, at in enumerate(range(0, side, pitch)):
            length = long * (2 if n % 5 == 0 else 1)
            cv2.line(layer, (at, y), (at, y + length), 255, 1)
        if rng.random() < 0.5:
            cv2.line(layer, (0, y), (side, y), 255, thick)
    elif kind == 1:  # thread of a screw
        for n in range(int(rng.integers(5, 14))):
            cv2.line(layer, (x + n * pitch, y), (x + n * pitch + pitch // 2, y + long), 255, thick, cv2.LINE_AA)
        cv2.line(layer, (x, y + long // 2), (x + 14 * pitch, y + long // 2), 255, max(1, long // 3), cv2.LINE_AA)
    elif kind == 2:
        for n in range(int(rng.integers(4, 20))):
            wave = int(long * np.sin(n * rng.uniform(0.2, 0.4)))
            cv2.circle(layer, (x + n * pitch, y + wave), max(1, pitch // 3), 255, -1 if thick > 1 else 1, cv2.LINE_AA)
    elif kind == 3:
        for at in range(0, side, 3 * pitch):
            cv2.line(layer, (at, 0), (at, side), 255, 1)
            cv2.line(layer, (0, at), (side, at), 255, 1)
    elif kind == 4:
        points = rng.integers(0, side, (int(rng.integers(3, 8)), 2)).astype(np.int32)
        cv2.polylines(layer, [points], False, 255, thick, cv2.LINE_AA)
    elif kind == 5:
        for _ in range(int(rng.integers(3, 12))):
            at = rng.integers(0, side, 2)
            angle = rng.uniform(0, np.pi)
            end = at + long * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(layer, tuple(map(int, at)), tuple(map(int, end)), 255, thick, cv2.LINE_AA)
    elif kind == 6:
        for n in range(int(rng.integers(4, 10))):
            layer[y : y + long, x + n * long : x + (n + 1) * long] = 25 * n
    elif kind == 7:
        cv2.rectangle(layer, (x, y), (x + 3 * long, y + 2 * long), 255, thick)
        cv2.circle(layer, (x + long, y + long), long // 2 + 1, 255, thick, cv2.LINE_AA)
    else:
        for _ in range(int(rng.integers(5, 40))):
            at = tuple(int(v) for v in rng.integers(0, side, 2))
            cv2.circle(layer, at, int(rng.integers(1, 5)), 255, -1, cv2.LINE_AA)
    cover = (layer / 255.0 * rng.uniform(0.5, 1.0)).astype(np.float32)
    canvas[:] = canvas * (1 - cover) + value * cover
    if kind in (0, 3, 6):
        return
    taken |= layer > 0
