"""Does one protocol beat another? Paired bootstrap over the same test patients, averaged over the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vlp.evaluation.intervals import paired_difference
from vlp.evaluation.metrics import METRICS
from vlp.tasks.predictions import Predictions
from vlp.tasks.task import Task


def compare_protocols(task: Task, predictions: Sequence[Predictions], resamples: int) -> list[dict[str, Any]]:
    """Every protocol against ``scratch`` at each fraction of labels, by the metric that the task selects by.

    The seeds that both have are compared; a positive ``value`` is a larger metric, ``better`` says whether that is good
    and the interval excludes 0.
    """
    metric = METRICS[task.selects]
    found: dict[tuple[str, float], dict[int, Predictions]] = {}
    for p in predictions:
        found.setdefault((p.protocol, p.labels), {})[p.seed] = p
    rows = []
    for (protocol, labels), runs in found.items():
        base = found.get(("scratch", labels), {})
        seeds = sorted(set(runs) & set(base))
        if protocol == "scratch" or not seeds:
            continue
        difference = paired_difference(
            metric,
            [runs[s].columns() for s in seeds],
            [base[s].columns() for s in seeds],
            runs[seeds[0]].patients,
            resamples=resamples,
        )
        sign = 1 if metric.higher_is_better else -1
        better = bool(sign * difference.low > 0 and sign * difference.high > 0)
        plain = {k: v if not isinstance(v, float) or np.isfinite(v) else None for k, v in asdict(difference).items()}
        rows.append(
            {
                "a": protocol,
                "b": "scratch",
                "labels": labels,
                "metric": metric.name,
                "seeds": seeds,
                **plain,
                "better": better,
            }
        )
    return rows
