"""The result rows as the page shows them: grouped by task, with words where a number is near chance."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from vlp.evaluation.page.charts import interval_bar

# chance level and axis of the metrics that have one
CHANCE = {"auroc": 0.5, "quadratic_kappa": 0.0, "median_rank_percent": 50.0}
AXES = {
    "auroc": (0.4, 1.0),
    "quadratic_kappa": (-0.1, 1.0),
    "median_rank_percent": (0.0, 50.0),
}
LOWER_IS_BETTER = ("mad_months", "median_rank", "median_rank_percent")
FRACTIONS = ("auroc", "auprc", "accuracy", "quadratic_kappa", "bleu_4", "rouge_l")


def result_groups(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group a task and metric, without the subgroup rows; the best row first within a metric."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in results:
        if "/" not in row["data"]:
            grouped[row["task"], row["metric"]].append(row)
    return [
        {"task": task.replace("_", " "), "metric": metric.replace("_", " "), "rows": _shown(metric, rows)}
        for (task, metric), rows in grouped.items()
    ]


def subgroup_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of subgroups (``data`` = ``phantom/sex=F``) with their group in words."""
    rows = [row for row in results if "/" in row["data"]]
    return [
        {**_row(row["metric"], row, None), "group": row["data"].partition("/")[2].replace("=", " ")}
        for row in sorted(rows, key=lambda r: (r["task"], r["metric"], r["protocol"], r["model"], r["data"]))
    ]


def _shown(metric: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values = [v for r in rows for v in (r["low"], r["high"], r["value"]) if v is not None]
    axis = AXES.get(metric) or ((0.0, 1.0) if _is_fraction(metric) else (0.0, max(values, default=1.0) or 1.0))
    sign = 1 if metric in LOWER_IS_BETTER else -1
    ordered = sorted(rows, key=lambda r: math.inf if r["value"] is None else sign * r["value"])
    return [_row(metric, row, axis) for row in ordered]


def _row(metric: str, row: dict[str, Any], axis: tuple[float, float] | None) -> dict[str, Any]:
    value, low, high = (math.nan if row[k] is None else row[k] for k in ("value", "low", "high"))
    chance = CHANCE.get(metric)
    return {
        **row,
        "task": row["task"].replace("_", " "),
        "metric": metric.replace("_", " "),
        "shown": _number(value, metric),
        "interval": f"{_number(low, metric)} – {_number(high, metric)}" if math.isfinite(low) else "not enough data",
        "labels_shown": f"{row['labels']:.0%}" if row["labels"] else "none",
        "remark": _remark(metric, low, high, chance),
        "bar": interval_bar(value, low, high, axis, chance) if axis else "",
    }


def _remark(metric: str, low: float, high: float, chance: float | None) -> str:
    if chance is None or not math.isfinite(low):
        return ""
    if low <= chance <= high:
        return "not better than chance: the interval holds the chance level"
    worse = low > chance if metric in LOWER_IS_BETTER else high < chance
    return "worse than chance: all of the interval lies on the wrong side of it" if worse else ""


def _is_fraction(metric: str) -> bool:
    return metric in FRACTIONS or metric.startswith(("recall_at", "label_f1"))


def _number(value: float, metric: str) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if _is_fraction(metric) else f"{value:.1f}"
