"""A date as it was written, and the pieces in which dates are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

_PIVOT = 35  # two-digit years up to this one are 20xx


@dataclass(frozen=True)
class Written:
    """A parsed date; what the text does not give is None. ``render`` writes another date in the same form."""

    year: int | None
    month: int | None
    day: int | None
    render: Callable[[date], str]
    form: str = "whole"  # whole, compact, spaced, pair, month_year, year, day, named, words, season

    @property
    def whole(self) -> date | None:
        """The day, where it is given in full."""
        return date(self.year, self.month, self.day) if self.year and self.month and self.day else None


def valid(year: int, month: int, day: int) -> bool:
    """Whether there is such a day, and a patient or a physician may have lived on it."""
    if not 1850 <= year <= 2120:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def with_tail(written: Written, tail: str) -> Written:
    """``written`` with ``tail`` behind whatever it renders."""
    inner = written.render
    return replace(written, render=lambda new: inner(new) + tail)


def century(two: int) -> int:
    """The year that two digits stand for."""
    return 2000 + two if two <= _PIVOT else 1900 + two


def short_year(like: str, new: date) -> str:
    """Two digits of the year, with the apostrophe that ``like`` has."""
    return ("'" if like.startswith("'") else "") + f"{new:%y}"


def padded(first: str, second: str) -> bool:
    """Whether day and month are written with two digits: where both have two, it is the custom."""
    return first.startswith("0") or second.startswith("0") or (len(first) > 1 and len(second) > 1)


def pad(value: int, like: str, zeros: bool = False) -> str:
    """``value`` with as many zeros in front as ``like`` has, or two digits where ``zeros`` are the custom."""
    if like.startswith("0"):
        return f"{value:0{max(2, len(like))}d}"
    return f"{value:02d}" if zeros else str(value)


def in_case_of(written: str, name: str) -> str:
    """``name`` in capitals, with a capital or small, as ``written`` is."""
    if written.isupper():
        return name.upper()
    return name.capitalize() if written[:1].isupper() else name
