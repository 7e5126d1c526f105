"""Values by value representation: dates moved, numbers and terms checked, dummies (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from pydicom.config import RAISE
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

NUMBER_VRS = frozenset(("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "SV", "UV"))
TEXT_VRS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))
DATE_VRS = frozenset(("DA", "DT", "TM"))
TEXT_LENGTH = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240}
"""Characters that a value of VR text may have; UC and UT have no bound that matters."""
DUMMY_TEXT = "ANONYMIZED"
_DUMMIES = {
    "DA": "19000101",
    "TM": "000000",
    "DT": "19000101000000",
    "AS": "000Y",
    "PN": f"{DUMMY_TEXT}^",
    "CS": DUMMY_TEXT,
    "AE": DUMMY_TEXT,
    "DS": "0",
    "IS": "0",
    **dict.fromkeys(TEXT_VRS, DUMMY_TEXT),
    **dict.fromkeys(("US", "SS", "UL", "SL", "SV", "UV"), 0),
    **dict.fromkeys(("FL", "FD"), 0.0),
    **dict.fromkeys(("OB", "UN"), b"\0\0"),
    "OW": b"\0\0",
    **dict.fromkeys(("OF", "OL"), b"\0" * 4),
    **dict.fromkeys(("OD", "OV"), b"\0" * 8),
}
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_MOMENT = re.compile(r"(?P<date>\d{4}(?:\d\d){0,2})(?P<time>(?:\d\d){0,3}(?:\.\d{1,6})?)(?P<zone>[+-]\d{4})?")


def dummy(vr: str) -> Any:
    """A value that is valid for ``vr`` and says nothing; None where there is none (UI, SQ, UR, AT)."""
    return _DUMMIES.get(vr)


def dummy_code() -> Dataset:
    """A coded entry that says nothing (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = DUMMY_TEXT, "99VLP", "Removed"
    return item


def is_valid(vr: str, value: Any) -> bool:
    """Whether each value keeps the rules of its VR (characters, length)."""
    try:
        for part in values_of(value):
            validate_value(vr, str(part) if vr in ("DS", "IS") else part, RAISE)
    except (ValueError, TypeError):
        return False
    return True


def values_of(value: Any) -> list[Any]:
    """The values of an element: none, one or several."""
    if value is None:
        return []
    return [value] if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__") else list(value)


def joined(values: list[Any]) -> Any:
    """One value as itself, several as a list."""
    return values[0] if len(values) == 1 else values


def is_numeric(value: Any) -> bool:
    """Whether there are values and all parse as numbers."""
    values = values_of(value)
    return bool(values) and all(_DECIMAL.fullmatch(str(part).strip()) for part in values)


def parse_date(value: Any) -> date | None:
    """A DA (also in the form of ACR-NEMA, 2012.05.04) or the date of a DT."""
    text = str(value or "").strip().replace(".", "").replace("-", "")[:8]
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


def shift(day: date, days: int) -> date | None:
    """``day`` moved; None beyond the years 1 to 9999."""
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def moved(vr: str, value: Any, days: int, *, keep_times: bool) -> Any:
    """DA, DT or TM with its date moved by ``days``; times become 0 unless they are kept. None where it does not parse."""
    change = {"DA": _moved_range, "DT": _moved_moment, "TM": _moved_time}[vr]
    return _each(value, lambda text: change(text, days, keep_times))


def kept_moment(vr: str, value: Any) -> Any:
    """DA, DT or TM as it is; None where it does not parse."""
    return moved(vr, value, 0, keep_times=True)


def _each(value: Any, change: Callable[[str], str | None]) -> Any:
    changed = [change(str(part).strip()) for part in values_of(value)]
    return joined(changed) if changed and all(changed) else None


def _moved_range(text: str, days: int, keep_times: bool) -> str | None:
    """A date, or a range of dates (19990101-20001231) as queries have it."""
    parts = text.split("-") if re.fullmatch(r"\d{8}-\d{8}", text) else [text]
    days_moved = [shift(day, days) if (day := parse_date(part)) else None for part in parts]
    return "-".join(f"{day:%Y%m%d}".zfill(8) for day in days_moved if day) if all(days_moved) else None


def _moved_moment(text: str, days: int, keep_times: bool) -> str | None:
    match = _MOMENT.fullmatch(text)
    if not match:
        return None
    known = match["date"]
    day = parse_date(known + "0101"[len(known) - 4 :] if len(known) < 8 else known)
    day = shift(day, days) if day else None
    if day is None:
        return None
    date_part = f"{day:%Y%m%d}".zfill(8)[: len(known)]  # a date without day or month stays as vague as it was
    if len(known) < 8:
        return date_part
    clock = match["time"]
    if not keep_times:
        return date_part + ("000000" if clock else "")
    if clock and not _TIME.fullmatch(clock):
        return None
    return date_part + clock + (match["zone"] or "")


def _moved_time(text: str, days: int, keep_times: bool) -> str | None:
    if not keep_times:
        return "000000"
    plain = text.replace(":", "")
    return plain if _TIME.fullmatch(plain) else None
