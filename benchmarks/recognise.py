"""How well ``vlp prepare`` names anatomies by the look of the images, on a corpus whose anatomies are known.

    python benchmarks/recognise.py CORPUS [--hidden 0.3] [--wrong 0.05] [--seed 0] [--header] [--quick] [--json]

A part of the patients loses its anatomies, another part of the studies gets a wrong one, as if from a header; then the
classifier of the preparation runs as it does there. Reported with 95 % Wilson intervals: hidden studies named, and named
right; wrong ones flagged, and right ones flagged. ``never_known``: one anatomy at a time is hidden altogether; the share
of its studies that gets another's name is what a user risks whose reports never name a body part.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from anonymize.files import read_rows
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.decoded import DecodedRow
from vlp.corpus.pair_day import neighbours
from vlp.corpus.recognise import TABLE, recognise
from vlp.corpus.source import ImageFile, PlannedStudy


def wilson(right: int, n: int) -> list[float]:
    """Share and its 95 % interval."""
    if not n:
        return [0.0, 0.0, 1.0]
    p, z = right / n, 1.96
    centre, half = p + z * z / (2 * n), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
    return [round(v, 4) for v in (p, (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))]


def planned(corpus: Corpus) -> list[PlannedStudy]:
    return [
        PlannedStudy(
            s.study_id,
            s.patient_id,
            s.anatomy,
            tuple(ImageFile(i.image_id, "", i.view, i.laterality) for i in s.images),
            anatomy_source=s.anatomy_source or "table",
        )
        for s in corpus.studies
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--hidden", type=float, default=0.3)
    parser.add_argument("--wrong", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--header", action="store_true", help="all anatomies as if from headers alone")
    parser.add_argument("--quick", action="store_true", help="without never_known")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    corpus = Corpus.open(args.corpus)
    decoded = {row["image_id"]: DecodedRow(**row) for row in read_rows(args.corpus / "decoded")}
    config, truth = PrepareConfig(workers=1), planned(corpus)
    if args.header:
        truth = [dataclasses.replace(s, anatomy_source="header") for s in truth]
    chance = random.Random(args.seed)
    patients = sorted({s.patient_id for s in truth})
    hidden = set(chance.sample(patients, round(args.hidden * len(patients))))
    names = sorted({s.anatomy for s in truth} - {"unknown"})
    given, wrong = [], set()
    for study in truth:
        if study.patient_id in hidden:
            given.append(dataclasses.replace(study, anatomy="unknown"))
        elif chance.random() < args.wrong:
            other = chance.choice([n for n in names if not neighbours(n, study.anatomy)] or names)
            given.append(dataclasses.replace(study, anatomy=other, anatomy_source="header"))
            wrong.add(study.study_id)
        else:
            given.append(study)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "images").symlink_to((args.corpus / "images").resolve())

        def run(studies: list[PlannedStudy]) -> tuple[list[PlannedStudy], dict[str, Any], dict[str, str]]:
            filled, summary = recognise(studies, decoded, set(), out, config)
            return filled, summary, {row["image_id"]: row["flags"] for row in read_rows(out / TABLE)}

        filled, summary, flagged = run(given)
        result: dict[str, Any] = {"classifier": summary["anatomy"], "flags": summary["flags"]}
        pairs = [
            (a, b) for a, b in zip(truth, filled, strict=True) if a.patient_id in hidden and a.anatomy != "unknown"
        ]
        named = [(a, b) for a, b in pairs if b.anatomy != "unknown"]
        result["hidden_named"] = [len(pairs), *wilson(len(named), len(pairs))]
        result["named_right"] = [len(named), *wilson(sum(a.anatomy == b.anatomy for a, b in named), len(named))]
        misnamed = Counter(f"{a.anatomy} as {b.anatomy}" for a, b in named if a.anatomy != b.anatomy)
        result["misnamed"] = dict(misnamed.most_common())
        odd = {s.study_id for s in given if any("other_anatomy" in flagged[i.image_id] for i in s.images)}
        known = [s.study_id for s in given if s.anatomy != "unknown" and s.study_id not in wrong]
        result["wrong_flagged"] = [len(wrong), *wilson(len(odd & wrong), len(wrong))]
        result["right_flagged"] = [len(known), *wilson(len(odd & set(known)), len(known))]
        result["never_known"] = {}
        for name in names if not args.quick else ():
            lost = [dataclasses.replace(s, anatomy="unknown") if s.anatomy == name else s for s in truth]
            filled, summary, _ = run(lost)
            got = [b.anatomy for a, b in zip(truth, filled, strict=True) if a.anatomy == name]
            result["never_known"][name] = {"n": len(got), **Counter(got)}
    if args.json:
        print(json.dumps(result))
        return
    for title, value in result.items():
        print(f"{title}: {value}")


if __name__ == "__main__":
    main()
