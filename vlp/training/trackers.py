"""MLflow, Weights & Biases and Trackio, if asked; accelerate knows how to talk to each. All stay on this machine.

Another place is named by the tools' own variables: ``MLFLOW_TRACKING_URI``, ``WANDB_MODE=online``, ``TRACKIO_DIR``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TrackioTracker, WandBTracker

from anonymize.console import UserError

PROJECT = "vlp"


def start_trackers(names: Sequence[str], out: Path, config: dict[str, Any]) -> list[GeneralTracker]:
    """Open one run in each of ``names`` for the run in ``out``, with the settings ``config``.

    Raises:
        UserError: a package that is not installed.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(
            f"trackers: {', '.join(missing)} is not installed; `pip install 'vlp-xray[track]'`, or leave it out of trackers "
            "(log.jsonl and TensorBoard are always written)"
        )
    trackers = [_tracker(name, out) for name in names]
    for tracker in trackers:
        tracker.start()
        tracker.store_init_configuration(config)
    return trackers


def _tracker(name: str, out: Path) -> GeneralTracker:
    if name == "mlflow":  # a folder of files: a database would need more than mlflow-skinny
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_TRACKING_URI", (out.absolute() / "mlruns").as_uri())
        return MLflowTracker(PROJECT, run_name=out.name)
    if name == "wandb":
        mode = os.environ.get("WANDB_MODE", "offline")
        return WandBTracker(PROJECT, name=out.name, dir=str(out), mode=mode)
    os.environ.setdefault("TRACKIO_DIR", str(out.absolute() / "trackio"))
    return TrackioTracker(PROJECT, name=out.name, embed=False)
