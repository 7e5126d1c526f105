"""How many real DICOM files decode, by which decoder, and whether a second decoder gives the same values.

    python benchmarks/decode.py [FOLDER ...] [--json]

Files: pydicom's own test data, the package pydicom-data where it is installed (or lies unpacked in a FOLDER), ../shared/data/dicom
where it is there, and every FOLDER. A file counts when it has Pixel Data that pydicom can find. Two things are asked: whether all
stored frames come out (:func:`anonymize.dicom.frames.stored_frames`), and what a corpus of radiographs makes of the file
(:func:`vlp.corpus.decode.decode`), which refuses colour and series of frames by name.

Second decoders: gdcm, pylibjpeg and Pillow through pydicom's plug-ins for the first frame of compressed files; gdcm's own
reader for uncompressed ones. Values are compared within Bits Stored, on lossy files too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from anonymize.dicom.frames import stored_frame, stored_frames, transfer_syntax
from vlp.corpus.decode import Undecodable, decode

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "dicom"


@dataclass(frozen=True)
class Row:
    """One file."""

    file: str
    syntax: str
    photometric: str
    frames: str  # shape of all stored frames, or the reason of the refusal
    decoder: str  # of the first frame; "" where refused
    same: tuple[str, ...]  # second decoders with the same values
    different: tuple[str, ...]
    corpus: str  # path of the window, or the reason of the refusal


def folders(extra: list[Path]) -> list[Path]:
    """Where files are looked for."""
    found = [Path(pydicom.__file__).parent / "data"]
    package = importlib.util.find_spec("data_store")  # the module of pydicom-data
    found += [Path(place) for place in (package.submodule_search_locations or [] if package else [])]
    return [*found, *([SHARED] if SHARED.is_dir() else []), *extra]


def files(places: list[Path]) -> Iterator[tuple[str, Path, Dataset]]:
    """Name, path and data set of every file with Pixel Data."""
    for place in places:
        for path in sorted(p for p in place.rglob("*") if p.is_file()):
            try:
                ds = pydicom.dcmread(path, force=True)
                if "PixelData" in ds:
                    yield f"{place.name}/{path.relative_to(place)}", path, ds
            except Exception:  # no DICOM file at all
                continue


def judge(name: str, path: Path, ds: Dataset) -> Row:
    """Decode one file both ways."""
    try:
        syntax = transfer_syntax(ds).name
    except Exception:
        syntax = "unknown"
    decoder, same, different = "", (), ()
    try:
        frames = stored_frames(ds)
        shape = "x".join(map(str, frames.shape))
        first, decoder = stored_frame(ds, count=len(frames))
        verdicts = dict(_second(path, ds, first, frames))
        same = tuple(k for k, equal in verdicts.items() if equal)
        different = tuple(k for k, equal in verdicts.items() if not equal)
    except Exception as error:
        shape = f"refused: {error}".splitlines()[0][:70]
    try:
        corpus = decode(path).window_path
    except Undecodable as error:
        corpus = f"refused: {error.reason}"
    return Row(name, syntax, str(ds.get("PhotometricInterpretation", "")), shape, decoder, same, different, corpus)


def _second(
    path: Path, ds: Dataset, first: npt.NDArray[np.generic], frames: npt.NDArray[np.generic]
) -> Iterator[tuple[str, bool]]:
    syntax = transfer_syntax(ds)
    if not syntax.is_encapsulated:
        if ds.get("PlanarConfiguration") == 1 and frames.ndim == 4:
            frames = np.ascontiguousarray(np.moveaxis(frames, -1, 1))
        other = _apart(_by_gdcm, path)
        if other is not None and frames.nbytes <= len(other) <= frames.nbytes + 1:
            yield "gdcm", _equal(np.frombuffer(other, frames.dtype.newbyteorder("<"), frames.size), frames.ravel(), ds)
        return
    for plugin in get_decoder(syntax).available_plugins:
        try:
            other = pixel_array(ds, index=0, raw=True, decoding_plugin=plugin)
        except Exception:  # it cannot read the file
            continue
        yield plugin, _equal(other, first, ds)


_POOL: list[ProcessPoolExecutor] = []


def _apart(work: Callable[[Path], bytes | None], path: Path) -> bytes | None:
    """``work`` in a process of its own: gdcm aborts the process on some of these files."""
    if not _POOL:
        _POOL.append(ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")))
    try:
        return _POOL[0].submit(work, path).result()
    except BrokenProcessPool:
        print(f"gdcm ended its process on {path.name}", file=sys.stderr)
        _POOL.clear()
        return None


def _by_gdcm(path: Path) -> bytes | None:
    """Stored values of the whole file by gdcm's own reader."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        return None
    return reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")


def _equal(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic], ds: Dataset) -> bool:
    mask = (1 << int(ds.get("BitsStored") or 64)) - 1
    return a.shape == b.shape and np.array_equal(a.astype(np.int64) & mask, b.astype(np.int64) & mask)


def summary(rows: list[Row]) -> dict[str, object]:
    """Counts of the table."""
    decoded = [r for r in rows if r.decoder]
    return {
        "files": len(rows),
        "decoded": len(decoded),
        "by_decoder": dict(Counter(r.decoder for r in decoded)),
        "refused": {r.file: r.frames for r in rows if not r.decoder},
        "equal_to_a_second_decoder": sum(bool(r.same) and not r.different for r in decoded),
        "without_second_decoder": sum(not r.same and not r.different for r in decoded),
        "different": {r.file: r.different for r in decoded if r.different},
        "corpus": dict(Counter(r.corpus.removeprefix("refused: ") for r in rows).most_common()),
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object with a row per file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    rows = [judge(*found) for found in files(folders(options.folders))]
    if options.json:
        print(json.dumps({**summary(rows), "rows": [asdict(r) for r in rows]}))
        return
    for r in rows:
        second = ", ".join((*(f"={n}" for n in r.same), *(f"!{n}" for n in r.different))) or "-"
        print(f"{r.file:<70} {r.syntax[:34]:<34} {r.frames:<24} {r.decoder:<12} {second:<28} {r.corpus}")
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
