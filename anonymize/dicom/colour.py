"""Images in colour (secondary captures): decoded to RGB, written as RGB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from anonymize.dicom.frames import stored_frames

COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")


def colour_frames(ds: Dataset) -> npt.NDArray[np.uint8]:
    """All frames [N, H, W, 3] as RGB, of deeper samples the upper 8 bits.

    Raises:
        ValueError: a sample is no unsigned integer.
        Exception: of any type: whatever a decoder raises on a damaged frame.
    """
    space, array = str(ds.PhotometricInterpretation), stored_frames(ds)
    bits = int(ds.BitsStored)
    if space == "PALETTE COLOR":
        array = apply_color_lut(array, ds)
        bits = 8 * array.dtype.itemsize
    elif space in ("YBR_FULL", "YBR_FULL_422"):  # the transforms of JPEG 2000 are undone by its decoder
        array = np.stack([convert_color_space(frame, "YBR_FULL", "RGB") for frame in array])
    if array.dtype.kind != "u" or array.shape[-1] != 3:
        raise ValueError("no colour")
    if bits > 8:
        array = (array >> (bits - 8)).astype(np.uint8)
    return array.reshape(-1, *array.shape[-3:])


def put_colour(
    safe: Dataset, frames: npt.NDArray[np.uint8], boxes: Sequence[Sequence[tuple[int, int, int, int]]]
) -> None:
    """Write frames [N, H, W, 3] uncompressed as RGB; what lies in ``boxes`` (x0, y0, x1, y1) becomes black."""
    clean = frames.copy()
    for frame, found in zip(clean, boxes, strict=True):
        for x0, y0, x1, y1 in found:
            frame[y0:y1, x0:x1] = 0
    safe.PhotometricInterpretation, safe.SamplesPerPixel, safe.PlanarConfiguration = "RGB", 3, 0
    safe.BitsAllocated = safe.BitsStored = 8
    safe.HighBit, safe.PixelRepresentation = 7, 0
    for name in ("Red", "Green", "Blue"):
        for part in ("Data", "Descriptor"):
            keyword = f"{name}PaletteColorLookupTable{part}"
            if keyword in safe:
                del safe[keyword]
    data = clean.tobytes()
    safe.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
