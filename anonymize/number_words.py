"""Numbers written in words, read and written from a pack's list of the words for 0 to 99 and a few others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anonymize.text import collapse


class NumberWords:
    """Reads and writes whole numbers below 10,000, as years and days are.

    Args:
        words: ``below_100`` (100 words in order), ``more`` (word to value: hundred, thousand, ordinals, variants),
            ``days`` (day of the month to its own word, such as an ordinal), ``centuries`` (1900 to its words) and
            ``join`` (what stands between a century and the rest; empty in languages that join their words).
    """

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._below: list[str] = [str(word) for word in words.get("below_100", ())]
        self._days: dict[int, str] = {int(day): str(word) for day, word in words.get("days", {}).items()}
        self._centuries: dict[int, str] = {int(year): str(text) for year, text in words.get("centuries", {}).items()}
        self._join = str(words.get("join", " "))
        self._values: dict[str, int] = {collapse(word): value for value, word in enumerate(self._below)}
        self._values |= {collapse(str(word)): int(value) for word, value in words.get("more", {}).items()}
        self._values |= {collapse(word): day for day, word in self._days.items()}
        self._longest = max(map(len, self._values), default=0)
        self.first_letters = frozenset(word[0] for word in self._values if word)

    def is_word(self, folded: str) -> bool:
        """Whether ``folded`` is one of the words, or joined from them."""
        return folded in self._values or (len(folded) > 3 and self.value(folded) is not None)

    def value(self, text: str) -> int | None:
        """The number that ``text`` says, in words and digits; None where it says none. A stray plural s is skipped."""
        letters = collapse(text)
        position, total, part = 0, 0, 0
        while position < len(letters):
            for size in range(min(self._longest, len(letters) - position), 0, -1):
                value = self._values.get(letters[position : position + size])
                if value is not None:
                    break
            else:
                size = 1
                if letters[position : position + 2].isdigit():
                    size = 2
                if letters[position : position + size].isdigit():
                    value = int(letters[position : position + size])
                elif letters[position] == "s" and position:
                    position += 1
                    continue
                else:
                    return None
            if value == 1000:
                total, part = total + (part or 1) * 1000, 0
            elif value == 100:
                part = (part or 1) * 100
            elif value and 17 <= part <= 21 and value >= 10:  # nineteen eighty-four
                part = part * 100 + value
            elif value is not None and value >= 0:  # negative values are joining words such as "and"
                part += value
            position += size
        return total + part if letters else None

    def day(self, number: int) -> str | None:
        """The word of a day of the month."""
        return self._days.get(number) or (self._below[number] if number < len(self._below) else None)

    def year(self, number: int) -> str | None:
        """The words of a year, where the pack has its century."""
        century, rest = number // 100 * 100, number % 100
        if century not in self._centuries or (rest and rest >= len(self._below)):
            return None
        return self._centuries[century] + (self._join + self._below[rest] if rest else "")
