"""Coded entries (PS3.3 8.8): a known code gets the standard's own meaning, an unknown one is dropped."""

from __future__ import annotations

from functools import lru_cache

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

_LEGACY = {"SNM3": "SRT", "SNM": "SRT", "99SDM": "SRT"}


@lru_cache(maxsize=1)
def _meanings() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for scheme, by_keyword in concepts.items():
        for entries in by_keyword.values():
            for value, (meaning, *_) in entries.items():
                former = found.get((scheme, value))
                if former is None or len(meaning) < len(former):  # the plain name, not "... (body structure)"
                    found[scheme, value] = meaning
    return found


def standard_code(item: Dataset, schemes: frozenset[str] | None = None) -> Dataset | None:
    """``item`` rebuilt from the standard's dictionary, or None where the code is not in it.

    What the file says the code means is never copied: it is free text.

    Args:
        schemes: coding scheme designators that count; None for all of PS3.16.
    """
    value, scheme = (
        str(item.get("CodeValue", "") or "").strip(),
        str(item.get("CodingSchemeDesignator", "") or "").strip(),
    )
    if not value or (schemes is not None and scheme not in schemes):
        return None
    lookup = (scheme, value)
    if _LEGACY.get(scheme, scheme) == "SRT":
        lookup = ("SCT", mapping["SRT"].get(value, ""))
    meaning = _meanings().get(lookup)
    if meaning is None:
        return None
    clean = Dataset()
    clean.CodeValue, clean.CodingSchemeDesignator, clean.CodeMeaning = value, scheme, meaning[:64]
    return clean
