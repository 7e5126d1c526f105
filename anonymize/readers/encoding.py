"""Which encoding some text is in: marks first, then what most lines beyond ASCII are, then what reads as western text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from charset_normalizer import from_bytes

_WESTERN = ("cp1252", "cp850", "mac_roman")  # Windows, DOS and old Macintosh exports
_SAMPLE = 256 * 1024
_LETTERS = frozenset("àâäáãåæçèéêëìíîïñòóôöõøœùúûüÿßÀÂÄÁÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜŸ")
_SIGNS = frozenset("°²³µ±«»€’‘“”–—…½¼¾·•§×ªº¿¡\u00a0")
# UTF-8 read as Windows-1252 or Latin-1: a lead byte's letter and a continuation byte's sign
MOJIBAKE = re.compile(r"[ÃÂ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œ\u009d˜“”¦]|\ufffd")


def encoding_of(lines: Iterable[bytes]) -> str:
    """The codec that fits most of ``lines``, raw lines of one file from its start.

    UTF-8 or UTF-16 by their marks, UTF-16 without a mark by its NUL bytes, UTF-8 where most lines beyond ASCII are
    valid, else the best of Windows-1252, DOS 850 and Mac Roman. A file without such lines counts as UTF-8.
    """
    utf8 = other = size = 0
    sample: list[bytes] = []
    for index, line in enumerate(lines):
        if index == 0 and (marked := _marked(line)):
            return marked
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            utf8 += 1
        except UnicodeDecodeError:
            other += 1
            if size < _SAMPLE:
                sample.append(line[:4096])
                size += len(sample[-1])
    return "utf-8" if utf8 >= other else _western(b"\n".join(sample))


def decode(data: bytes) -> tuple[str, str]:
    """A whole document's text and its encoding; bytes outside the encoding become U+FFFD."""
    encoding = encoding_of(data.splitlines(keepends=True))
    return data.decode(encoding, "replace"), encoding


def is_broken(text: str) -> bool:
    """Whether ``text`` holds bytes of another encoding: undecodable ones, or UTF-8 read as Windows-1252."""
    if text.isascii():
        return False
    return any("\udc80" <= char <= "\udcff" for char in text if char > "\u2fff") or bool(MOJIBAKE.search(text))


def _marked(start: bytes) -> str:
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = start[:400:2], start[1:400:2]
    if len(start) >= 8 and odd.count(0) > 0.7 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(start) >= 8 and even.count(0) > 0.7 * len(even) and not odd.count(0):
        return "utf-16-be"
    return ""


def _western(sample: bytes) -> str:
    """The western single-byte codec in which most bytes beyond ASCII are letters; ties go to charset-normalizer."""
    ranked = [match.encoding for match in from_bytes(sample, cp_isolation=list(_WESTERN))]
    order = [*(name for name in ranked if name in _WESTERN), *_WESTERN]
    scores = {name: _plausible(sample.decode(name, "replace")) for name in _WESTERN}
    best = max(scores.values())
    if scores["cp1252"] >= best - 0.02:  # far the commonest
        return "cp1252"
    return next(name for name in order if scores[name] >= best - 0.02)


def _plausible(text: str) -> float:
    """Share of characters beyond ASCII that western reports hold: letters in words of their case, and some signs."""
    seen = good = 0
    for index, char in enumerate(text):
        if char < "\x80":
            continue
        seen += 1
        before = text[index - 1] if index else " "
        if char in _LETTERS:
            good += not (char.isupper() and before.islower())
        elif char in _SIGNS:
            good += not before.isalpha() or char in "’…–°\u00a0"
    return good / max(1, seen)
