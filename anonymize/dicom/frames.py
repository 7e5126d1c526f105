"""Compressed frames to stored values, by the fastest decoder that gives the same values.

JPEG, JPEG lossless, JPEG-LS and JPEG 2000 go to imagecodecs first: on real films it needs between two fifths and four fifths
of the time of pydicom's plug-ins (docs/prepare.md), and its values are equal. What it refuses goes to pydicom.

Sizes are checked before any decoder runs: the header's against the data that is there, and the compressed frame's own
against the header's, so that no file of a few bytes allocates gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from anonymize.dicom.codestream import bare_stream, coded_size
from anonymize.dicom.watched import TookTooLong, within

MAX_PIXELS = 1 << 26  # of a frame; the largest film scans and stitched spines have a third of it
_MAX_TOTAL = 1 << 28  # of all frames that are held at once
_SMALL = 1 << 20  # samples that are always allowed
_MOST_PER_BYTE = 4096  # samples that a byte of a compressed frame may stand for; blank frames reach it, films never do
_MOST_PER_RLE_BYTE = 64  # PS3.5 G.3: two bytes make 128 at most
_ALLOCATED = (1, 8, 16, 32, 64)

# not imagecodecs.jpeg_decode or ljpeg_decode: liblj92 behind them writes past its memory on damaged frames
_CODECS: dict[str, Callable[[bytes], Any]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.57": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.jpeg2k_decode,
}
_LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
# CharLS counts to 2^31 on some damaged frames (a shift that overflows in the run mode's Golomb parameter)
_MAY_SPIN = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_LEAST_SPEED = 4e6  # samples a second of processor time, a tenth of what CharLS needs on films
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32}
# pydicom's plug-ins behind imagecodecs. On damaged frames gdcm aborts the process, pyjpegls spins and pylibjpeg-rle panics;
# pylibjpeg reads JPEG through a package under the GPL, if somebody has installed that.
_PLUGINS = ("pillow",)
_PLUGINS_JPEG2000 = ("pylibjpeg", "pillow")


class BadFrame(ValueError):
    """Pixel data that contradict their header; the text is a reason without content of the file."""


class TooLarge(BadFrame):
    """More pixels than a radiograph has, or than the data can hold."""


@dataclass(frozen=True)
class Layout:
    """The Image Pixel Module's sizes (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame as an array."""
        return (self.rows, self.columns, self.samples) if self.samples > 1 else (self.rows, self.columns)

    def native_bytes(self, frames: int) -> int:
        """Of so many uncompressed frames, which follow each other without a gap, single bits too (PS3.5 8.1.1)."""
        return -(-self.rows * self.columns * self.samples * self.allocated * frames // 8)


def layout(ds: Dataset) -> Layout:
    """Sizes of the pixel data of ``ds``.

    Raises:
        BadFrame: one of them is missing or impossible.
        TooLarge: a frame has more than :data:`MAX_PIXELS`.
    """
    try:
        found = Layout(
            int(ds.Rows),
            int(ds.Columns),
            int(ds.get("SamplesPerPixel") or 1),
            int(ds.get("NumberOfFrames") or 1),
            int(ds.BitsAllocated),
            int(ds.get("BitsStored") or ds.BitsAllocated),
            int(ds.get("PixelRepresentation") or 0) == 1,
        )
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise BadFrame("the header gives no image size") from None
    if min(found.rows, found.columns, found.frames) < 1 or found.samples not in (1, 3, 4):
        raise BadFrame("the header gives no image size")
    if found.allocated not in _ALLOCATED or not 1 <= found.stored <= found.allocated:
        raise BadFrame("the header's bits contradict each other")
    if found.rows * found.columns > MAX_PIXELS:
        raise TooLarge("more pixels than a radiograph has")
    return found


def transfer_syntax(ds: Dataset) -> UID:
    """The transfer syntax, by the encoding of the data set where the file has no meta information (before 1993).

    Raises:
        BadFrame: the encoding is not known either, or it is one that no meta information names.
    """
    meta = getattr(ds, "file_meta", None)
    stated = meta.get("TransferSyntaxUID") if meta else None
    if stated:
        return UID(stated)
    implicit, little = ds.original_encoding
    if implicit is None or not little:
        raise BadFrame("no transfer syntax")
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def stored_frame(ds: Dataset, index: int = 0, *, count: int = 1) -> tuple[npt.NDArray[Any], str]:
    """One frame [H, W] (gray) or [H, W, C] as stored, and who decoded it: imagecodecs or pydicom.

    Bits above Bits Stored are as the decoder leaves them; the sign is extended. Colour stays in its colour space.

    Raises:
        BadFrame: sizes contradict each other or the data.
        Exception: of any type: whatever the last decoder raises on a damaged frame.
    """
    syntax, sizes = transfer_syntax(ds), layout(ds)
    if not syntax.is_encapsulated:
        return _native(ds, syntax, sizes, index), "pydicom"
    frame = next(islice(generate_frames(ds.PixelData, number_of_frames=count), index, None), b"")
    return _decoded(frame, ds, syntax, sizes)


def stored_frames(ds: Dataset) -> npt.NDArray[Any]:
    """All frames [N, H, W] or [N, H, W, C] as :func:`stored_frame` gives them, in one walk through the data.

    Raises:
        BadFrame, Exception: as :func:`stored_frame`, and where frames are missing or together too large to hold.
    """
    syntax, sizes = transfer_syntax(ds), layout(ds)
    if sizes.rows * sizes.columns * sizes.samples * sizes.frames > _MAX_TOTAL:
        raise TooLarge("more frames than can be held at once")
    if syntax.is_encapsulated:
        pieces = generate_frames(ds.PixelData, number_of_frames=sizes.frames)
        found: Iterator[npt.NDArray[Any]] = (_decoded(p, ds, syntax, sizes)[0] for p in islice(pieces, sizes.frames))
    else:
        found = (_native(ds, syntax, sizes, index) for index in range(sizes.frames))
    out: npt.NDArray[Any] | None = None
    read = 0
    for frame in found:
        if out is None:
            out = np.empty((sizes.frames, *frame.shape), frame.dtype)
        if frame.dtype != out.dtype:  # a decoder behind the first may use a wider word
            out = out.astype(np.promote_types(out.dtype, frame.dtype))
        out[read] = frame
        read += 1
    if out is None or read < sizes.frames:
        raise BadFrame("frames are missing")
    return out


def _native(ds: Dataset, syntax: UID, sizes: Layout, index: int) -> npt.NDArray[Any]:
    if not syntax.is_deflated and len(ds.PixelData) < _native_bytes(ds, sizes, index):
        raise BadFrame("fewer pixels than the header says")
    return _by_pydicom(ds, syntax, sizes, index)


def _native_bytes(ds: Dataset, sizes: Layout, index: int) -> int:
    """Bytes that must be there for frame ``index``; 4:2:2 holds two of three samples (PS3.3 C.7.6.3.1.2)."""
    size = sizes.native_bytes(index + 1)
    return size // 3 * 2 if ds.get("PhotometricInterpretation") == "YBR_FULL_422" else size


def _decoded(frame: bytes, ds: Dataset, syntax: UID, sizes: Layout) -> tuple[npt.NDArray[Any], str]:
    """One compressed frame."""
    frame = bare_stream(frame)
    _check(frame, syntax, sizes)
    if syntax == RLELossless:
        return _by_rle(frame, sizes), "imagecodecs"
    if syntax in _CODECS:
        try:
            return _by_imagecodecs(frame, syntax, sizes), "imagecodecs"
        except TookTooLong:
            raise
        except Exception:  # every codec raises its own types; pydicom's plug-ins may read what this one refuses
            pass
    single = Dataset()
    for name in _PIXEL_MODULE:
        if name in ds:
            single[name] = ds[name]
    single.PixelData = encapsulate([frame], has_bot=False)
    single["PixelData"].is_undefined_length = True
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = syntax
    return _by_pydicom(single, syntax, sizes, 0), "pydicom"


_PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def _check(frame: bytes, syntax: UID, sizes: Layout) -> None:
    """Refuse a frame that is a bomb or whose own size is not the header's."""
    samples = sizes.rows * sizes.columns * sizes.samples
    most = _MOST_PER_RLE_BYTE if syntax == RLELossless else _MOST_PER_BYTE
    if samples > _SMALL and samples > most * len(frame):
        raise TooLarge("more pixels than the data can hold")
    if syntax in _CODECS:
        own = coded_size(frame)
        if own is None or (own.rows and own.rows != sizes.rows) or own.columns != sizes.columns:
            raise BadFrame("the frame contradicts the header")
        if own.samples != sizes.samples:
            raise BadFrame("the frame contradicts the header")


def _by_imagecodecs(frame: bytes, syntax: UID, sizes: Layout) -> npt.NDArray[Any]:
    if sizes.samples > 1 and syntax in _LOSSY_JPEG:  # equal spaces: no conversion
        array = np.asarray(imagecodecs.jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="YCBCR"))
    elif syntax in _MAY_SPIN:
        budget = 0.3 + sizes.rows * sizes.columns * sizes.samples / _LEAST_SPEED
        array = np.asarray(within(budget, lambda: _CODECS[syntax](frame)))
    else:
        array = np.asarray(_CODECS[syntax](frame))
    if array.shape != sizes.shape or not np.issubdtype(array.dtype, np.integer):
        raise BadFrame("the frame contradicts the header")
    return _extended(array, sizes.stored) if sizes.signed and array.dtype.kind == "u" else array


