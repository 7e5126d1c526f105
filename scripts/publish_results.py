"""Write docs/results.json and docs/results.md from the metrics of finished runs.

    python scripts/publish_results.py runs/demo="make demo" runs/real-open="make real-open"

Each argument is RUN=COMMAND: the folder of a run and the command that made it. Results of a run replace those of the same
title; others stay. --section TITLE=FILE adds a section whose Markdown a benchmark wrote, such as benchmarks/ablation.py.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from anonymize.files import read_json, write_json, write_text_atomic
from vlp.evaluation.page.numbers import CHANCE

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = """# Measured results

Made by `python scripts/publish_results.py` from the runs' `metrics.json`; the source of this page is
[results.json](results.json). Every value has its 95 % interval (bootstrap over patients) and its n. **Scores on phantoms say
that the path works, and nothing clinical.** Subgroup rows are in results.json.
"""


def merge(runs: dict[Path, str], sections: dict[str, str]) -> dict[str, Any]:
    """The project's results: those published before, with the given runs and sections in place of older ones of the
    same title."""
    path = DOCS / "results.json"
    found = read_json(path) if path.is_file() else {"results": [], "stages": [], "versions": {}, "runs": {}}
    for run, command in runs.items():
        metrics = read_json(run / "metrics.json")
        title = metrics["title"]
        for key in ("results", "stages"):
            found[key] = [row for row in found[key] if row.get("run") != title]
            found[key] += [{**row, "run": title} for row in metrics[key]]
        found["versions"] = metrics["versions"]
        pairs = [
            {"stage": path.parent.name, **row}
            for path in sorted(run.glob("*/comparisons.json"))
            for row in read_json(path)
        ]
        about = {"command": command, "data": metrics["data"], "fingerprints": metrics["fingerprints"]}
        found["runs"][title] = {**about, "comparisons": pairs}
    found["sections"] = {**found.get("sections", {}), **sections}
    return found


def page(found: dict[str, Any]) -> str:
    """The Markdown page: a section a run, a table a task."""
    titles = [*found["runs"], *found.get("sections", {})]
    parts = [HEAD, *(f"* [{title}](#{_anchor(title)})" for title in titles)]
    for title, about in found["runs"].items():
        parts.append(f"\n## {title}\n\nCommand: `{about['command']}`\n")
        stages = [row for row in found["stages"] if row["run"] == title]
        seconds = sum(row["seconds"] for row in stages)
        peak = max((row["peak_memory_mb"] for row in stages), default=0)
        parts.append(f"All stages: {seconds:.0f} s, at most {peak:.0f} MB.\n")
        if about["comparisons"]:
            parts.append("\nPaired differences of protocols on the same test patients, mean over the seeds:\n")
            parts.append("| stage | difference | labels | metric | value | 95 % interval | p | seeds | n |")
            parts.append("|---|---|---:|---|---:|---|---:|---:|---:|")
            parts += [_pair(row) for row in about["comparisons"]]
        grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in found["results"]:
            if row["run"] == title and "/" not in row["data"]:
                grouped[row["task"]].append(row)
        for task, rows in grouped.items():
            parts.append(f"\n### {task.replace('_', ' ')}\n")
            parts.append("| metric | protocol | model | labels | value | 95 % interval | n | seed | remark |")
            parts.append("|---|---|---|---:|---:|---|---:|---:|---|")
            parts += [_line(row) for row in rows]
    parts += [f"\n## {title}\n\n{text}" for title, text in found.get("sections", {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n".join([*parts, f"\nVersions: {versions}.\n"])


def _anchor(title: str) -> str:
    """What a link to the heading ``title`` of a Markdown page needs."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _pair(row: dict[str, Any]) -> str:
    number = ["–" if row[key] is None else f"{row[key]:+.3g}" for key in ("value", "low", "high")]
    p = "–" if row["p"] is None else f"{row['p']:.3g}"
    cells = [
        row["stage"],
        f"{row['a']} - {row['b']}",
        f"{row['labels']:.0%}",
        row["metric"],
        number[0],
        f"{number[1]} to {number[2]}",
        p,
        len(row["seeds"]),
        row["n"],
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _line(row: dict[str, Any]) -> str:
    low, high, chance = row["low"], row["high"], CHANCE.get(row["metric"])
    interval = "not enough data" if low is None else f"{low:.3g} to {high:.3g}"
    near = "not better than chance" if chance is not None and low is not None and low <= chance <= high else ""
    value = "–" if row["value"] is None else f"{row['value']:.3g}"
    cells = [
        row["metric"],
        row["protocol"],
        row["model"],
        f"{row['labels']:.0%}",
        value,
        interval,
        row["n"],
        row["seed"],
        near,
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN=COMMAND")
    parser.add_argument("--section", action="append", default=[], metavar="TITLE=FILE")
    options = parser.parse_args()
    runs = {}
    for item in options.runs:
        folder, _, command = item.partition("=")
        runs[Path(folder)] = command or f"vlp run ... --out {folder}"
    sections = {}
    for item in options.section:
        title, _, file = item.partition("=")
        sections[title] = Path(file).read_text(encoding="utf-8")
    found = merge(runs, sections)
    write_json(DOCS / "results.json", found)
    write_text_atomic(DOCS / "results.md", page(found))


if __name__ == "__main__":
    main()
