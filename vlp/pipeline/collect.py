"""Gathers what the stages measured into the run's ``metrics.json``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anonymize import __version__
from anonymize.files import read_json
from vlp.evaluation.results import Result, Stage, read_metrics, write_metrics
from vlp.pipeline.config import RunConfig

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "accelerate",
    "lightly",
    "pydicom",
    "presidio-analyzer",
    "spacy",
    "numpy",
)


def collect_metrics(config: RunConfig, run: Path, stages: list[Stage]) -> Path:
    """Write ``run/metrics.json`` from the ``metrics.json`` of the stages' output folders; returns its path."""
    results: list[Result] = []
    fingerprints: dict[str, object] = {}
    for name, stage in config.stages.items():
        path = stage.out(run) / "metrics.json"
        if stage.enabled and path.is_file():
            results += read_metrics(path)[0]
            if found := read_json(path).get("fingerprints"):
                fingerprints[name] = found
    path = run / "metrics.json"
    write_metrics(
        path, results, stages, library_versions(), title=config.title, data=config.data, fingerprints=fingerprints
    )
    return path


def library_versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that numbers depend on."""
    found = {
        "vlp": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