def _by_rle(frame: bytes, sizes: Layout) -> npt.NDArray[Any]:
    """RLE Lossless (PS3.5 annex G): a segment for each byte of each sample, the highest byte first."""
    width, segments = sizes.allocated // 8, sizes.samples * sizes.allocated // 8
    starts = np.frombuffer(frame[:64].ljust(64, b"\0"), "<u4").astype(np.int64)
    places = starts[1 : segments + 1]
    if not width or starts[0] != segments or places[0] < 64 or (np.diff(places) < 1).any() or places[-1] >= len(frame):
        raise BadFrame("the frame contradicts the header")
    data = imagecodecs.dicomrle_decode(frame, np.dtype(f"<u{width}"))
    planes = np.frombuffer(data, f"<u{width}").reshape(sizes.samples, sizes.rows, sizes.columns)
    array = planes[0] if sizes.samples == 1 else np.moveaxis(planes, 0, -1)
    return _extended(array, sizes.stored) if sizes.signed else array


def _by_pydicom(ds: Dataset, syntax: UID, sizes: Layout, index: int) -> npt.NDArray[Any]:
    if not getattr(ds, "file_meta", None) or not ds.file_meta.get("TransferSyntaxUID"):
        named = Dataset()
        named.update(ds)
        named.file_meta = FileMetaDataset()
        named.file_meta.TransferSyntaxUID = syntax
        ds = named
    if not syntax.is_encapsulated:
        array = np.asarray(pixel_array(ds, index=index, raw=True, correct_unused_bits=sizes.signed))
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    refusal: Exception = BadFrame("no decoder for this transfer syntax")
    for plugin in _PLUGINS_JPEG2000 if _CODECS.get(syntax) is imagecodecs.jpeg2k_decode else _PLUGINS:
        if plugin in get_decoder(syntax).available_plugins:
            try:
                return np.asarray(
                    pixel_array(ds, index=index, raw=True, correct_unused_bits=sizes.signed, decoding_plugin=plugin)
                )
            except Exception as error:  # of any type
                refusal = error
    raise refusal


def _extended(array: npt.NDArray[Any], stored: int) -> npt.NDArray[Any]:
    """Two's complement of ``stored`` bits in a wider word as signed values."""
    spare = array.dtype.itemsize * 8 - stored
    signed = array.astype(_SIGNED[array.dtype.itemsize], copy=False)
    return signed if spare <= 0 else (signed << spare) >> spare
