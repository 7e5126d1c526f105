"""Dates of digits, in every order, with every separator, and with the slips of readers and keyboards."""

from __future__ import annotations

import re
from datetime import date

from anonymize.dates.written import Written, century, pad, padded, valid

_SEP = r"(?: {0,2}[/.\-|_\\]{1,2} {0,2}| {1,2}|[,:])"
_FULL = re.compile(rf"(?P<a>0?\d{{1,2}})(?P<s>{_SEP})(?P<b>0?\d{{1,2}})(?P<t>{_SEP})(?P<y>\d{{4}}|'?\d\d)(?!\d)")
# l, i and o where an optical reader met 1 and 0.
_SLIP = re.compile(
    r"(?P<a>[\dlio]{1,2})(?P<s>[/.\-])(?P<b>[\dlio]{1,2})(?P<t>[/.\-])(?P<y>[\dlio]{4}|[\dlio]{2})(?!\w)"
)
# Written like a date but impossible: a slip of the keyboard.
_WRONG = re.compile(r"\d{1,3}([/.\-])\d{1,3}\1(?:19|20)\d\d(?!\d)")
_YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})(?P<s>{_SEP})(?P<b>\d{{1,2}})(?P<t>{_SEP})(?P<a>\d{{1,2}})(?!\d)")
_ROMAN = re.compile(
    r"(?P<a>\d{1,2})(?P<s> ?[/.\-] ?)(?P<b>x?i{1,3}|i?v|vi{1,3}|i?x)(?P<t> ?[/.\-] ?)(?P<y>\d{4}|\d\d)(?!\w)"
)
_ROMANS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_SPACED = re.compile(r"\d{1,2}(?:(?: | ?[/.\-] ?)\d){5,7}(?! ?\d)")
_COMPACT = re.compile(r"(?:\d{14}|\d{12}|\d{8}|\d{6})(?!\d)(?![.,]\d)")
_MONTH_YEAR = re.compile(r"(?P<b>\d{1,2})(?P<s> ?[/.\-|] ?| )(?P<y>\d{4})(?!\d)")
_PAIR = re.compile(r"(?P<a>\d{1,2})(?P<s> ?[/.\-] ?)(?P<b>\d{1,2})(?P<t>\.?)(?!\d)")
_YEAR = re.compile(r"(?:1[89]|20)\d\d(?!\d)")
_SLIPS = str.maketrans("lio", "110")


