"""Attention maps of test studies as pictures: the radiograph beside itself with the map laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from anonymize.files import write_bytes_atomic
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square
from vlp.encoders.image import ImageEncoder
from vlp.study import Study
from vlp.tasks.features import load_images


def write_attention(
    encoder: ImageEncoder,
    corpus: Corpus,
    studies: Sequence[Study],
    folder: Path,
    *,
    count: int,
    seed: int,
    side: int = 256,
) -> list[Path]:
    """``folder/<anatomy>_<study>.png`` for ``count`` studies, anatomies in turn; none if the backbone has no maps."""
    if not encoder.has_attention or count <= 0:
        return []
    order = np.random.default_rng([seed, 13]).permutation(len(studies))
    queues: dict[str, list[Study]] = {}
    for i in order:
        queues.setdefault(studies[i].anatomy, []).append(studies[i])
    turns = [study for turn in zip_longest_lists(list(queues.values())) for study in turn][:count]
    written = []
    for study in turns:
        ref = study.images[0]
        attention = encoder.attention(load_images(corpus, [ref], encoder))[0].float().cpu().numpy()
        path = folder / f"{study.anatomy}_{study.study_id}.png"
        done, png = cv2.imencode(".png", overlay(corpus.square(ref, Square(side, encoder.config.framing)), attention))
        if done:
            write_bytes_atomic(path, png.tobytes())
            written.append(path)
    return written


def overlay(pixels: npt.NDArray[np.uint8], attention: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Image [S, S] beside image with attention [h, w] (any positive scale) in colour: BGR [S, 2S, 3]."""
    side = pixels.shape[0]
    heat = cv2.resize(np.asarray(attention, np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(heat, [5, 99.5])
    heat = np.clip((heat - low) / max(high - low, 1e-12), 0, 1)
    colour = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    gray = cast(npt.NDArray[np.uint8], cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    weight = (0.55 * heat)[..., None]
    mixed = (gray * (1 - weight) + colour * weight).astype(np.uint8)
    return np.concatenate([gray, mixed], axis=1)


def zip_longest_lists(lists: list[list[Study]]) -> list[list[Study]]:
    """First items of all lists, then second items, and so on."""
    longest = max((len(items) for items in lists), default=0)
    return [[items[i] for items in lists if i < len(items)] for i in range(longest)]
