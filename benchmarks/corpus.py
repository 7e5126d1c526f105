"""Speed of images: ``vlp prepare`` and the training loader beside plain loops, same files, same core, same run.

    python benchmarks/corpus.py [--quick] [--json] [--films 24] [--side 1760]
    python benchmarks/corpus.py --corpus CORPUS        # random reads of a corpus that `vlp prepare` wrote, and no more

Films are the phantom's, drawn at 512 px, enlarged to ``--side`` and stored as its devices store them (uncompressed, RLE,
JPEG lossless, JPEG 2000 lossless; windows and VOI LUTs; MONOCHROME1 and 2). Times are the CPU time of this process, pinned
to one core where the system allows it, the median of the repeats.

prepare: file to stored bytes at the working size. Ours is :func:`vlp.corpus.build.prepare_image` (decode, one look-up
table, crop, resize, quality, hashes, TIFF); plain is pydicom's ``pixel_array``, ``apply_modality_lut``,
``apply_voi_lut``, inversion, ``cv2.resize`` and PNG. ``prepare_speedup_png`` is ours with ``codec=png``.
window: stored values of one film to display values, ours (:func:`vlp.corpus.window.display`) and pydicom's two functions.

loader: an epoch in random order as batches of 64 tensors of 224 px, beside torchvision's ``ImageFolder`` over the same
images (long side 512 px) as PNG files, one after the other in one process, as one DataLoader worker does.

``loader_speedup`` has the same transforms on both sides, that is the same functions on the same arrays (a square of 256
px, then the batch's crop, rotation, exposure, blur and noise, :func:`vlp.corpus.augment.augment`): what differs is the
way from a file to pixels alone. ``loader_speedup_png``: the same with our images stored as PNG. ``loader_speedup_cached``:
with squares that an earlier epoch left in the cache folder. ``loader_speedup_crop``: a random crop and no more on both
sides, on theirs as tutorials write it (torchvision's ``Grayscale``, ``RandomResizedCrop``, ``ToTensor`` on each image), on
ours as above without the rest; the crops are alike in distribution, not the same (theirs is of the image without the
square's margin, and averages where it shrinks). Its rates are ``crop_per_second`` and ``crop_imagefolder_per_second``.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import torch
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from vlp.corpus.augment import AugmentConfig, augment, crop
from vlp.corpus.build import prepare_image
from vlp.corpus.codec import Codec, decode, encode
from vlp.corpus.dataset import Corpus
from vlp.corpus.frame import Square, to_square
from vlp.corpus.shards import shard_path, write_shard
from vlp.corpus.source import ImageFile
from vlp.corpus.window import display
from vlp.phantom.config import PhantomConfig
from vlp.phantom.devices import DEVICES
from vlp.phantom.dicom_headers import Header
from vlp.phantom.dicom_writer import build_dataset
from vlp.phantom.facts import Radiograph
from vlp.phantom.population import make_patient
from vlp.phantom.render import render
from vlp.study import ImageRef, Study

SIZE = 512  # working size of the corpus, long side in pixels
BATCH, SIDE = 64, 224


def make_films(folder: Path, count: int, side: int) -> list[Path]:
    """``count`` phantom films of about ``side`` pixels, one device after the other."""
    config = PhantomConfig(patients=count, size=512)
    paths: list[Path] = []
    names = list(DEVICES)
    for index in range(count):
        patient = make_patient(config, index, names)
        exam = patient.visits[0].exam
        view = exam.views[0]
        film = render(exam, view, config.size)
        scale = side / max(film.pixels.shape)
        pixels = cv2.resize(film.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        pixels = np.minimum(pixels, (1 << film.bits) - 1).astype(np.uint16)
        large = Radiograph(pixels, film.bits, film.spacing_mm / scale, film.window, ())
        ds = build_dataset(large, exam, view, _header(index), DEVICES[exam.device], index)
        path = folder / f"film-{index:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _header(index: int) -> Header:
    texts = {field.name: "" for field in dataclasses.fields(Header) if field.type == "str"}
    uids = {name: f"2.25.{number}{index}" for number, name in enumerate(("study_uid", "series_uid", "sop_uid"), 1)}
    day = dt.datetime(2024, 3, 2, 10, 12)
    names = {"patient_id": f"P{index}", "accession": f"A{index}", "family_name": "PHANTOM", "sex": "F"}
    return Header(**(texts | uids | names | {"charset": "ISO_IR 192"}), birth_date=dt.date(1960, 1, 1), study_time=day)


def plain_prepare(path: Path) -> bytes:
    """What a short script does."""
    ds = pydicom.dcmread(path)
    values = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(np.float32)
    values = (values - values.min()) / max(float(np.ptp(values)), 1.0)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        values = 1.0 - values
    scale = SIZE / max(values.shape)
    small = cv2.resize((values * 255).astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", small)[1].tobytes()


def our_prepare(path: Path, codec: Codec = "tiff") -> bytes:
    """``vlp prepare`` of one file."""
    row, data = prepare_image(ImageFile(path.stem, str(path), "", ""), SIZE, crop=True, codec=codec)
    if not data:
        raise SystemExit(f"{path.name}: {row.reason}")
    return data


def timed(work: Callable[[], Any], repeats: int) -> float:
    """CPU seconds of ``work``, the median of ``repeats`` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def loaders(folder: Path, films: Sequence[npt.NDArray[Any]], images: int) -> dict[str, Callable[[], None]]:
    """An epoch over ``images`` pictures by each loader."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Grayscale, RandomResizedCrop, ToTensor

    square, config = Square(SIDE * 8 // 7, "pad"), AugmentConfig()
    still = AugmentConfig(rotation=0)
    order = np.random.default_rng(0).permutation(images).tolist()
    batches = [order[first : first + BATCH] for first in range(0, images, BATCH)]
    names = [f"i{n:05d}" for n in range(images)]
    refs = [ImageRef(name, 0, n, *films[n % len(films)].shape, "", "", None) for n, name in enumerate(names)]
    stored: dict[Codec, list[bytes]] = {"tiff": [encode(f) for f in films], "png": [encode(f, "png") for f in films]}
    for codec, files in stored.items():
        write_shard(shard_path(folder / codec, 0), [(name, files[n % len(films)]) for n, name in enumerate(names)])
    target = folder / "folder" / "film"
    target.mkdir(parents=True)
    for n, name in enumerate(names):
        (target / f"{name}.png").write_bytes(stored["png"][n % len(films)])

    def batch_of(squares: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(squares)).unsqueeze(1)

    def ours(codec: Codec, cached: bool = False, whole: bool = True) -> Callable[[], None]:
        def epoch() -> None:
            for chosen in batches:
                batch = batch_of([corpus.square(refs[n], square) for n in chosen])
                if whole:
                    augment(batch, SIDE, config)
                else:
                    crop(batch, SIDE, still)

        info = {"fingerprint": codec}
        study = _study(refs) if cached else []
        corpus = Corpus(folder / codec, study, info, cache_dir=folder / "cache" if cached else None)
        return epoch

    def picture(image: Any) -> npt.NDArray[np.uint8]:
        return to_square(np.asarray(image.convert("L")), square)

    same = ImageFolder(str(folder / "folder"), transform=picture)
    cut = RandomResizedCrop(SIDE, config.scale, (1 / config.ratio, config.ratio))
    usual = ImageFolder(str(folder / "folder"), transform=Compose([Grayscale(), cut, ToTensor()]))

    def imagefolder() -> None:
        for chosen in batches:
            augment(batch_of([same[n][0] for n in chosen]), SIDE, config)

    def torchvision() -> None:
        for chosen in batches:
            torch.stack([usual[n][0] for n in chosen])

    return {
        "ours": ours("tiff"),
        "imagefolder": imagefolder,
        "png": ours("png"),
        "cached": ours("tiff", cached=True),
        "crop": ours("tiff", whole=False),
        "crop_imagefolder": torchvision,
    }


def _study(refs: Sequence[ImageRef]) -> list[Study]:
    empty = {field.name: "" for field in dataclasses.fields(Study)}
    return [Study(**{**empty, "images": tuple(refs), "age_months": None, "labels": {}})]  # type: ignore[arg-type]


def random_reads(path: str, repeats: int, count: int = 1000) -> dict[str, float]:
    """Images a second of a corpus in random order: as stored, as squares of 256 px, and those from the cache."""
    square = Square(SIDE * 8 // 7, "pad")
    with tempfile.TemporaryDirectory() as cache:
        corpus, kept = Corpus.open(path), Corpus.open(path, cache_dir=cache)
        every = [ref for study in corpus.studies for ref in study.images]
        chosen = np.random.default_rng(0).permutation(len(every))[:count].tolist()
        refs = [every[n] for n in chosen]
        works: dict[str, Callable[[], Any]] = {
            "reads_per_second": lambda: [corpus.pixels(ref) for ref in refs],
            "squares_per_second": lambda: [corpus.square(ref, square) for ref in refs],
            "cached_squares_per_second": lambda: [kept.square(ref, square) for ref in refs],
        }
        return {name: round(len(refs) / timed(work, repeats), 1) for name, work in works.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--side", type=int, default=1760, help="long side of a film in pixels")
    parser.add_argument("--images", type=int, default=1024, help="pictures of an epoch of the loaders")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--corpus", help="measure random reads of this corpus instead")
    parser.add_argument("--quick", action="store_true", help="8 films, 256 pictures, 3 repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.quick:
        options.films, options.images, options.repeat = 8, 256, 3
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.corpus:
        print(json.dumps(random_reads(options.corpus, options.repeat)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("drawing films", file=sys.stderr)
        films = make_films(folder, options.films, options.side)
        syntaxes: dict[str, list[Path]] = {}
        for path in films:
            syntaxes.setdefault(
                pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name, []
            ).append(path)
        result: dict[str, Any] = {"films": len(films), "side": options.side, "size": SIZE, "by_syntax": {}}
        totals = np.zeros(3)
        for syntax, paths in sorted(syntaxes.items()):
            times = [
                timed(lambda do=do, paths=paths: [do(path) for path in paths], options.repeat)
                for do in (our_prepare, plain_prepare, lambda path: our_prepare(path, "png"))
            ]
            totals += times
            ours, plain = (len(paths) / seconds for seconds in times[:2])
            row = {
                "films": len(paths),
                "prepare": round(ours, 2),
                "plain": round(plain, 2),
                "speedup": round(ours / plain, 2),
            }
            result["by_syntax"][syntax] = row
        result["prepare_per_second"], result["plain_per_second"] = (round(len(films) / t, 2) for t in totals[:2])
        result["prepare_speedup"] = round(totals[1] / totals[0], 3)
        result["prepare_speedup_png"] = round(totals[1] / totals[2], 3)
        windows = _windows(films, options.repeat)
        result |= windows
        pixels = [decode(our_prepare(path)) for path in films]
        works = loaders(folder, pixels, options.images)
        seconds = {name: timed(work, options.repeat) for name, work in works.items()}
        rates = {name: round(options.images / value, 1) for name, value in seconds.items()}
        result["loader_per_second"], result["imagefolder_per_second"] = rates["ours"], rates["imagefolder"]
        result["crop_per_second"], result["crop_imagefolder_per_second"] = rates["crop"], rates["crop_imagefolder"]
        result["loader_speedup"] = round(seconds["imagefolder"] / seconds["ours"], 3)
        for name, theirs in (("png", "imagefolder"), ("cached", "imagefolder"), ("crop", "crop_imagefolder")):
            result[f"loader_speedup_{name}"] = round(seconds[theirs] / seconds[name], 3)
        sizes = [sum(len(encode(image, codec)) for image in pixels) for codec in ("tiff", "png")]
        result["bytes_tiff_per_png"] = round(sizes[0] / sizes[1], 3)
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        if key != "by_syntax":
            print(f"{key:<24}{value}")
    for syntax, row in result["by_syntax"].items():
        print(f"  {syntax}: {row}")


def _windows(films: Sequence[Path], repeats: int) -> dict[str, float]:
    """Milliseconds of a film's window, ours and pydicom's."""
    loaded = [(ds.pixel_array, ds) for ds in map(pydicom.dcmread, films[: min(4, len(films))])]
    ours = timed(lambda: [display(stored, ds, int(ds.BitsStored)) for stored, ds in loaded], repeats)
    plain = timed(lambda: [apply_voi_lut(apply_modality_lut(stored, ds), ds) for stored, ds in loaded], repeats)
    return {"window_ms": round(1000 * ours / len(loaded), 2), "window_ms_plain": round(1000 * plain / len(loaded), 2)}


if __name__ == "__main__":
    main()
