"""What one core does: ``anonymize dicom`` and ``vlp prepare`` in CPU seconds a film, by the size of the film.

    python benchmarks/dicom_rates.py [--sides 256 1760 2500] [--films 6]

Films are those of benchmarks/corpus.py: the phantom's, enlarged, stored as its devices store them. Each is cleaned by the
function that a worker calls (:class:`anonymize.dicom.work.Cleaner`) and the result is prepared by the one of ``vlp prepare``.
Prints one JSON object: for each side the median CPU seconds of both, megabytes of a film before and after, and the
films and megabytes a core does in an hour; and bytes a film in the index and in the private tables.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus import make_films

from anonymize.console import Console
from anonymize.dicom.batch import run_dicom
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.work import Cleaner, Task
from anonymize.keys import Keys, private_folder
from vlp.corpus.build import prepare_image
from vlp.corpus.source import ImageFile

KEYS = Keys(b"a secret of thirty-two bytes here")
WORKING_SIZE = 512


def rates(folder: Path, side: int, films: int) -> dict[str, Any]:
    """The figures of one size."""
    source, out = folder / f"in-{side}", folder / f"out-{side}"
    source.mkdir()
    paths = make_films(source, films, side)
    cleaner = Cleaner(DicomConfig(), source, out, KEYS)
    cleaner(Task(1, (paths[0].name,)))  # what is loaded once is not a film's
    cleaning, preparing, written = [], [], []
    for number, path in enumerate(paths, 1):
        began = time.process_time()
        (outcome,) = cleaner(Task(number, (path.name,)))
        cleaning.append(time.process_time() - began)
        if outcome.row is None:
            raise SystemExit(f"a film of {side} px was refused: {outcome.reason}")
        safe = out / "images" / outcome.row.path
        written.append(safe.stat().st_size)
        began = time.process_time()
        prepare_image(ImageFile(outcome.row.image_id, str(safe), outcome.row.view, ""), WORKING_SIZE, True)
        preparing.append(time.process_time() - began)
    clean, prepare = statistics.median(cleaning), statistics.median(preparing)
    return {
        "anonymize_cpu_seconds": round(clean, 3),
        "prepare_cpu_seconds": round(prepare, 3),
        "mb_in": round(statistics.mean(path.stat().st_size for path in paths) / 1e6, 2),
        "mb_out": round(statistics.mean(written) / 1e6, 2),
        "anonymize_films_an_hour": round(3600 / clean),
        "prepare_films_an_hour": round(3600 / prepare),
    }


def table_bytes(folder: Path, films: int) -> dict[str, float]:
    """Bytes a film in the index, and in the private plan, tables and states, of a run over small films."""
    source, out = folder / "in-tables", folder / "out-tables"
    source.mkdir()
    make_films(source, films, 160)
    run_dicom(DicomConfig(workers=1), source, out, KEYS, Console("quiet"))
    index = sum(path.stat().st_size for path in (out / "images" / "index").iterdir())
    private = sum(path.stat().st_size for path in (private_folder(out) / "dicom-progress").iterdir())
    return {"index_bytes_a_film": round(index / films), "private_bytes_a_film": round(private / films)}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1760, 2500])
    parser.add_argument("--films", type=int, default=6)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        found = {str(side): rates(Path(name), side, options.films) for side in options.sides}
        print(json.dumps({"by_side": found, **table_bytes(Path(name), 24)}))


if __name__ == "__main__":
    main()
