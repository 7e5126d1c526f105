"""What ``vlp evaluate`` and ``vlp finetune`` print: the rest of the summary, then the numbers in 80 columns."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from anonymize.console import Console


def show(summary: dict[str, Any], console: Console) -> None:
    """Print ``summary`` (all of it in JSON mode); its ``results`` as one table a task and model."""
    if console.mode != "pretty":
        console.result(summary)
        return
    plain = {k: v for k, v in summary.items() if k not in ("results", "comparisons") and v not in ([], {}, None)}
    console.result({k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in plain.items()})
    out = RichConsole(highlight=False)
    rows = sorted(summary["results"], key=lambda r: (r["task"], r["model"]))
    for (task, model), group in groupby(rows, key=lambda r: (r["task"], r["model"])):
        found = list(group)
        table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
        for justify in ("left", "right", "left", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for row in found:
            labels = f"{row['labels']:.0%}" if row["labels"] else ""
            known = row["low"] == row["low"]
            interval = f"[{_number(row['low'])}, {_number(row['high'])}]" if known else "not enough data"
            table.add_row(row["protocol"], labels, row["metric"], _number(row["value"]), interval)
        out.print(
            f"\n{task}, {model} (n = {', '.join(dict.fromkeys(str(r['n']) for r in found))})",
            markup=False,
            style="bold",
        )
        out.print(table, markup=False)
    for row in summary.get("comparisons", []):
        if row["low"] is not None:
            share = f"{row['labels']:.0%} of the labels, {len(row['seeds'])} seed(s)"
            interval = f"[{row['low']:+.3f}, {row['high']:+.3f}]"
            console.note(
                f"{row['a']} - {row['b']}, {share}: {row['metric']} {row['value']:+.3f} {interval}, p = {row['p']:.3g}"
            )


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"
