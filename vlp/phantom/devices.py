"""Fictitious X-ray devices: how each stores, tones and decorates its films. No manufacturer here exists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Device:
    """One radiography device.

    ``spacing_mm`` is the detector's own pixel pitch; a film rendered at a smaller size has a coarser one, which
    :class:`vlp.phantom.facts.Radiograph` carries. ``transfer_syntax`` is a DICOM UID (PS3.5 Annex A).
    """

    key: str
    manufacturer: str
    model: str
    software: str
    station: str
    modality: str  # CR or DX
    bits: int  # stored bits, 10-16
    spacing_mm: float
    photometric: str  # MONOCHROME1 or MONOCHROME2
    voi_style: str  # window, lut_sequence, multi_window
    transfer_syntax: str
    latitude: float  # 0-1: how much of the low frequencies the processing removes (dynamic range compression)
    equalisation: float  # 0-1: share of the tone scale that follows the histogram of the exposed anatomy
    edge_gain: float  # unsharp masking, 0 is none
    edge_mm: float  # its scale
    blur_mm: float  # standard deviation of the detector's point spread
    quanta_per_mm2: float  # detected behind the patient at nominal exposure
    grid_visible: bool  # lines of a stationary anti-scatter grid stay on the film
    border: str  # black, white, none: what is stored outside the collimator
    marker: str  # lead or digital
    used: tuple[float, float]  # share of the stored range that the tone scale fills
    burns_in: bool  # draws identifying lines into pixels where the technician asks for it


EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"

DEVICES: dict[str, Device] = {
    device.key: device
    for device in (
        Device(
            "aurelia_dx", "Aurelia Imaging", "Clarte 400", "3.2.1", "XR1", "DX", 14, 0.139, "MONOCHROME2",
            "lut_sequence", JPEG_LOSSLESS, 0.45, 0.99, 0.7, 1.6, 0.12, 9000, False, "black", "digital",
            (0.02, 0.90), False,
        ),
        Device(
            "borea_cr", "Borea Medical", "Cassette One", "V5.0", "CR2", "CR", 10, 0.175, "MONOCHROME1",
            "window", EXPLICIT_LITTLE, 0.25, 0.97, 0.3, 2.4, 0.20, 3500, True, "white", "lead",
            (0.00, 1.00), True,
        ),
        Device(
            "cantor_cr", "Cantor Röntgen", "CX 12", "12.4b", "CRU", "CR", 12, 0.150, "MONOCHROME2",
            "multi_window", RLE, 0.35, 0.98, 0.5, 2.0, 0.18, 4500, False, "black", "lead",
            (0.05, 0.95), True,
        ),
        Device(
            "delmas_dx", "Delmas & Fils", "Orion DR", "2019.2", "ORION", "DX", 16, 0.143, "MONOCHROME1",
            "window", JPEG_2000_LOSSLESS, 0.55, 1.00, 0.9, 1.2, 0.10, 12000, False, "none", "digital",
            (0.10, 0.65), False,
        ),
        Device(
            "esker_dx", "Esker Systems", "PanoRay 17", "7.11", "XR5", "DX", 12, 0.160, "MONOCHROME2",
            "window", EXPLICIT_LITTLE, 0.30, 0.98, 0.4, 1.8, 0.15, 6000, True, "black", "lead",
            (0.00, 0.98), True,
        ),
    )
}  # fmt: skip


def voi_lut(device: Device, window: tuple[float, float]) -> npt.NDArray[np.uint16]:
    """The device's sigmoid VOI LUT over all stored values (MONOCHROME2 sense), [2**bits] uint16, 0-65535, monotone.

    DICOM PS3.3 C.11.2: what a writer puts into a VOI LUT Sequence (at most 65,535 entries a table, so a 16-bit
    device must not use this style).
    """
    centre, width = window
    stored = np.arange(2**device.bits, dtype=np.float64)
    slope = 4.0 * (stored - centre) / width
    curve = 1.0 / (1.0 + np.exp(-slope))
    low, high = 1.0 / (1.0 + np.exp(2.0)), 1.0 / (1.0 + np.exp(-2.0))
    return np.round(65535 * np.clip((curve - low) / (high - low), 0, 1)).astype(np.uint16)
