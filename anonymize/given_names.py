"""Whether a given name is a woman's or a man's, from the package's list of names."""

from __future__ import annotations

from functools import lru_cache

from anonymize.ner.lexicon import NAMES, read_names
from anonymize.text import fold


@lru_cache(maxsize=1)
def _genders() -> dict[str, str]:
    """Folded name → F or M; names that both bear equally often are left out."""
    ranks: dict[str, dict[str, int]] = {}
    if not NAMES.is_file():
        return {}
    for name in read_names():
        if name.kind in "fm":
            best = ranks.setdefault(fold(name.form), {})
            best[name.kind] = min(name.rank, best.get(name.kind, 9))
    genders = {}
    for form, best in ranks.items():
        female, male = best.get("f", 9), best.get("m", 9)
        if female != male:
            genders[form] = "F" if female < male else "M"
    return genders


def gender_of(name: str) -> str:
    """F or M; "" where the name is not listed or borne by both."""
    return _genders().get(fold(name), "")
