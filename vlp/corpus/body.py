"""Where the body is in a radiograph: its contour, found in each image.

Air and collimation borders are dark or white, nearly even, and reach the edge of the image; whatever they enclose, lungs
among it, is body. Small parts beside the largest (side markers, burned-in text) are not.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_SIDE = 64  # cells along a side of the square in which the contour is sought (a cell for 16 pixels in large films)
_DARK = 0.12  # of the range between darkest and brightest tissue: at most that much above air is air
_AIR = 0.35  # of the full range: a darkest shade above that is no air
_WHITE = 0.97  # of the full range: a border of film or collimator is at least so bright
_DIM = 0.2  # of the same range: at most that much above air is air where it is even, as scattered rays leave it
_EVEN = 0.05  # of the range: differences between neighbours within a border
_EDGE = 0.6  # of an edge: a white border fills at least that much of it
_PART = 0.08  # of the largest part: smaller ones are no body
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_LEAST = 0.05  # of the image: with less body than that, all of it counts


def body_masks(images: Tensor) -> Tensor:
    """Where the body is in each of a batch of films.

    Args:
        images: [B, 1, S, S], uint8 or float 0-1 with air at the dark end, on any device; the work is done on the CPU.

    Returns:
        [B, 1, c, c] uint8, 1 for body, with c = 64, or S / 16 for larger films, on the images' device. An image in which
        hardly any body is found (blank, or all of it border) is body everywhere.
    """
    side = max(_SIDE, images.shape[-1] // 16)
    pixels = images if images.dtype == torch.uint8 else (images * 255).round().clamp(0, 255).to(torch.uint8)
    found = [body_mask(_shrunk(image, side)) for image in pixels[:, 0].cpu().numpy()]
    return torch.from_numpy(np.stack(found)).unsqueeze(1).to(images.device)


def _shrunk(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def body_mask(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """1 where a small image, uint8 [h, w], shows body, else 0: uint8 [h, w]."""
    counts = np.bincount(image.ravel(), minlength=256).cumsum()
    low, high = (int(x) for x in np.searchsorted(counts, (0.01 * image.size, 0.99 * image.size)))
    outside = np.zeros(image.shape, np.uint8)
    steps = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, _NEIGHBOURS)
    if low <= 255 * _AIR:
        even = (steps <= _EVEN * (high - low)) & (image <= low + _DIM * (high - low))
        outside |= _from_edge((even | (image <= low + _DARK * (high - low))).astype(np.uint8))
    outside |= _white_border(((image >= 255 * _WHITE) & (steps <= 255 * _EVEN)).astype(np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(1 - outside, connectivity=4)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < _LEAST * image.size:
        return np.ones(image.shape, np.uint8)
    kept = np.concatenate([[0], areas >= _PART * areas.max()]).astype(np.uint8)
    return kept.take(np.asarray(parts, np.intp))


def _from_edge(candidates: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Those of ``candidates`` (0 or 1) [h, w] that hang together with the edge of the image."""
    framed = cv2.copyMakeBorder(candidates, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(framed, None, (0, 0), 2)
    return (framed[1:-1, 1:-1] == 2).astype(np.uint8)


def _white_border(white: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Those parts of ``white`` (0 or 1) [h, w] that fill most of one edge; overexposed bone that the edge cuts does not."""
    if not white.any():
        return white
    _, parts = cv2.connectedComponents(white, connectivity=4)
    border = np.zeros_like(white)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        names, counts = np.unique(edge[edge > 0], return_counts=True)
        border |= np.isin(parts, names[counts >= _EDGE * len(edge)]).astype(np.uint8)
    return border
