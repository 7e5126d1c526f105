"""The one schema of every number: ``metrics.json`` of a run and ``docs/results.json`` of the project."""

from __future__ import annotations

import dataclasses
import math
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anonymize import __version__
from anonymize.files import read_json, write_json

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
PROTOCOLS = ("zero-shot", "linear", "attentive", "lora", "finetune", "scratch", "knn")
TASKS = (
    "bone_age",
    "osteoarthritis",
    "fracture",
    "effusion",
    "consolidation",
    "cardiomegaly",
    "pneumothorax",
    "scoliosis",
    "retrieval",
    "segmentation",
    "localization",
    "grounding",
    "report_generation",
)


@dataclass(frozen=True)
class Result:
    """One measured number with its 95 % interval (bootstrap over patients)."""

    task: str
    protocol: str
    metric: str  # snake case: auroc, auprc, quadratic_kappa, mad_months, recall_at_1, median_rank, label_f1_macro ...
    value: float
    low: float
    high: float
    n: int  # studies (or images) the number was measured on
    seed: int
    labels: float  # fraction of the training labels used; 0 for zero-shot
    model: str
    data: str  # starts with "phantom" or "real"; a subgroup is appended as "/sex=F" or "/age=0-4"
    split: str

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol {self.protocol!r} is not one of {PROTOCOLS}")
        if not self.data.startswith(("phantom", "real")):
            raise ValueError(f"data {self.data!r} must start with 'phantom' or 'real'")
        if not 0 <= self.labels <= 1:
            raise ValueError(f"labels {self.labels!r} must be a fraction")


@dataclass(frozen=True)
class Stage:
    """Cost of one stage."""

    name: str
    seconds: float
    peak_memory_mb: float


def write_metrics(
    path: Path, results: list[Result], stages: list[Stage], versions: dict[str, str], **extra: Any
) -> None:
    """Write the schema's JSON; numbers that are not finite become null. ``extra`` adds keys such as fingerprints."""
    rows = [{k: _finite(v) for k, v in dataclasses.asdict(row).items()} for row in results]
    write_json(
        path, {"results": rows, "stages": [dataclasses.asdict(s) for s in stages], "versions": versions, **extra}
    )


def read_result(row: dict[str, Any]) -> Result:
    """A row of the JSON's ``results``, where null stands for a number that is not finite."""
    fields: dict[str, Any] = {k: math.nan if v is None else v for k, v in row.items()}
    return Result(**fields)


def read_metrics(path: Path) -> tuple[list[Result], list[Stage], dict[str, str]]:
    """The inverse of :func:`write_metrics`."""
    data = read_json(path)
    results = [read_result(row) for row in data["results"]]
    return results, [Stage(**row) for row in data["stages"]], data["versions"]


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


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
