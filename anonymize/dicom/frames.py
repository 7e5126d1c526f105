"""Compressed frames to stored values, by the fastest decoder that gives the same values.

JPEG, JPEG lossless, JPEG-LS and JPEG 2000 go to imagecodecs first: on real films it needs between two fifths and four fifths
of the time of pydicom's plug-ins (docs/prepare.md), and its values are equal. What it refuses goes to pydicom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

_CODECS: dict[str, Callable[[bytes], Any]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg_decode,
    "1.2.840.10008.1.2.4.57": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.jpeg2k_decode,
}
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32}


def stored_frame(ds: Dataset, index: int = 0, *, count: int = 1) -> tuple[npt.NDArray[Any], str]:
    """One frame [H, W] of a gray image as stored, and who decoded it: imagecodecs or pydicom.

    Bits above Bits Stored are as the decoder leaves them; the sign is extended.

    Raises:
        Exception: of any type: whatever the last decoder raises on a damaged frame.
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if syntax in _CODECS:
        try:
            return bare_frame(ds, index, count), "imagecodecs"
        except Exception:  # every codec raises its own types; pydicom's plug-ins may read what this one refuses
            pass
    signed = int(ds.get("PixelRepresentation") or 0) == 1
    plugin = "pylibjpeg" if syntax == RLELossless and "pylibjpeg" in get_decoder(RLELossless).available_plugins else ""
    return np.asarray(
        pixel_array(ds, index=index, raw=True, correct_unused_bits=signed, decoding_plugin=plugin)
    ), "pydicom"


def bare_frame(ds: Dataset, index: int = 0, count: int = 1) -> npt.NDArray[Any]:
    """A frame by imagecodecs.

    Raises:
        ValueError: its size or type contradicts the header.
        Exception: of the codec's own type on a damaged frame.
    """
    data = get_frame(ds.PixelData, index, number_of_frames=count)
    array = np.asarray(_CODECS[str(ds.file_meta.TransferSyntaxUID)](data))
    if array.shape != (int(ds.Rows), int(ds.Columns)) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError("the frame contradicts the header")
    if int(ds.get("PixelRepresentation") or 0) == 1 and array.dtype.kind == "u":
        array = _extended(array, int(ds.BitsStored))
    return array


def _extended(array: npt.NDArray[Any], stored: int) -> npt.NDArray[Any]:
    """Two's complement of ``stored`` bits in a wider word as signed values."""
    spare = array.dtype.itemsize * 8 - stored
    signed = array.astype(_SIGNED[array.dtype.itemsize], copy=False)
    return signed if spare <= 0 else (signed << spare) >> spare
