"""Text that says the same thing over and over: looked at some times, not at every repeat.

No report holds such a run; broken exports and hostile files do, and every rule would try each repeat.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anonymize.report import Span

_SHORT = 2_000  # characters up to which a text is never looked through
_SHRINKS = 8  # how much smaller zlib makes such a text; reports shrink to a half
_SHORT_UNIT, _LONGEST_UNIT = 16, 192  # characters of a repeated unit
_LEAST = 900  # characters of a run
_KEPT = {True: 20, False: 4}  # repeats that stay in view, of a short unit and of a long one


@dataclass(frozen=True)
class Run:
    """``text[start:end]`` repeats its first ``unit`` characters; up to ``kept`` it stays in view."""

    start: int
    end: int
    unit: int
    kept: int


def runs(text: str) -> list[Run]:
    """The runs of ``text`` in order, apart from each other."""
    if len(text) <= _SHORT:
        return []
    data = text.encode("utf-8", "surrogatepass")
    if len(zlib.compress(data, 1)) * _SHRINKS > len(data):
        return []
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found: list[Run] = []
    for unit in range(1, min(_LONGEST_UNIT, len(text) // 2) + 1):
        short = unit <= _SHORT_UNIT
        least = max(_LEAST, 2 * _KEPT[short] * unit)
        same = np.concatenate(([False], codes[unit:] == codes[:-unit], [False]))
        edges = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2)
        for start, stop in edges[edges[:, 1] - edges[:, 0] >= least].tolist():
            found.append(Run(start, stop + unit, unit, start + unit * _KEPT[short]))
    found.sort(key=lambda run: (run.unit, run.start))
    out: list[Run] = []
    for run in found:
        if not any(run.start < other.end and other.start < run.end for other in out):
            out.append(run)
    return sorted(out, key=lambda run: run.start)


def blanked(text: str, found: Sequence[Run]) -> str:
    """``text`` at unchanged offsets with blanks where the repeats behind the first ones stood."""
    pieces, position = [], 0
    for run in found:
        pieces += [text[position : run.kept], " " * (run.end - run.kept)]
        position = run.end
    return "".join([*pieces, text[position:]])


def spread(spans: Sequence[Span], found: Sequence[Run]) -> list[Span]:
    """``spans`` of the blanked text and their repeats.

    Where a span stands in a run of a short unit, one span covers the whole run. In a run of a long unit the spans of two
    units in view stand again in each unit that follows.
    """
    out = list(spans)
    for run in found:
        inside = [span for span in spans if span.start < run.kept and span.end > run.start]
        if inside and run.unit <= _SHORT_UNIT:
            strongest = max(inside, key=lambda span: span.score)
            out.append(replace(strongest, start=min(run.start, strongest.start), end=run.end))
            continue
        first = run.kept - 2 * run.unit
        for span in inside:
            if span.start >= first:
                step = run.unit
                while span.start + step < run.end:
                    out.append(replace(span, start=span.start + step, end=min(span.end + step, run.end)))
                    step += run.unit
    return out
