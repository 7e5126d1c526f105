"""Text that says the same thing hundreds of times over: looked at once, not at every repeat.

No report holds such a run; broken exports and hostile files do, and every rule would try each repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anonymize.report import Span

_SHORT = 2_000  # characters up to which a text is never looked through
_UNIT = 16  # characters of the longest repeated unit
_REPEATS = 60
_KEPT = 20  # repeats that stay in view


def runs(text: str) -> list[tuple[int, int, int]]:
    """Start, end of the part that stays in view, and end of each run of at least 60 repeats; in order, apart."""
    if len(text) <= _SHORT:
        return []
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    found: list[tuple[int, int, int]] = []
    for unit in range(1, _UNIT + 1):
        same = np.concatenate(([False], codes[unit:] == codes[:-unit], [False]))
        edges = np.flatnonzero(same[1:] != same[:-1])
        for start, stop in edges.reshape(-1, 2):
            if stop - start >= unit * (_REPEATS - 1):
                found.append((int(start), int(start) + unit * _KEPT, int(stop) + unit))
    found.sort(key=lambda run: (run[0], -run[2]))
    out: list[tuple[int, int, int]] = []
    for run in found:
        if not out or run[0] >= out[-1][2]:
            out.append(run)
    return out


def blanked(text: str, found: Sequence[tuple[int, int, int]]) -> str:
    """``text`` at unchanged offsets with blanks where the repeats behind the first ones stood."""
    pieces, position = [], 0
    for _, kept, end in found:
        pieces += [text[position:kept], " " * (end - kept)]
        position = end
    return "".join([*pieces, text[position:]])


def spread(spans: Sequence[Span], found: Sequence[tuple[int, int, int]]) -> list[Span]:
    """``spans`` of the blanked text, and for each run in which one stands a span over all of its repeats."""
    out = list(spans)
    for start, kept, end in found:
        inside = [span for span in spans if span.start < kept and span.end > start]
        if inside:
            strongest = max(inside, key=lambda span: span.score)
            out.append(replace(strongest, start=min(start, strongest.start), end=end))
    return out
