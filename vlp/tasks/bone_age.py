"""Bone age from a hand radiograph, in months (Greulich & Pyle 1959), measured by the mean absolute deviation."""

from __future__ import annotations

from vlp.tasks.task import Task

TASK = Task("bone_age", "bone_age_months", "regression", selects="mad_months", unit="months", uses_sex=True)
"""Girls mature earlier than boys, so sex is an input, as in the RSNA challenge (Halabi 2019)."""
