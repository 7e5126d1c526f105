"""One file: read it, judge it, clean header and pixels, write the safe instance."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from anonymize.dicom import bitstream, header, pixels
from anonymize.dicom.boxes import Box
from anonymize.dicom.colour import COLOURS, colour_frames, put_colour
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.document_instance import Document, process_document
from anonymize.dicom.frames import stored_frames
from anonymize.dicom.judge import Decision, Judgement, judge
from anonymize.dicom.mapping import Pair, pairs_of
from anonymize.dicom.objects import kind_of
from anonymize.dicom.refusal import Refused
from anonymize.files import open_atomic
from anonymize.keys import Keys


@dataclass(frozen=True)
class Image:
    """One row of the image index (SAFE/images/index)."""

    image_id: str
    patient: str
    study: str
    series: str
    path: str  # relative to SAFE/images
    modality: str
    body_part: str
    view: str
    laterality: str
    photometric: str
    rows: int
    columns: int
    bits_stored: int
    spacing_mm: float | None
    age_months: int | None
    sex: str
    date: str
    manufacturer: str
    model: str
    burned_in: str  # none, masked, doubtful, unsure
    description: str


def quiet() -> None:
    """Stop pydicom from writing values of headers into warnings and logs."""
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def process(
    source: Path,
    folder: Path,
    part: str,
    config: DicomConfig,
    keys: Keys,
    decisions: Mapping[str, Decision] | None = None,
) -> tuple[Image | Document, list[Pair], Judgement | None]:
    """Clean ``source`` and write it below ``folder`` under the temporary name ``<patient>/<study>/<part>``.

    A structured report or a document goes below ``documents`` beside ``folder`` instead.

    Args:
        decisions: what a person said of the doubtful text of an image, by image_id.

    Returns:
        the row of the index, which identifier became which where ``config.mappings`` asks for it, and what was
        found in the pixels.

    Raises:
        Refused: with a reason of :data:`REMEDIES`.
    """
    ds = _read(source)
    found, stated = str(ds.get("SOPClassUID", "")), str(ds.file_meta.get("MediaStorageSOPClassUID", ""))
    if not found or (found != stated and stated.startswith(found)):  # the file ends within its first attributes
        raise Refused("truncated_dicom")
    kind = kind_of(found, config)
    if kind is None:
        raise Refused("unsupported_sop_class")
    if kind == "image" and "PixelData" not in ds:
        raise Refused("no_pixels")
    try:
        linked = header.link(ds, config, keys)
    except header.MissingIdentifier:
        raise Refused("missing_identifier") from None
    pairs = pairs_of(ds, linked.patient, keys, retain_uids=config.retain_uids) if config.mappings else []
    if kind != "image":
        return process_document(ds, kind, linked, folder.with_name("documents"), part, config, keys), pairs, None
    frames = _decode(ds)
    judged = judge(ds, frames, config, linked.image_id, (decisions or {}).get(linked.image_id, ""))
    if judged.refusal:
        raise Refused(judged.refusal, judged)
    safe = header.clean_header(ds, linked, config, keys, masked=config.pixels != "off")
    _put_pixels(ds, safe, frames, judged.boxes)
    if judged.is_clean:
        safe.BurnedInAnnotation = "NO"
    elif judged.record.state == "doubtful":
        safe.BurnedInAnnotation = "YES"  # Type 1 in DX (PS3.3 C.8.11.3): it cannot say "perhaps"
    relative = Path(linked.patient) / linked.study / part
    with open_atomic(folder / relative) as stream:
        safe.preamble = b"\0" * 128
        safe.save_as(stream, enforce_file_format=True)
    return _row(safe, linked, judged.record.state), pairs, judged


def _read(source: Path) -> Dataset:
    try:
        ds = pydicom.dcmread(source)
    except InvalidDicomError:
        ds = _read_without_preamble(source)
    except OSError:
        raise Refused("unreadable_file") from None
    except Exception:  # a broken structure raises whatever it hits first
        raise Refused("truncated_dicom") from None
    if "TransferSyntaxUID" not in ds.file_meta:
        raise Refused("truncated_dicom")
    return ds


def _read_without_preamble(source: Path) -> Dataset:
    """Files of early exporters start with the data set itself (PS3.10 before 1993)."""
    try:
        ds = pydicom.dcmread(source, force=True)
    except Exception:
        raise Refused("not_dicom") from None
    if "SOPClassUID" not in ds or "SOPInstanceUID" not in ds:
        raise Refused("not_dicom")
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if ds.original_encoding[0] else ExplicitVRLittleEndian
    return ds


def _decode(ds: Dataset) -> npt.NDArray[Any]:
    """Frames [N, H, W] as stored, or in colour [N, H, W, 3] as RGB of 8 bits."""
    syntax = ds.file_meta.TransferSyntaxUID
    photometric = str(ds.get("PhotometricInterpretation", ""))
    if photometric not in ("MONOCHROME1", "MONOCHROME2", *COLOURS):
        raise Refused("unsupported_colour" if photometric else "corrupt_pixels")
    try:
        if not syntax.is_encapsulated:
            count = int(ds.get("NumberOfFrames", 1) or 1)
            samples = 2 if photometric == "YBR_FULL_422" else int(ds.get("SamplesPerPixel", 1) or 1)
            expected = (ds.Rows * ds.Columns * samples * ds.BitsAllocated * count + 7) // 8
            if len(ds.PixelData) < expected:
                raise Refused("truncated_dicom")
        found = colour_frames(ds) if photometric in COLOURS else stored_frames(ds)
    except Refused:
        raise
    except EOFError:
        raise Refused("truncated_dicom") from None
    except Exception:
        raise Refused("corrupt_pixels") from None
    return found


def _put_pixels(ds: Dataset, safe: Dataset, frames: npt.NDArray[Any], boxes: Sequence[tuple[Box, ...]]) -> None:
    """The frames as they came where nothing was masked and their code stream can be cleaned, else uncompressed."""
    syntax = ds.file_meta.TransferSyntaxUID
    is_palette = str(ds.PhotometricInterpretation) == "PALETTE COLOR"
    if not any(boxes) and syntax.is_encapsulated and not is_palette:
        try:
            data = bitstream.clean_encapsulated(ds, syntax)
        except ValueError:
            pass  # the frames decode, so they are written without what cannot be parsed
        else:
            safe.file_meta = header.clean_meta(safe, syntax)
            safe.add_new("PixelData", "OB", data)
            safe["PixelData"].is_undefined_length = True
            return
    safe.file_meta = header.clean_meta(safe, ExplicitVRLittleEndian)
    if frames.ndim == 4:
        put_colour(safe, frames, boxes)
        return
    clean = _without_unused_bits(frames, int(ds.BitsStored), int(ds.get("PixelRepresentation", 0)))
    for frame, found in zip(clean, boxes, strict=True):
        pixels.mask(frame, found, photometric=str(ds.PhotometricInterpretation))
    if int(ds.BitsAllocated) == 1:
        clean = np.packbits(
            clean.astype(np.uint8).ravel(), bitorder="little"
        )  # PS3.5 8.1.1: frames follow without a gap
    data = clean.astype(clean.dtype.newbyteorder("<")).tobytes()
    safe.add_new("PixelData", "OW" if clean.dtype.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2))


def _without_unused_bits(frames: npt.NDArray[Any], stored: int, signed: int) -> npt.NDArray[Any]:
    """Bits above the stored ones can hold an overlay (PS3.5 8.1.2, retired) and are cleared."""
    allocated = frames.dtype.itemsize * 8
    if stored >= allocated or frames.dtype.kind not in "ui":
        return frames.copy()
    if not signed:
        return frames & frames.dtype.type((1 << stored) - 1)
    shift = allocated - stored
    return (frames << shift) >> shift


def _row(safe: Dataset, linked: header.Linked, state: str) -> Image:
    spacing = safe.get("PixelSpacing") or safe.get("ImagerPixelSpacing")
    side = str(safe.get("ImageLaterality") or safe.get("Laterality") or "")
    return Image(
        image_id=linked.image_id,
        patient=linked.patient,
        study=linked.study,
        series=linked.series,
        path=f"{linked.patient}/{linked.study}/{linked.image_id}.dcm",
        modality=str(safe.get("Modality") or ""),
        body_part=str(safe.get("BodyPartExamined") or ""),
        view=_view(safe),
        laterality=side if side in ("R", "L", "B") else "",
        photometric=str(safe.PhotometricInterpretation),
        rows=int(safe.Rows),
        columns=int(safe.Columns),
        bits_stored=int(safe.BitsStored),
        spacing_mm=float(spacing[0]) if spacing and float(np.max(spacing)) > 0 else None,
        age_months=linked.age_months,
        sex=linked.sex,
        date=linked.date,
        manufacturer=str(safe.get("Manufacturer") or ""),
        model=str(safe.get("ManufacturerModelName") or ""),
        burned_in=state,
        description=" ".join(str(v) for k in ("StudyDescription", "SeriesDescription") if (v := safe.get(k))),
    )


_VIEW_OF = {"PA": "PA", "AP": "AP", "LL": "LAT", "RL": "LAT", "LLD": "AP", "RLD": "AP", "LAT": "LAT", "OBL": "OBL"}
_VIEW_OF |= dict.fromkeys(("RLO", "LLO", "RAO", "LAO", "RPO", "LPO"), "OBL")


def _view(safe: Dataset) -> str:
    """PA, AP, LAT or OBL by View Position, else by the meaning of the view's code; "" where not known."""
    position = str(safe.get("ViewPosition") or "")
    if position in _VIEW_OF:
        return _VIEW_OF[position]
    codes = safe.get("ViewCodeSequence") or []
    meaning = str(codes[0].get("CodeMeaning", "")).lower() if codes else ""
    for text, view in (("oblique", "OBL"), ("postero-anterior", "PA"), ("antero-posterior", "AP"), ("lateral", "LAT")):
        if text in meaning:
            return view
    return ""
