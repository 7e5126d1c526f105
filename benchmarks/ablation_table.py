"""The ablation's runs as numbers with intervals, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlp.evaluation.intervals import paired_difference
from vlp.evaluation.metrics import METRICS, Floats, Metric

QUESTIONS = {
    "a": ("DINO before the alignment", ("zero_shot", "linear_1%", "linear_10%")),
    "b": (
        "Several positives where 40 % of the reports are templates",
        ("zero_shot", "linear_1%", "linear_10%", "recall_at_10_image_to_text", "recall_at_10_text_to_image"),
    ),
    "c": (
        "A report against its negation",
        (
            *("true_over_false_statement", "true_over_false_statement_without_image", "image_decides_statement"),
            *("true_over_false_report", "true_over_false_report_without_image", "image_decides_report"),
            *("true_over_false_statement_all", "true_over_false_report_all", "zero_shot"),
        ),
    ),
    "d": (
        "Words against patches",
        ("pointing", "pointing_contrast", "pointing_chance", "pointing_centre", "zero_shot"),
    ),
}
"""Title and columns of each question's table."""
NAMES = {
    "zero_shot": "zero-shot AUROC",
    "linear_1%": "probe 1 %, AUROC",
    "linear_10%": "probe 10 %, AUROC",
    "recall_at_10_image_to_text": "recall@10, image to text",
    "recall_at_10_text_to_image": "recall@10, text to image",
    "true_over_false_report": "report",
    "true_over_false_report_without_image": "report, without the image",
    "true_over_false_report_all": "report, also of what no film shows",
    "true_over_false_statement": "statement",
    "true_over_false_statement_without_image": "statement, without the image",
    "true_over_false_statement_all": "statement, also of what no film shows",
    "image_decides_report": "report, the image decides",
    "image_decides_statement": "statement, the image decides",
    "pointing": "pointing game",
    "pointing_contrast": "prompt minus its negation",
    "pointing_chance": "chance",
    "pointing_centre": "middle of the image",
}


@dataclass(frozen=True)
class Claim:
    """That variant ``better`` has a higher ``measure`` than ``worse``; of ``worse`` the measure + ``ending`` is taken."""

    question: str
    better: str
    worse: str
    measure: str
    ending: str = ""


def macro_auroc() -> Metric:
    """The mean of the AUROCs of the groups; columns: group [n] (whole numbers), target 0/1, score."""
    auroc = METRICS["auroc"]

    def value(group: Floats, target: Floats, score: Floats) -> float:
        parts = [group == g for g in np.unique(group)]
        return float(np.mean([auroc.value(target[own], score[own]) for own in parts]))

    def weighted(weights: Floats, group: Floats, target: Floats, score: Floats) -> Floats:
        parts = [group == g for g in np.unique(group)]
        return np.mean([auroc.weighted(weights[:, own], target[own], score[own]) for own in parts], axis=0)

    return Metric("macro_auroc", "binary", True, value, weighted)


def average() -> Metric:
    """The mean of one score a row."""
    return METRICS["rouge_l"]


def columns(rows: dict[str, Any]) -> list[list[np.ndarray]]:
    """The columns of each run of one measure."""
    scores = [np.asarray(run, float) for run in rows["runs"]]
    if rows["target"] is None:
        return [[score] for score in scores]
    groups = np.unique(np.asarray(rows["groups"]), return_inverse=True)[1].astype(float)
    return [[groups, np.asarray(rows["target"], float), score] for score in scores]


def summarise(runs: dict[str, dict[int, Any]], claims: Sequence[Claim]) -> dict[str, Any]:
    """Values of every variant by seed and by group, and the differences that the claims name.

    ``runs``: by variant and seed, what the benchmark stored.
    """
    variants = {}
    for name, seeds in runs.items():
        measures = sorted({measure for run in seeds.values() for measure in run["rows"]})
        variants[name] = {
            "seeds": sorted(seeds),
            "cpu_seconds": [seeds[seed]["cpu_seconds"] for seed in sorted(seeds)],
            "measures": {
                m: _values([run["rows"][m] for _, run in sorted(seeds.items()) if m in run["rows"]]) for m in measures
            },
        }
    return {"variants": variants, "claims": [found for claim in claims if (found := _claim(runs, claim))]}


