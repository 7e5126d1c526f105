"""Unicode repair: UTF-8 that was read as Windows-1252 ("Ã©"), invisible characters, odd blanks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymize.cleaning.offsets import Edit

# Windows-1252 shows the lead bytes C2-F4 of UTF-8 as these letters, and continuation bytes 80-BF as those.
_CONTINUATION = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(0x80, 0xC0))
_SPOILED = re.compile(f"[\u00c2-\u00f4][{re.escape(_CONTINUATION)}]{{1,3}}")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_BLANK = re.compile(r"[^\S\n\r \t]|\t")
_BREAK = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c]")


def repairs(text: str) -> Iterator[Edit]:
    """Edits that repair ``text``; what cannot be decoded stays."""
    for match in _SPOILED.finditer(text):
        fixed = _decoded(match.group())
        if fixed:
            yield Edit(match.start(), match.start() + fixed[1], fixed[0])
    for pattern, new in ((_INVISIBLE, ""), (_BREAK, "\n"), (_BLANK, " ")):
        for match in pattern.finditer(text):
            yield Edit(match.start(), match.end(), new)


def _decoded(spoiled: str) -> tuple[str, int] | None:
    """The character that the first letters of ``spoiled`` stand for, and how many they are."""
    for length in range(len(spoiled), 1, -1):
        try:
            char = b"".join(_byte(letter) for letter in spoiled[:length]).decode("utf-8")
        except UnicodeError:
            continue
        # letters of Europe, typographic signs and the euro: anything else is more likely two letters that belong there
        if len(char) == 1 and ("\u00a0" <= char < "\u0180" or "\u2010" <= char <= "\u20ac"):
            return char, length
    return None


def _byte(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")  # 81, 8D, 8F, 90 and 9D have no letter in Windows-1252
