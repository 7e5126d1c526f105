"""Subgroup tables: a task's metric per sex and age band, and whether a group's gap to the others can be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlp.evaluation.intervals import RESAMPLES, bootstrap
from vlp.evaluation.metrics import Metric

CHILD_BANDS = ((0, 4), (5, 9), (10, 14), (15, 18))
NOT_ENOUGH = "not enough data"
_CELLS = 4_000_000


@dataclass(frozen=True)
class Floor:
    """Least size of a group: positives and negatives of a binary task, studies of any other."""

    positives: int = 30
    negatives: int = 30
    studies: int = 30


@dataclass(frozen=True)
class Group:
    """One row of the table. Numbers are NaN where ``note`` says "not enough data"."""

    group: str  # sex=F, age=0-4 ...
    metric: str
    value: float
    low: float
    high: float
    n: int
    patients: int
    gap: float  # this group minus everybody else in whom the attribute is known
    p: float  # permutation test of the gap, two-sided
    p_holm: float  # after Holm 1979 over the groups tested together
    note: str = ""


def age_band(age_months: int | None) -> str:
    """``0-4``, ``5-9``, ``10-14``, ``15-18`` (years), then 19-29, 30-39 ... 80+; "" where the age is not known."""
    if age_months is None:
        return ""
    years = age_months // 12
    for low, high in CHILD_BANDS:
        if low <= years <= high:
            return f"{low}-{high}"
    if years < 30:
        return "19-29"
    return "80+" if years >= 80 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def subgroup_table(
    metrics: Sequence[Metric],
    columns: Sequence[npt.NDArray[Any]],
    patients: Sequence[str],
    attributes: Mapping[str, Sequence[str]],
    *,
    floor: Floor | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Group]:
    """Metric per value of each attribute ({"sex": [n], "age": [n]}, "" = not known), with interval and gap.

    The gap's null shuffles group membership among (patient, group) pairs, so that a patient's studies stay together.
    Holm's correction runs over all groups of one metric that have enough data. The group holds for the gap only
    where the others have enough data as well.
    """
    floor = floor or Floor()
    arrays = [np.asarray(column, float) for column in columns]
    names = np.asarray(patients, dtype=str)
    rows: list[Group] = []
    for metric in metrics:
        table: list[Group] = []
        for attribute, raw in attributes.items():
            values = np.asarray(raw, dtype=str)
            for value in sorted(set(values) - {""}, key=_band_order):
                member = values == value
                others = (values != value) & (values != "")
                label = f"{attribute}={value}"
                if not _enough(metric, arrays, member, floor):
                    nan = float("nan")
                    held = len(set(names[member]))
                    table.append(
                        Group(label, metric.name, nan, nan, nan, int(member.sum()), held, nan, nan, nan, NOT_ENOUGH)
                    )
                    continue
                part = bootstrap(metric, [a[member] for a in arrays], names[member], seed=seed, resamples=resamples)
                gap, p = float("nan"), float("nan")
                if _enough(metric, arrays, others, floor):
                    known = member | others
                    gap, p = gap_test(
                        metric,
                        [a[known] for a in arrays],
                        names[known],
                        member[known],
                        seed=seed,
                        permutations=resamples,
                    )
                table.append(
                    Group(label, metric.name, part.value, part.low, part.high, part.n, part.patients, gap, p, p)
                )
        rows += _with_holm(table)
    return rows


def gap_test(
    metric: Metric,
    columns: Sequence[npt.NDArray[Any]],
    patients: Sequence[str] | npt.NDArray[np.str_],
    member: npt.NDArray[np.bool_],
    *,
    seed: int = 0,
    permutations: int = RESAMPLES,
) -> tuple[float, float]:
    """Metric of the members minus that of the others, and the two-sided p of a permutation test over patients."""
    arrays = [np.asarray(column, float) for column in columns]
    member = np.asarray(member, bool)
    gap = metric.value(*[a[member] for a in arrays]) - metric.value(*[a[~member] for a in arrays])
    keys = np.char.add(np.asarray(patients, dtype=str), np.where(member, "\x001", "\x000"))
    _, first, unit = np.unique(keys, return_index=True, return_inverse=True)
    unit_member = member[first]
    generator = np.random.default_rng(seed)
    block = max(1, min(permutations, _CELLS // max(len(member), 1)))
    extreme = valid = 0
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        shuffled = generator.permuted(np.tile(unit_member, (rows, 1)), axis=1)[:, unit].astype(float)
        drawn = metric.weighted(shuffled, *arrays) - metric.weighted(1 - shuffled, *arrays)
        drawn = drawn[np.isfinite(drawn)]
        extreme += int((np.abs(drawn) >= abs(gap) - 1e-12).sum())
        valid += len(drawn)
    return float(gap), (extreme + 1) / (valid + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = running
    return adjusted.tolist()


def _with_holm(table: list[Group]) -> list[Group]:
    tested = [i for i, row in enumerate(table) if np.isfinite(row.p)]
    corrected = dict(zip(tested, holm([table[i].p for i in tested]), strict=True))
    return [Group(**{**asdict(row), "p_holm": corrected.get(i, float("nan"))}) for i, row in enumerate(table)]


def _enough(metric: Metric, arrays: list[npt.NDArray[Any]], mask: npt.NDArray[np.bool_], floor: Floor) -> bool:
    if metric.kind == "binary":
        target = arrays[0][mask]
        return (target == 1).sum() >= floor.positives and (target == 0).sum() >= floor.negatives
    return int(mask.sum()) >= floor.studies


def _band_order(value: str) -> tuple[int, str]:
    head = value.split("-")[0].rstrip("+")
    return (int(head) if head.isdigit() else -1, value)