def _values(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    metric = average() if seeds[0]["target"] is None else macro_auroc()
    each = [float(np.mean([metric.value(*run) for run in columns(rows)])) for rows in seeds]
    groups = {}
    for name in sorted(set(seeds[0]["groups"])):
        parts = [_group(rows, name) for rows in seeds]
        values = [float(np.mean([metric.value(*run) for run in columns(part)])) for part in parts]
        groups[name] = {"n": len(parts[0]["patients"]), "mean": float(np.mean(values))}
    return {
        "n": len(seeds[0]["patients"]),
        "patients": len(set(seeds[0]["patients"])),
        "by_seed": each,
        "mean": float(np.mean(each)),
        "groups": groups,
    }


def _group(rows: dict[str, Any], name: str) -> dict[str, Any]:
    own = [i for i, group in enumerate(rows["groups"]) if group == name]
    picked: dict[str, Any] = {key: [rows[key][i] for i in own] for key in ("patients", "groups")}
    picked["target"] = None if rows["target"] is None else [rows["target"][i] for i in own]
    picked["runs"] = [[run[i] for i in own] for run in rows["runs"]]
    return picked


def _having(runs: dict[int, Any], measure: str) -> set[int]:
    """Seeds whose runs hold ``measure``."""
    return {seed for seed, run in runs.items() if measure in run["rows"]}


def _claim(runs: dict[str, dict[int, Any]], claim: Claim) -> dict[str, Any] | None:
    other = claim.measure + claim.ending
    sides = ((claim.better, claim.measure), (claim.worse, other))
    common = sorted(set.intersection(*(_having(runs.get(name, {}), measure) for name, measure in sides)))
    if not common:
        return None
    better = [runs[claim.better][seed]["rows"][claim.measure] for seed in common]
    worse = [runs[claim.worse][seed]["rows"][other] for seed in common]
    metric = average() if better[0]["target"] is None else macro_auroc()
    found = paired_difference(
        metric,
        [run for rows in better for run in columns(rows)],
        [run for rows in worse for run in columns(rows)],
        better[0]["patients"],
    )
    by_seed = [
        float(np.mean([metric.value(*run) for run in columns(a)]) - np.mean([metric.value(*run) for run in columns(b)]))
        for a, b in zip(better, worse, strict=True)
    ]
    return {**vars(claim), **vars(found), "seeds": common, "by_seed": by_seed}


def tables(summary: dict[str, Any], about: dict[str, str]) -> str:
    """For each question a table of the variants that it compares (``about`` says what they are), and its differences."""
    parts: list[str] = []
    for question, (title, measures) in QUESTIONS.items():
        claims = [row for row in summary["claims"] if row["question"] == question]
        compared = {row[side] for row in claims for side in ("better", "worse")}
        shown = {name: found for name, found in summary["variants"].items() if name in compared}
        if not claims:
            continue
        parts += [f"### {title}", "", "Means over seeds, each seed in brackets:", ""]
        parts.append("| variant | what it is | CPU s | " + " | ".join(NAMES[name] for name in measures) + " |")
        parts.append("|---|---|---:|" + "---:|" * len(measures))
        for name, found in shown.items():
            cells = [_cell(found["measures"].get(measure)) for measure in measures]
            seconds = f"{np.mean(found['cpu_seconds']):.0f}"
            parts.append(f"| {name} | {about[name]} | {seconds} | " + " | ".join(cells) + " |")
        parts += ["", "| difference | measure | value | 95 % interval | by seed | p | n, patients |"]
        parts.append("|---|---|---:|---|---|---:|---:|")
        parts += [_line(row) for row in claims]
        parts.append("")
    return "\n".join(parts)


def _line(row: dict[str, Any]) -> str:
    against = row["worse"] if not row["ending"] else NAMES[row["measure"] + row["ending"]]
    seeds = ", ".join(f"{value:+.3f}" for value in row["by_seed"])
    return (
        f"| {row['better']} - {against} | {NAMES[row['measure']]} | {row['value']:+.3f} "
        f"| {row['low']:+.3f} to {row['high']:+.3f} | {seeds} | {row['p']:.3g} | {row['n']}, {row['patients']} |"
    )


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.3f} ({', '.join(f'{value:.3f}' for value in found['by_seed'])})"
