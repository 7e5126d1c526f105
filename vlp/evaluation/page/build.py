"""Puts what the stages of a run left on disk into one HTML page. A part whose files are absent is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from anonymize.config import load_config
from anonymize.console import UserError
from anonymize.files import read_json, write_text_atomic
from vlp.evaluation.page.charts import line_chart
from vlp.evaluation.page.corpus_part import corpus_part, png_uri
from vlp.evaluation.page.numbers import result_groups, subgroup_rows
from vlp.pipeline.config import RunConfig, StageConfig
from vlp.pipeline.runner import command_line

FOLDER = Path(__file__).parent


def build_page(run: Path) -> Path:
    """Write ``run/index.html`` from the run's folder and return its path.

    Raises:
        UserError: the folder is no run (it has no ``config.yaml``).
    """
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run}: no config.yaml there; give the folder of a run (vlp run ... --out {run})")
    config = load_config(RunConfig, run / "config.yaml")
    stages = {name: stage for name, stage in config.stages.items() if stage.enabled}
    metrics = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else {}
    content = {
        "title": config.title,
        "phantom": config.data.startswith("phantom"),
        "corpus": corpus_part(_outs(stages, run, "prepare"), _outs(stages, run, "reports", "dicom", "table")),
        "curves": [c for c in (_curves(name, stage.out(run)) for name, stage in stages.items()) if c],
        "attention": _attention(_outs(stages, run, "evaluate")),
        "groups": result_groups(metrics.get("results", [])),
        "subgroups": subgroup_rows(metrics.get("results", [])),
        "retrieval": _retrieval(_outs(stages, run, "evaluate")),
        "generated": _generated(_outs(stages, run, "finetune")),
        "stages": metrics.get("stages", []),
        "versions": metrics.get("versions", {}),
        "fingerprints": metrics.get("fingerprints", {}),
        "commands": [command_line(stage, Path(run.name)) for stage in stages.values()],
    }
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = run / "index.html"
    write_text_atomic(page, environment.get_template("template.html.j2").render(content))
    return page


def _outs(stages: dict[str, StageConfig], run: Path, *subcommands: str) -> list[Path]:
    """Output folders of the stages that run one of the subcommands, each once."""
    found = [s.out(run) for s in stages.values() if s.command.split()[1] in subcommands]
    return list(dict.fromkeys(path for path in found if path.is_dir()))


def _curves(name: str, out: Path) -> dict[str, Any] | None:
    """The training curves of one stage from its ``log.jsonl``."""
    path = out / "log.jsonl"
    if not path.is_file():
        return None
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if (key == "loss" or key.startswith("loss_")) and isinstance(value, int | float):
                series.setdefault(key, []).append((row["step"], value))
    chart = line_chart(series, "step", "loss")
    return {"name": name, "chart": chart} if chart else None


def _attention(outs: list[Path]) -> list[dict[str, str]]:
    files = [f for out in outs for f in sorted((out / "attention").glob("*.png"))]
    return [{"name": f.stem.replace("_", " "), "uri": png_uri(f.read_bytes())} for f in files[:8]]


def _retrieval(outs: list[Path]) -> list[dict[str, Any]]:
    found = [out / "retrieval_examples.json" for out in outs]
    return [example for path in found if path.is_file() for example in read_json(path)][:6]


def _generated(outs: list[Path]) -> list[dict[str, Any]]:
    found = [out / "examples.json" for out in outs]
    return [example for path in found if path.is_file() for example in read_json(path)][:6]
