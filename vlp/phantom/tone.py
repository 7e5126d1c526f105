"""Tone processing of a console: dynamic range compression, histogram-driven tone scale, edge enhancement.

Every modern console normalises a film by the histogram of what it shows (exposure data recognition; Stahl et al. 2000,
Prokop et al. 2003). Here it also keeps findings from being readable in a film's global brightness.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from vlp.phantom.devices import Device

Map = npt.NDArray[np.float32]
_RANKS = np.linspace(0.005, 0.995, 65)


def tone_scale(
    signal: Map,
    anatomy: npt.NDArray[np.bool_],
    device: Device,
    spacing_mm: float,
    rng: np.random.Generator,
    *,
    mean: tuple[float, float],
    contrast: float = 1.0,
    strength: float = 1.0,
) -> Map:
    """Display values, [H, W] float32; the anatomy spans about 0-1, direct exposure is 0, metal may exceed 1.

    Args:
        signal: logarithmic detector signal.
        anatomy: [H, W], the pixels whose histogram drives the tone scale.
        mean: range of the mean display value of the anatomy, drawn per film.
        contrast: below 1 attenuates detail (a planted subgroup gap).
        strength: how far films differ, 0-1.
    """
    flat = compress(signal, anatomy, device.latitude * rng.uniform(1 - 0.4 * strength, 1 + 0.4 * strength), spacing_mm)
    gain = device.edge_gain * rng.uniform(1 - 0.5 * strength, 1 + 0.5 * strength)
    flat = flat + np.float32(gain) * (flat - cv2.GaussianBlur(flat, (0, 0), max(0.6, device.edge_mm / spacing_mm)))
    if contrast < 1:
        coarse = cv2.GaussianBlur(flat, (0, 0), 12.0 / spacing_mm)
        flat = coarse + np.float32(contrast) * (flat - coarse)
    values = flat[::2, ::2][anatomy[::2, ::2]]
    if values.size < 64:
        values = flat.ravel()
    levels = np.quantile(values, _RANKS)
    levels += np.arange(len(levels)) * 1e-6  # np.interp wants them increasing
    middle = rng.uniform(*mean)
    concentration = rng.uniform(2.2, 4.4)
    target = betaincinv(middle * concentration, (1 - middle) * concentration, _RANKS)
    linear = (levels - levels[1]) / max(levels[-2] - levels[1], 1e-3)
    share = float(np.clip(device.equalisation + 0.03 * strength * rng.normal(), 0, 1))
    scale = share * target + (1 - share) * linear
    shown = np.interp(flat, levels, scale).astype(np.float32)
    top = (scale[-1] - scale[-9]) / max(levels[-1] - levels[-9], 1e-3)
    shown += np.float32(min(top, 0.5)) * np.maximum(flat - np.float32(levels[-1]), 0)  # metal stays above bone
    fade = np.clip((flat - np.float32(levels[0])) / np.float32(max(levels[8] - levels[0], 1e-3)) + 1.0, 0, 1)
    shown *= fade  # below the darkest anatomy: down to black
    return shown


def compress(signal: Map, anatomy: npt.NDArray[np.bool_], share: float, spacing_mm: float) -> Map:
    """Take ``share`` (0-1) of the low frequencies out of the anatomy's signal; direct exposure follows its rim."""
    step = max(1, round(4.0 / spacing_mm))
    size = (max(4, signal.shape[1] // step), max(4, signal.shape[0] // step))
    weight = cv2.resize(anatomy.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(signal * anatomy, size, interpolation=cv2.INTER_AREA)
    sigma = 30.0 / (spacing_mm * signal.shape[1] / size[0])
    low = cv2.GaussianBlur(total, (0, 0), sigma) / (cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3)
    low = cv2.resize(low, (signal.shape[1], signal.shape[0]), interpolation=cv2.INTER_LINEAR)
    centre = float(np.median(low[anatomy])) if anatomy.any() else 0.0
    return cast(Map, signal - np.float32(share) * (low - np.float32(centre)) * anatomy)
