"""Knee osteoarthritis: the grade of Kellgren & Lawrence 1957 (0-4), measured by quadratic kappa (Tiulpin 2018)."""

from __future__ import annotations

from vlp.tasks.task import Task

TASK = Task("osteoarthritis", "kl_grade", "ordinal", selects="quadratic_kappa", classes=5)
