"""Findings that are present or absent, each a task of its own, judged where the label is known."""

from __future__ import annotations

from vlp.tasks.task import Task

FINDINGS = ("effusion", "consolidation", "cardiomegaly", "pneumothorax", "cast", "hardware", "scoliosis", "abnormal")
TASKS = tuple(Task(name, name, "binary", selects="auroc") for name in FINDINGS)
