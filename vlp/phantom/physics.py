"""From path lengths to a detector's signal: attenuation, scatter, quantum mottle, blur.

Mass attenuation coefficients after NIST (Hubbell & Seltzer 1995, NISTIR 5632), times density: water 1.00, cortical
bone 1.92, titanium 4.51, gypsum plaster as applied 0.9 g/cm3. Two energies stand for the spectrum of a tube, which is
enough for beam hardening: thick bone gains less contrast per millimetre than thin bone.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom.facts import Scene

Map = npt.NDArray[np.float32]

ENERGIES_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0)
ATTENUATION_PER_MM = {
    "soft": (0.0376, 0.0268, 0.0227, 0.0206, 0.0184, 0.0171),
    "bone": (0.2555, 0.1278, 0.0814, 0.0604, 0.0428, 0.0356),
    "metal": (2.242, 1.005, 0.546, 0.3455, 0.1827, 0.1227),
    "plaster": (0.111, 0.0522, 0.0340, 0.0260, 0.0190, 0.0160),
}


def attenuation(material: str, kev: float) -> float:
    """Linear attenuation in 1/mm at an energy in keV (log-log interpolation; 30-100 keV, clamped outside)."""
    table = np.log(ATTENUATION_PER_MM[material])
    return float(np.exp(np.interp(np.log(kev), np.log(ENERGIES_KEV), table)))


def transmission(scene: Scene, kvp: float) -> Map:
    """Primary transmission, [H, W] float32 in 0-1, for a tube voltage in kV (50-125)."""
    total = np.zeros(scene.soft_mm.shape, np.float32)
    maps = {"soft": scene.soft_mm, "bone": scene.bone_mm, "metal": scene.metal_mm, "plaster": scene.plaster_mm}
    present = {name: values for name, values in maps.items() if values.any()}
    for weight, energy in ((0.45, 0.45 * kvp), (0.55, 0.68 * kvp)):
        depth = np.zeros_like(total)
        for name, values in present.items():
            depth += np.float32(attenuation(name, energy)) * values
        total += np.float32(weight) * np.exp(-depth)
    return total


def scatter(primary: Map, soft_mm: Map, spacing_mm: float, ratio: float) -> Map:
    """Scattered radiation, [H, W] float32: a wide blur of what the tissue took out of the beam, plus a floor.

    ``ratio`` is the scatter-to-primary ratio behind 100 mm of water without grid times the grid's selectivity.
    """
    height, width = primary.shape
    step = max(1, round(6.0 / spacing_mm))
    small = (max(8, width // step), max(8, height // step))
    source = cv2.resize(primary * (0.15 + soft_mm / 100.0), small, interpolation=cv2.INTER_AREA)
    sigma = 22.0 / (spacing_mm * width / small[0])
    wide = cv2.GaussianBlur(source, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.float32(ratio) * cv2.resize(wide, (width, height), interpolation=cv2.INTER_CUBIC).clip(min=0)


def expose(
    scene: Scene,
    rng: np.random.Generator,
    *,
    kvp: float,
    quanta_per_mm2: float,
    scatter_ratio: float = 0.3,
    blur_mm: float = 0.15,
    readout_noise: float = 3.0,
) -> Map:
    """The logarithmic detector signal, [H, W] float32: -ln(detected / open field), larger behind more matter.

    Args:
        kvp: tube voltage, 50-125 kV.
        quanta_per_mm2: mean number of detected quanta per mm2 behind the patient, as automatic exposure holds it.
        scatter_ratio: scatter-to-primary ratio behind 100 mm of water.
        blur_mm: standard deviation of the detector's point spread (its MTF is a Gaussian).
        readout_noise: electronic noise in quanta per pixel, standard deviation.
    """
    primary = transmission(scene, kvp)
    total = primary + scatter(primary, scene.soft_mm, scene.spacing_mm, scatter_ratio)
    body = scene.soft_mm > 2.0
    behind = float(np.median(total[body])) if body.any() else 1.0
    per_unit = quanta_per_mm2 * scene.spacing_mm**2 / behind
    counts = total * np.float32(per_unit)
    counts += np.sqrt(counts) * rng.standard_normal(counts.shape, dtype=np.float32)
    sigma = blur_mm / scene.spacing_mm
    if sigma > 0.25:  # below a quarter pixel the blur changes nothing
        counts = cv2.GaussianBlur(counts, (0, 0), sigma)
    counts += np.float32(readout_noise) * rng.standard_normal(counts.shape, dtype=np.float32)
    return -np.log(np.maximum(counts, 0.5) / np.float32(per_unit)).astype(np.float32)
