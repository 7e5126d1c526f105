"""Engines: every task has one result, whatever dies, and the steps of an array are refused in the wrong order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import pytest

from anonymize.console import UserError
from anonymize.engines import Job, Part, Steps, read_steps, run_tasks


class Squares:
    """Squares numbers; ends its process on some, raises on others."""

    def __init__(self, deadly: frozenset[int] = frozenset(), wrong: frozenset[int] = frozenset()) -> None:
        self.deadly, self.wrong = deadly, wrong

    def __call__(self, task: tuple[int, ...]) -> list[int]:
        if self.deadly & set(task):
            os._exit(11)  # as after a segmentation fault
        if self.wrong & set(task):
            raise UserError(f"no square of {self.wrong & set(task)}")
        return [number**2 for number in task]


def again(log: list[tuple[tuple[int, ...], int]], task: tuple[int, ...], deaths: int) -> Sequence[tuple[int, ...]]:
    log.append((task, deaths))
    if len(task) > 1:
        return [(number,) for number in task]
    return [task] if deaths < 2 else []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_costs_the_one_number_that_caused_it(workers: int) -> None:
    log: list[tuple[tuple[int, ...], int]] = []
    job = Job(Squares, (frozenset({5, 11}),), partial(again, log), isolate=True)
    tasks = [tuple(range(start, start + 4)) for start in range(0, 16, 4)]
    found = {n: r for task, r in run_tasks(job, iter(tasks), "local", workers, 4) for n in [task]}
    squares = {n: None if r is None else r[i] for task, r in found.items() for i, n in enumerate(task)}
    assert squares == {n: None if n in (5, 11) else n**2 for n in range(16)}
    assert log.count(((5,), 1)) == log.count(((5,), 2)) == 1, "a single task is tried twice"


def test_an_error_of_a_worker_is_raised_where_the_run_is() -> None:
    job = Job(Squares, (frozenset(), frozenset({3})), partial(again, []), isolate=True)
    with pytest.raises(UserError, match="no square"):
        list(run_tasks(job, [(1,), (3,)], "local", 1, 2))


def test_tasks_are_drawn_only_as_workers_fall_free() -> None:
    drawn = []

    def tasks() -> object:
        for number in range(50):
            drawn.append(number)
            yield (number,)

    running = run_tasks(Job(Squares, (), partial(again, []), isolate=True), tasks(), "local", 2, 50)
    next(running)
    assert len(drawn) <= 3
    running.close()


def test_steps_of_a_command_line() -> None:
    assert read_steps(False, "", False) == Steps()
    assert read_steps(True, "", False) == Steps(True, None, False)
    assert read_steps(False, "3/16", False) == Steps(False, Part(3, 16), False)
    assert read_steps(False, "", True) == Steps(False, None, True)
    assert sorted(s for i in (1, 2, 3) for s in range(10) if Part(i, 3).takes(s)) == list(range(10))
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0", "-1/3"):
        with pytest.raises(UserError, match="3/16"):
            read_steps(False, wrong, False)
    with pytest.raises(UserError, match="one of them"):
        read_steps(True, "1/2", False)
