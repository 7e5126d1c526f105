"""Gathers what the stages measured into the run's ``metrics.json``."""

from __future__ import annotations

from pathlib import Path

from anonymize.files import read_json
from vlp.evaluation.results import Result, Stage, library_versions, read_metrics, write_metrics
from vlp.pipeline.config import RunConfig


def collect_metrics(config: RunConfig, run: Path, stages: list[Stage]) -> Path:
    """Write ``run/metrics.json`` from the ``metrics.json`` of the stages' output folders; returns its path."""
    results: list[Result] = []
    fingerprints: dict[str, object] = {}
    for name, stage in config.stages.items():
        path = stage.out(run) / "metrics.json"
        if stage.enabled and path.is_file():
            results += [row for row in read_metrics(path)[0] if row not in results]  # two stages may fit the same probe
            if found := read_json(path).get("fingerprints"):
                fingerprints[name] = found
    path = run / "metrics.json"
    write_metrics(
        path, results, stages, library_versions(), title=config.title, data=config.data, fingerprints=fingerprints
    )
    return path
