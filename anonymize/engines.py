"""Where the work is done: processes of this machine, actors of a Ray cluster, or a part of it in each task of a Slurm array.

Reports and DICOM files share it. A worker is a callable made once in each process; tasks go to whichever worker is free, and
results come in any order. What is written must therefore follow from the task alone: then every engine, any number of
processes and any order give the same bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from anonymize.console import UserError
from anonymize.keys import private_folder

T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["local", "ray"]
Again = Callable[[T, int], Sequence[T]]
"""What to do instead of a task whose process died hard for the n-th time (from 1); nothing: its result is None."""


@dataclass(frozen=True)
class Part:
    """The ``index``-th (from 1) of ``of`` tasks of an array: it takes every ``of``-th shard."""

    index: int = 1
    of: int = 1

    def takes(self, shard: int) -> bool:
        """Whether the shard (from 0) is one of this task's."""
        return shard % self.of == self.index - 1


@dataclass(frozen=True)
class Steps:
    """Which steps of a run a command does: all of them, or one where an array shares the work."""

    plan: bool = True
    work: Part | None = Part()
    finish: bool = True


def read_steps(plan: bool, shards: str, finish: bool) -> Steps:
    """The steps that the options ``--plan``, ``--shards 3/16`` and ``--finish`` ask for; all without any.

    Raises:
        UserError: more than one was given, or ``shards`` is no i/n with 1 <= i <= n.
    """
    if plan + bool(shards) + finish > 1:
        raise UserError("--plan, --shards and --finish are steps of their own: give one of them, or none for all steps")
    if not shards:
        return Steps(plan=not finish, work=None if plan or finish else Part(), finish=not plan)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shards)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shards {shards}: give the number of the task and of all tasks, such as 3/16")
    return Steps(plan=False, work=Part(int(match[1]), int(match[2])), finish=False)


def cores() -> int:
    """Cores that this process may use: a job's share, not the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Job(Generic[T, R]):
    """What the workers are, and what happens when one dies.

    Everything in it travels to the processes: ``build`` is a function or class of a module, ``arguments`` can be pickled.
    """

    build: Callable[..., Callable[[T], R]]
    arguments: tuple[Any, ...]
    again: Again[T]
    isolate: bool = False  # a process of its own even for one worker: what it calls may end a process hard


def run_tasks(
    job: Job[T, R], tasks: Iterable[T], engine: Engine, workers: int, at_most: int
) -> Iterator[tuple[T, R | None]]:
    """Do all ``tasks``; each with its result, in any order. Tasks are drawn one by one, as workers fall free.

    Args:
        workers: processes or actors; 0 is one a core.
        at_most: about how many tasks there are: no more workers than that are started.

    Raises:
        UserError: Ray is asked for and not installed; and whatever a worker raises.
    """
    if at_most < 1:
        return
    if engine == "ray":
        yield from _on_ray(job, iter(tasks), workers, at_most)
        return
    count = min(workers or cores(), at_most)
    if count > 1 or job.isolate:
        yield from _in_processes(job, iter(tasks), count)
        return
    worker = job.build(*job.arguments)
    for task in tasks:
        yield task, worker(task)


@contextmanager
def alone(out: Path, name: str, *, shared: bool = False) -> Iterator[None]:
    """Keep a second run out of the same folder. The system frees the lock of a killed run.

    ``shared``: tasks of one array work beside each other, and keep those out that plan or finish.
    """
    path = private_folder(out) / f"{name}.lock"
    with path.open("a") as stream:
        try:
            import fcntl

            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing to {out}; wait for it, or choose another --out") from None
        except (ImportError, OSError):  # no such lock on this system or file system
            pass
        yield


class _Queue(Generic[T]):
    """Tasks that wait: those to be done again come first."""

    def __init__(self, tasks: Iterator[T], again: Again[T]) -> None:
        self._tasks, self._again = tasks, again
        self._retried: deque[tuple[T, int]] = deque()

    def next(self) -> tuple[T, int] | None:
        """A task and how often its process died so far."""
        if self._retried:
            return self._retried.popleft()
        return next(((task, 0) for task in self._tasks), None)

    def died(self, task: T, deaths: int) -> bool:
        """Note a death; False where the task is given up."""
        instead = self._again(task, deaths + 1)
        self._retried.extend((other, deaths + 1 if other == task else 0) for other in instead)
        return bool(instead)


# -- processes of this machine ------------------------------------------------------------------------------------------


class _Process(Generic[T]):
    """One worker process and what it is doing. A pool of the standard library ends all its processes when one dies."""

    def __init__(self, job: Job[T, Any]) -> None:
        # forking a process that holds threads of codecs, numpy or arrow can deadlock
        context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, job.build, job.arguments), daemon=True)
        self.process.start()
        far.close()
        self.held: tuple[T, int] | None = None

    def give(self, held: tuple[T, int]) -> None:
        self.held = held
        with suppress(OSError):  # it died while it waited: the pipe says so when it is read
            self.pipe.send(held[0])

    def end(self) -> None:
        self.pipe.close()
        if self.held is not None:
            self.process.terminate()
        self.process.join()


def _in_processes(job: Job[T, R], tasks: Iterator[T], count: int) -> Iterator[tuple[T, R | None]]:
    queue = _Queue(tasks, job.again)
    processes: dict[Connection, _Process[T]] = {}
    try:
        while True:
            for process in [p for p in processes.values() if p.held is None]:
                if (held := queue.next()) is None:
                    break
                process.give(held)
            while len(processes) < count and (held := queue.next()) is not None:
                process = _Process(job)
                processes[process.pipe] = process
                process.give(held)
            busy = [pipe for pipe, process in processes.items() if process.held is not None]
            if not busy:
                return
            for pipe in wait(busy):
                process = processes[pipe]  # pyright: ignore[reportArgumentType]
                assert process.held is not None
                task, deaths = process.held
                try:
                    fine, value = process.pipe.recv()
                except (EOFError, OSError):
                    del processes[process.pipe]
                    process.end()
                    if not queue.died(task, deaths):
                        yield task, None
                    continue
                process.held = None
                if not fine:
                    raise value
                yield task, value
    finally:
        for process in processes.values():
            process.end()


def _serve(pipe: Connection, build: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker: Callable[[Any], Any] | None = None
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            worker = worker or build(*arguments)
            answer: tuple[bool, Any] = True, worker(task)
        except Exception as error:
            answer = False, error
        try:
            data = pickle.dumps(answer)
        except Exception:  # an error that cannot travel is named by its kind
            data = pickle.dumps((False, RuntimeError(type(answer[1]).__name__)))
        pipe.send_bytes(data)


def _end_with_parent() -> None:
    """Workers must not outlive a killed parent: they hold patients' names in memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# -- a Ray cluster ------------------------------------------------------------------------------------------------------


