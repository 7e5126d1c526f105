"""Fracture present or absent in the study."""

from __future__ import annotations

from vlp.tasks.task import Task

TASK = Task("fracture", "fracture", "binary", selects="auroc")
