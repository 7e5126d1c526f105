"""What the last step of ``anonymize dicom`` costs: the merge of many shards, without the images themselves.

    python benchmarks/dicom_merge.py [--rows 200000] [--duplicates 0.01]

Writes shards' own tables of 512 made-up rows each, a share of them duplicates, and times the three passes of
:mod:`anonymize.dicom.merge`. Prints one JSON object: CPU seconds of each pass, bytes of the index, peak memory above that
before.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from anonymize.dicom import merge
from anonymize.dicom.stores import IMAGES
from anonymize.files import write_table
from anonymize.keys import Keys

KEYS = Keys(b"a secret of thirty-two bytes here")
SHARD = 512


def make_tables(folder: Path, rows: int, duplicates: float) -> list[Path]:
    """The shards' own tables; every ``1 / duplicates``-th row repeats an earlier one, bytes and all."""
    blank = {field.name: "" if str(field.type) == "string" else 1 for field in IMAGES.schema}
    every = round(1 / duplicates) if duplicates else rows + 1
    paths = []
    for shard in range(-(-rows // SHARD)):
        found = []
        for position in range(shard * SHARD + 1, min(rows, (shard + 1) * SHARD) + 1):
            number = position // 2 if position % every == 0 else position
            image, patient, study = (KEYS.pseudonym(kind, str(number)) for kind in ("image", "patient", "study"))
            texts = {
                "modality": "DX",
                "body_part": "KNEE",
                "view": "AP",
                "photometric": "MONOCHROME2",
                "burned_in": "none",
            }
            keys = {"image_id": image, "patient": patient, "study": study, "path": f"{patient}/{study}/{image}.dcm"}
            found.append({**blank, **texts, **keys, "position": position, "digest": image.lower().ljust(32, "0")})
        paths.append(folder / f"shard-{shard:05d}.parquet")
        write_table(paths[-1], found, IMAGES.table)
    return paths


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--duplicates", type=float, default=0.01)
    options = parser.parse_args()
    result: dict[str, Any] = {"rows": options.rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = make_tables(folder / "tables", options.rows, options.duplicates)
        (folder / "images").mkdir()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def timed(what: str, began: float) -> None:
            result[f"{what}_cpu_seconds"] = round(time.process_time() - began, 1)

        began = time.process_time()
        lost = merge.losers(IMAGES, tables, folder / "images", lambda positions: None)
        timed("duplicates", began)
        began = time.process_time()
        counts = merge.write_index(IMAGES, tables, folder / "images" / "index", lost)
        timed("index", began)
        began = time.process_time()
        merge.sweep(IMAGES, tables, folder / "images", lost)
        timed("keys", began)
        result |= {
            "duplicates": len(lost),
            "written": counts.total(),
            "index_bytes": sum(path.stat().st_size for path in (folder / "images" / "index").iterdir()),
            "peak_mb_above_start": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
