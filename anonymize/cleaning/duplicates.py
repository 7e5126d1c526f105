"""Near-duplicate reports: MinHash with locality-sensitive hashing (Broder 1997; Indyk & Motwani 1998), by datasketch.

Each report is compared with the first ones of the groups found so far that share a band of its signature, so the work
grows with the number of reports and memory with the number of different ones.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from anonymize.config import ConfigError
from anonymize.text import fold

_WORD = re.compile(r"[^\W_]+")
_SEED = 1


@dataclass(frozen=True)
class NearDuplicate:
    """One row of ``near_duplicates.parquet``: ``report_id`` is much like the first report of ``group``."""

    report_id: str
    group: int
    jaccard: float  # estimated, against the first report of the group; 1.0 for that one


def shingles(text: str, width: int = 3) -> set[bytes]:
    """Runs of ``width`` words without case and accents; numbers count as they are."""
    words = _WORD.findall(fold(text))
    return {" ".join(words[i : i + width]).encode() for i in range(max(1, len(words) - width + 1))} if words else set()


def near_duplicates(
    reports: Iterable[tuple[str, str]], *, threshold: float = 0.85, permutations: int = 128
) -> Iterator[NearDuplicate]:
    """Groups of two and more among ``reports`` (identifier, text), numbered from 0 in the order of their first report.

    Args:
        reports: read once.
        threshold: Jaccard similarity of the word triples from which reports count as near-duplicates.
        permutations: length of the signature; the standard error of the estimate is about 1 / sqrt(permutations).

    Raises:
        ConfigError: datasketch is not installed.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise ConfigError(
            "near-duplicates need the package datasketch; install it or set near_duplicates=false"
        ) from None
    index = MinHashLSH(threshold=threshold, num_perm=permutations)
    first: dict[int, MinHash] = {}
    members: list[tuple[str, int, float]] = []
    for report_id, text in reports:
        parts = shingles(text)
        if not parts:
            continue
        sketch = MinHash(num_perm=permutations, seed=_SEED, hashfunc=zlib.crc32)
        sketch.update_batch(list(parts))
        near = [(sketch.jaccard(first[key]), -key) for key in index.query(sketch) if isinstance(key, int)]
        best = max((pair for pair in near if pair[0] >= threshold), default=None)
        if best is None:
            group = len(first)
            first[group] = sketch
            index.insert(group, sketch, check_duplication=False)
            members.append((report_id, group, 1.0))
        else:
            members.append((report_id, -best[1], float(best[0])))
    sizes = Counter(group for _, group, _ in members)
    number = {group: rank for rank, group in enumerate(sorted(g for g, size in sizes.items() if size > 1))}
    for report_id, group, jaccard in members:
        if group in number:
            yield NearDuplicate(report_id, number[group], round(jaccard, 4))