class DigitForms:
    """Reads and renders them.

    Args:
        order: the usual order of day, month and year, "dmy", "mdy" or "ymd".
    """

    def __init__(self, order: str) -> None:
        self.order = order

    # -- reading at a place -------------------------------------------------------------------------------------------

    def numeric(self, folded: str, start: int) -> tuple[Written, int] | None:
        """The longest valid form of digits that begins at ``start``, and where it ends.

        Forms ``pair``, ``month_year`` with a blank, ``year`` and six compact digits are also other things than dates;
        the caller asks for a cue.
        """
        match = _FULL.match(folded, start)
        if match:
            written = self._full(match)
            if written:
                return written, match.end()
        match = _YEAR_FIRST.match(folded, start)
        if match and (match["s"] != " " or len(match["b"]) == 2):
            written = self._year_first(match)
            if written:
                return written, match.end()
        match = _SPACED.match(folded, start)
        if match:
            written = self._spaced(match.group())
            if written:
                return written, match.end()
        match = _COMPACT.match(folded, start)
        if match:
            written = self._compact(match.group())
            if written:
                return written, match.end()
        match = _ROMAN.match(folded, start)
        if match and match["b"] in _ROMANS:
            written = self._roman(match)
            if written:
                return written, match.end()
        match = _MONTH_YEAR.match(folded, start)
        if match and 1 <= int(match["b"]) <= 12 and 1850 <= int(match["y"]) <= 2120:
            month, separator, year = match.group("b", "s", "y")
            return (
                Written(
                    int(year),
                    int(month),
                    None,
                    lambda new: f"{pad(new.month, month, len(month) > 1)}{separator}{new.year}",
                    "month_year",
                ),
                match.end(),
            )
        match = _PAIR.match(folded, start)
        if match:
            written = self._pair(match)
            if written:
                return written, match.end()
        match = _YEAR.match(folded, start)
        if match:
            return Written(int(match.group()), None, None, lambda new: f"{new.year}", "year"), match.end()
        return None

    def slipped(self, folded: str, start: int) -> tuple[Written, int] | None:
        """A numeric date in which an optical reader took 1 for l or I, and 0 for O."""
        match = _SLIP.match(folded, start)
        if not match or sum(map(str.isdigit, match.group())) < 3:
            return None
        fixed = _FULL.fullmatch(match.group().translate(_SLIPS))
        written = self._full(fixed) if fixed else None
        return (written, match.end()) if written else None

    @staticmethod
    def mistyped(folded: str, start: int) -> int | None:
        """End of what has the form of a date and is none (14/14/2014, 301/05/1966)."""
        match = _WRONG.match(folded, start)
        return match.end() if match else None

    # -- forms of digits ----------------------------------------------------------------------------------------------

    def _full(self, match: re.Match[str]) -> Written | None:
        first, s, second, t, y = match.group("a", "s", "b", "t", "y")
        four = len(y) == 4
        if not four and (s.strip() != t.strip() or s.strip() in ("", ",", ":")):
            return None
        if not s.strip() and not t.strip() and len(first) != len(second) and len(first) + len(second) < 3:
            return None
        year = int(y) if four else century(int(y.lstrip("'")))
        ordered = self._order(first, second, year)
        if not ordered:
            return None
        month, day, month_first = ordered
        zeros = padded(first, second)

        def render(new: date) -> str:
            d, m = pad(new.day, first, zeros), pad(new.month, second, zeros)
            written_year = f"{new.year}" if four else ("'" if y.startswith("'") else "") + f"{new:%y}"
            return f"{m if month_first else d}{s}{d if month_first else m}{t}{written_year}"

        return Written(year, month, day, render)

    def _order(self, first: str, second: str, year: int) -> tuple[int, int, bool] | None:
        """Month, day and whether the month stands first: in the pack's order, else in the other one."""
        usual = self.order == "mdy"
        for month_first in (usual, not usual):
            month, day = (int(first), int(second)) if month_first else (int(second), int(first))
            if valid(year, month, day):
                return month, day, month_first
        return None

    def _year_first(self, match: re.Match[str]) -> Written | None:
        y, s, m, t, d = match.group("y", "s", "b", "t", "a")
        if not valid(int(y), int(m), int(d)):
            return None
        zeros = padded(m, d)
        return Written(
            int(y), int(m), int(d), lambda new: f"{new.year}{s}{pad(new.month, m, zeros)}{t}{pad(new.day, d, zeros)}"
        )

    def _roman(self, match: re.Match[str]) -> Written | None:
        d, s, m, t, y = match.group("a", "s", "b", "t", "y")
        year, month = int(y) if len(y) == 4 else century(int(y)), _ROMANS.index(m) + 1
        if not valid(year, month, int(d)):
            return None

        def render(new: date) -> str:
            return f"{pad(new.day, d)}{s}{_ROMANS[new.month - 1].upper()}{t}" + (
                f"{new.year}" if len(y) == 4 else f"{new:%y}"
            )

        return Written(year, month, int(d), render)

    def _compact(self, digits: str) -> Written | None:
        """yyyymmdd with a time of day (HL7 v2 TS) or without, ddmmyyyy, ddmmyy."""
        day_part, time = digits[:8], digits[8:]
        if len(digits) == 6:
            day, month, year = int(digits[:2]), int(digits[2:4]), century(int(digits[4:]))
            if not valid(year, month, day):
                return None
            return Written(year, month, day, lambda new: f"{new:%d%m%y}", "short")
        if time and not (int(time[:2]) < 24 and int(time[2:4]) < 60 and int(time[4:] or 0) < 60):
            return None
        year, month, day = int(day_part[:4]), int(day_part[4:6]), int(day_part[6:])
        if 1900 <= year <= 2099 and valid(year, month, day):
            return Written(year, month, day, lambda new: f"{new:%Y%m%d}{time}", "compact")
        first, second, year = day_part[:2], day_part[2:4], int(day_part[4:])
        if time or not 1900 <= year <= 2099:
            return None
        ordered = self._order(first, second, year)
        if not ordered:
            return None
        month, day, month_first = ordered
        return Written(year, month, day, lambda new: f"{new:%m%d%Y}" if month_first else f"{new:%d%m%Y}", "compact")

    def _spaced(self, folded: str) -> Written | None:
        """``1 6 0 3 2 0 0 9``: each digit in its own box, with separators or without."""
        places = [index for index, char in enumerate(folded) if char.isdigit()]
        digits = "".join(folded[index] for index in places)
        if len(digits) not in (6, 7, 8) or len(set(digits)) < 2:
            return None
        inner = self._compact(digits.zfill(8) if len(digits) == 7 else digits)
        if not inner:
            return None

        def render(new: date) -> str:
            wanted, chars = inner.render(new), list(folded)
            if len(digits) == 7:
                wanted = wanted[1:] if wanted.startswith("0") else wanted
            if len(wanted) > len(places):
                return wanted[0] + " " + render_into(chars, wanted[1:])
            return render_into(chars, wanted)

        def render_into(chars: list[str], wanted: str) -> str:
            for index, digit in zip(places, wanted, strict=True):
                chars[index] = digit
            return "".join(chars)

        return Written(inner.year, inner.month, inner.day, render, "spaced")

    def _pair(self, match: re.Match[str]) -> Written | None:
        """Day and month, or month and two-digit year where the second number is no month."""
        first, s, second, t = match.group("a", "s", "b", "t")
        ordered = self._order(first, second, 2000)
        if ordered and (ordered[2] == (self.order == "mdy")):
            month, day, month_first = ordered
            zeros = padded(first, second)

            def render(new: date) -> str:
                d, m = pad(new.day, first, zeros), pad(new.month, second, zeros)
                return f"{m}{s}{d}{t}" if month_first else f"{d}{s}{m}{t}"

            return Written(None, month, day, render, "pair")
        if 1 <= int(first) <= 12 and len(second) == 2 and "-" not in s and not t:
            year, month = century(int(second)), int(first)
            return Written(
                year,
                month,
                None,
                lambda new: f"{pad(new.month, first, len(first) > 1)}{s}{new:%y}",
                "month_short_year",
            )
        return None
