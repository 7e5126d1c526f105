"""F1 of the mined labels on the truth of a synthetic hospital, and the speed of the mining.

    vlp phantom --out HOSPITAL --patients 300 --language fr
    python benchmarks/labels.py HOSPITAL [--errors 20]

For each label that the truth knows: a study counts as predicted where the report says present. What a report does not
name counts as absent, as in the truth, unless --named is given, which leaves those studies out.
The grades of the truth are those of the reader, because the report can only hold what was read.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from anonymize.files import read_rows
from anonymize.labels.miner import miner
from anonymize.labels.row import Value

LABELS = ("fracture", "effusion", "consolidation", "cardiomegaly", "pneumothorax", "cast", "hardware", "abnormal")


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hospital", type=Path)
    parser.add_argument("--named", action="store_true", help="score only studies whose report names the label")
    parser.add_argument("--errors", type=int, default=0, help="show so many errors with their report")
    options = parser.parse_args()
    studies = {row["accession"]: row for row in read_rows(options.hospital / "truth" / "studies.parquet")}
    reports = read_rows(options.hospital / "truth" / "reports.parquet")
    began = time.process_time()
    read = [miner(report["language"]).read(report["text"]) for report in reports]
    seconds = time.process_time() - began
    out: dict[str, Any] = {"reports": len(reports), "reports_per_cpu_second": round(len(reports) / seconds, 1)}
    shown = 0
    for label in LABELS:
        pairs: list[tuple[bool, bool]] = []
        lenient: list[tuple[bool, bool]] = []
        for report, mentions in zip(reports, read, strict=True):
            truth = studies[report["accession"]][label]
            value = mentions[label].value if label in mentions else Value.NOT_MENTIONED
            if truth is None or (options.named and value is Value.NOT_MENTIONED):
                continue
            pairs.append((truth >= 0.5, value is Value.PRESENT))
            lenient.append((truth >= 0.5, value in (Value.PRESENT, Value.UNCERTAIN)))
            if (truth >= 0.5) != (value is Value.PRESENT) and shown < options.errors:
                shown += 1
                print("-" * 80, label, "truth", truth, "read", value, report["text"], sep="\n")
        out[label] = scores(np.asarray(pairs, dtype=int).reshape(-1, 2))
        out[label]["f1_uncertain_as_present"] = scores(np.asarray(lenient, dtype=int).reshape(-1, 2)).get("f1")
    graded = [
        (studies[report["accession"]]["kl_read"], mentions["kl_grade"].grade)
        for report, mentions in zip(reports, read, strict=True)
        if studies[report["accession"]]["kl_read"] is not None and "kl_grade" in mentions
    ]
    out["kl_grade"] = {"n": len(graded), "right": sum(a == b for a, b in graded)}
    print(json.dumps(out, indent=1))


def scores(pairs: np.ndarray, draws: int = 1000) -> dict[str, Any]:
    """Precision, recall and F1 of (truth, read) pairs [n, 2] with a 95 % bootstrap interval of F1."""
    if not len(pairs):
        return {"n": 0}

    def ratio(part: np.ndarray) -> tuple[float, float, float]:
        hit = int((part[:, 0] & part[:, 1]).sum())
        wanted, found = int(part[:, 0].sum()), int(part[:, 1].sum())
        nan = float("nan")
        f1 = 2 * hit / (wanted + found) if wanted + found else nan
        return (hit / found if found else nan, hit / wanted if wanted else nan, f1)

    rng = np.random.default_rng(0)
    f1s = [ratio(pairs[rng.integers(0, len(pairs), len(pairs))])[2] for _ in range(draws)]
    low, high = np.nanpercentile(f1s, [2.5, 97.5])
    precision, recall, f1 = (round(value, 4) for value in ratio(pairs))
    return {
        "n": len(pairs),
        "positive": int(pairs[:, 0].sum()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "f1_low": round(float(low), 4),
        "f1_high": round(float(high), 4),
    }


if __name__ == "__main__":
    main()
