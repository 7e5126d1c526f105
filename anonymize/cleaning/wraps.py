"""Line-wrap repair: words that a hyphen parts and lines that were broken at a fixed width are joined; lists stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import quantiles

from anonymize.cleaning.offsets import Edit

_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})[\-\u00ad\u2010][ \t]*\n[ \t]*(?=[a-zß-öø-ÿœ]{2})")
_BREAK = re.compile(r"(?<=[^\n])\n(?=[^\n])")
_ITEM = re.compile(r"[ \t]*(?:[\-–*•#>+]|\d{1,2}[.)]|[a-z]\))[ \t]")
_LABELLED = re.compile(r"[ \t]*[^\W\d][^\n:]{0,40}:")


def joins(text: str, *, keep_hyphen_before: frozenset[str] = frozenset()) -> Iterator[Edit]:
    """Edits that join what belongs to one line.

    A break is joined where the line is nearly as long as the longest ones of the text, or the next line goes on in
    lower case; never before a list item, a title line ("Word :"), behind a full stop on a short line, or at a blank
    line.

    Args:
        keep_hyphen_before: folded words that keep their hyphen when joined (``-ci``, ``-t-il``).
    """
    lengths = [len(line.rstrip()) for line in text.split("\n") if line.strip()]
    if len(lengths) < 2:
        return
    full = max(40.0, 0.8 * quantiles(lengths, n=10, method="inclusive")[8])
    hyphens = set()
    for match in _HYPHEN.finditer(text):
        hyphens.add(text.index("\n", match.start()))
        word = re.match(r"\w+", text[match.end() :])
        keep = word is not None and word.group().lower() in keep_hyphen_before
        yield Edit(match.start(), match.end(), "-" if keep else "")
    for match in _BREAK.finditer(text):
        if match.start() not in hyphens and _wrapped(text, match.start(), full):
            start, end = match.start(), match.end()
            while text[start - 1] in " \t":
                start -= 1
            while end < len(text) and text[end] in " \t":
                end += 1
            yield Edit(start, end, " ")


def _wrapped(text: str, position: int, full: float) -> bool:
    """Whether the line break at ``position`` only keeps to a width."""
    line = text[text.rfind("\n", 0, position) + 1 : position].rstrip()
    stop = text.find("\n", position + 1)
    following = text[position + 1 : stop if stop >= 0 else len(text)]
    if not line or not following.strip() or _ITEM.match(following) or _LABELLED.match(following) or line[-1] == ":":
        return False
    first = following.lstrip()[0]
    if line[-1] in ".!?;":
        return len(line) >= full and first.islower()
    if first.islower():
        return len(line) >= 20 or line[-1] == ","
    return len(line) >= full and not line.isupper() and (first.isdigit() or first in "(" or line[-1] == ",")
