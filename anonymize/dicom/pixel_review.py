"""Records of what was found in the pixels, and the page on which a person decides the doubtful ones.

In the private folder: per shard its records (places and scores, no text; merged into SAFE/dicom/pixels) and
pixel-review/crops/<image_id>-<n>.png. At the end of a run: pixel-review/index.html, and decisions.csv
(``image_id,decision``; decision is keep, mask or empty), which the next run reads.
"""

from __future__ import annotations

import csv
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from anonymize.console import UserError
from anonymize.dicom.judge import Decision, Judgement
from anonymize.files import open_atomic, read_rows, write_bytes_atomic, write_text_atomic
from anonymize.keys import private_folder

FOLDER = "pixel-review"
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Doubtful text in pixels</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style>body{font:15px sans-serif;margin:2em auto;padding:0 1em;max-width:80em;background:#222;color:#eee}
main{display:flex;flex-wrap:wrap;gap:1em;align-items:start}figure{margin:0;padding:.6em;background:#333;max-width:40em;
box-sizing:border-box}img{display:block;max-width:100%;min-width:min(20em,100%);image-rendering:pixelated}
figcaption{margin-top:.4em;line-height:1.4}code{user-select:all}</style><h1>Doubtful text in pixels</h1>
"""


def read_decisions(out: Path) -> dict[str, Decision]:
    """What a person wrote into decisions.csv; empty where there is none.

    Raises:
        UserError: a decision is neither keep nor mask nor empty, or a column is missing.
    """
    path = private_folder(out, create=False) / FOLDER / "decisions.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if not {"image_id", "decision"} <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: the first line must be image_id,decision")
        found: dict[str, Decision] = {}
        for number, row in enumerate(reader, start=2):
            decision = (row["decision"] or "").strip().casefold()
            if decision not in ("", "keep", "mask"):
                raise UserError(f"{path}, line {number}: write keep, mask or nothing")
            if decision:
                found[row["image_id"].strip()] = cast(Decision, decision)
    return found


def write_crops(out: Path, judged: Iterable[Judgement]) -> None:
    """Write the crops of the doubtful regions into the private folder."""
    crops = private_folder(out) / FOLDER / "crops"
    for one in judged:
        for number, crop in enumerate(one.crops):
            write_bytes_atomic(crops / f"{one.record.image_id}-{number}.png", crop, permissions=0o600)


def settled(records: Path, decisions: Mapping[str, Decision]) -> bool:
    """Whether a shard's records follow the decisions as they are now."""
    rows = read_rows(records, ["image_id", "decision", "regions"])
    return all(
        row["decision"] == decisions.get(row["image_id"], "")
        for row in rows
        if any(region["doubtful"] for region in row["regions"])
    )


def assemble(out: Path, records: Sequence[Path], decisions: Mapping[str, Decision], lost: npt.NDArray[np.int64]) -> int:
    """Write the page and decisions.csv of all shards, and drop crops that belong to no image any more.

    ``decisions`` of images that this source does not hold stay in the list.

    Args:
        records: of the shards, in order.
        lost: positions of files whose instance another file holds already.

    Returns:
        how many images have doubtful regions that nobody has decided.
    """
    folder = private_folder(out) / FOLDER
    gone = set(lost.tolist())
    rows = [
        row
        for path in records
        for row in read_rows(path)
        if row["position"] not in gone and any(region["doubtful"] for region in row["regions"])
    ]
    if not rows and not folder.is_dir():
        return 0
    rows.sort(key=lambda row: row["image_id"])
    kept: set[str] = set()
    parts = [
        _HEAD,
        f"<p>{len(rows)} image{'s' * (len(rows) != 1)}. Beside each in <code>decisions.csv</code>, write <b>keep</b> (its "
        "places stay as they are) or <b>mask</b> (they become black), and run the same command again.</p>\n<main>\n",
    ]
    for row in rows:
        doubtful = [region for region in row["regions"] if region["doubtful"]]
        for number, region in enumerate(doubtful):
            name = f"{row['image_id']}-{number}.png"
            kept.add(name)
            said = row["decision"] or ("masked for now" if region["filled"] else "left for now")
            place = f"columns {region['x0']}–{region['x1']}, rows {region['y0']}–{region['y1']}"
            caption = f"<code>{html.escape(row['image_id'])}</code>: {said}<br>{place} of the film, score {region['score']:.2f}"
            picture = f'<img src="crops/{name}" alt="part of the film">'
            parts.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>\n")
    for path in sorted((folder / "crops").glob("*.png")) if (folder / "crops").is_dir() else []:
        if path.name not in kept:
            path.unlink()
    write_text_atomic(folder / "index.html", "".join([*parts, "</main>\n"]), permissions=0o600)
    with open_atomic(folder / "decisions.csv", "w", permissions=0o600) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image_id", "decision"])
        listed = {**decisions, **{row["image_id"]: row["decision"] for row in rows}}
        writer.writerows(sorted(listed.items()))
    return sum(not row["decision"] for row in rows)
