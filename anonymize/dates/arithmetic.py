"""Days moved, weeks, ages."""

from __future__ import annotations

import re
from datetime import date, timedelta

from anonymize.dates.forms import forms_of
from anonymize.dates.written import Written
from anonymize.languages import Pack


def shift(written: Written, days: int, context_year: int | None, context_month: int | None = None) -> str | None:
    """``written`` moved by ``days`` in its own form; None where it overflows. Months move as their middle day.

    ``context_year`` and ``context_month`` stand in where the text gives no year or month.
    """
    new = moved(written, days, context_year, context_month)
    try:
        return written.render(new) if new else None
    except (OverflowError, ValueError):
        return None


def moved(written: Written, days: int, context_year: int | None, context_month: int | None = None) -> date | None:
    """The day to which :func:`shift` moves ``written``."""
    year = written.year or context_year or 2001
    month = written.month or context_month or 7
    day = written.day or (15 if written.month else 1)
    for attempt in (day, min(day, 28)):
        try:
            return date(year, month, attempt) + timedelta(days)
        except (OverflowError, ValueError):
            continue
    return None


def parse_iso(pack: Pack, text: str) -> str:
    """A date column's value as ISO 8601; empty where it is no whole date. A time of day after it is dropped."""
    value = re.split(r"[T ]\d{1,2}[:h]", text.strip(), maxsplit=1)[0].strip()
    written = forms_of(pack).parse(value)
    return written.whole.isoformat() if written and written.whole else ""


def whole_weeks(days: int) -> int:
    """The offset of whole weeks nearest to ``days``, never 0: dates keep their weekday."""
    weeks = max(1, round(abs(days) / 7))
    return 7 * weeks if days > 0 else -7 * weeks


def age_months(birth: str, exam: str) -> int | None:
    """Completed months between two ISO dates; None where one is missing or birth is after the examination."""
    if not birth or not exam:
        return None
    b, e = date.fromisoformat(birth), date.fromisoformat(exam)
    months = (e.year - b.year) * 12 + e.month - b.month - (e.day < b.day)
    return months if months >= 0 else None
