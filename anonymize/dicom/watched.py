"""A decoder that may spin on damaged data, run so that the caller goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK = 0.05  # seconds between two looks at the clock


class TookTooLong(ValueError):
    """The work was given up."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` returns or raises; given up once it has used ``seconds`` of processor time.

    A thread cannot be ended from outside, so work that is given up runs on until it ends by itself; ``work`` must release
    the interpreter's lock and must not end in an endless loop. Processor time, not time of day: a busy machine refuses no
    good file. Where the system gives no clock of a thread, nothing is given up.

    Raises:
        TookTooLong: given up.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_LOOK)
    while thread.is_alive():
        if _used(thread) > seconds:
            raise TookTooLong("the decoder was given up")
        thread.join(_LOOK)
    if failure:
        raise failure[0]
    return result[0]


def _used(thread: threading.Thread) -> float:
    """Processor seconds of ``thread``; 0 where it has just ended or the system does not say."""
    clock = getattr(time, "pthread_getcpuclockid", None)
    if clock is None or thread.ident is None or not thread.is_alive():
        return 0.0
    try:
        return time.clock_gettime(clock(thread.ident))
    except OSError:
        return 0.0