class _Actor:
    """A worker in a Ray actor; made at its first task, so that an error of its making is the task's."""

    def __init__(self, build: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
        self._make = build, arguments
        self._worker: Callable[[Any], Any] | None = None

    def work(self, task: Any) -> Any:
        if self._worker is None:
            build, arguments = self._make
            self._worker = build(*arguments)
        return self._worker(task)


def _on_ray(job: Job[T, R], tasks: Iterator[T], workers: int, at_most: int) -> Iterator[tuple[T, R | None]]:
    """Actors of a Ray cluster (RAY_ADDRESS, else one on this machine). Every node must see all folders at the same paths."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import RayActorError  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "engine=ray needs Ray, which is not installed; install the extra 'ray', or take engine=local"
        ) from None
    began_it = not ray.is_initialized()
    if began_it and os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    elif began_it:
        ray.init(num_cpus=workers or None, include_dashboard=False, log_to_driver=False)
    try:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), at_most)
        actor = ray.remote(num_cpus=1, max_restarts=-1)(_Actor)
        idle = [actor.remote(job.build, job.arguments) for _ in range(count)]
        busy: dict[Any, tuple[Any, T, int]] = {}
        queue = _Queue(tasks, job.again)
        while True:
            while idle and (held := queue.next()) is not None:
                worker = idle.pop()
                busy[worker.work.remote(held[0])] = (worker, *held)
            if not busy:
                return
            for reference in ray.wait(list(busy), num_returns=1)[0]:
                worker, task, deaths = busy.pop(reference)
                idle.append(worker)  # one that died is started again by Ray
                try:
                    value = ray.get(reference)
                except RayActorError as error:
                    if error.actor_init_failed:  # no task is to blame: every actor would fail
                        raise UserError(
                            "a worker of the Ray cluster could not be made; install this version on every node"
                        ) from None
                    if not queue.died(task, deaths):
                        yield task, None
                    continue
                yield task, value
    finally:
        if began_it:
            ray.shutdown()
