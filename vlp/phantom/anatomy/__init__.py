"""One module an anatomy: facts of an examination → what the rays cross (:class:`vlp.phantom.facts.Scene`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from vlp.phantom.facts import Exam, Scene, View

MODULES = {
    "hand": "hand",
    "knee": "knee",
    "forearm": "long_bone",
    "wrist": "long_bone",
    "lower_leg": "long_bone",
    "ankle": "long_bone",
    "chest": "chest",
}
"""Anatomy of an exam → module of this package whose ``scene`` builds it."""

SceneBuilder = Callable[[Exam, View, int, np.random.Generator], Scene]


def builder(anatomy: str) -> SceneBuilder:
    """The ``scene`` function of an anatomy. Raises ``ValueError`` for an anatomy that the phantom does not have."""
    if anatomy not in MODULES:
        raise ValueError(f"no phantom for anatomy '{anatomy}'; there are {', '.join(MODULES)}")
    return import_module(f"{__name__}.{MODULES[anatomy]}").scene
