"""Which words of a header may stay: the radiology vocabulary of the language packs, less the patient's own names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from anonymize.dicom.elements import gathered
from anonymize.languages import load_pack
from anonymize.text import fold

_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_IDENTIFIERS = (
    "PatientID",
    "AccessionNumber",
    "StudyID",
    "IssuerOfPatientID",
    "PatientAddress",
    "AdmissionID",
    "RequestedProcedureID",
    "OtherPatientIDs",
)


@lru_cache(maxsize=8)
def vocabulary(languages: tuple[str, ...]) -> frozenset[str]:
    """Folded words of ``dicom.yaml`` and ``anatomy.yaml`` of the packs; compounds are split into their words."""
    words: set[str] = set()
    for language in languages:
        pack = load_pack(language)
        for topic in ("dicom", "anatomy"):
            topics = {key: value for key, value in pack[topic].items() if key != "marks"}
            for text in _texts(topics):
                words.update(tokens(text))
    return frozenset(words)


def is_plain(text: str, words: frozenset[str], identity: frozenset[str]) -> bool:
    """Whether every token of ``text`` is a vocabulary word or a number below 100, and none is part of an identity."""
    if not all(c.isascii() or c.isalnum() or unicodedata.category(c)[0] in "MPZ" for c in text):
        return False  # signs of a script that this Python does not know are no words of a vocabulary either
    found = tokens(text)
    return all((len(t) <= 2 if t.isdigit() else t in words) and t not in identity for t in found)


def identity_tokens(ds: Dataset) -> frozenset[str]:
    """Folded tokens (three letters or digits and more) of all person names and identifiers, at every depth.

    The single letters of initials stay out: they would forbid side letters.
    """
    found: set[str] = set()
    for text in gathered(ds, _identity_text):
        found.update(token for token in tokens(text) if len(token) >= 3)
    return frozenset(found)


def tokens(text: str) -> list[str]:
    """Folded runs of letters and runs of digits. Ligatures are spelled out."""
    return _TOKEN.findall(fold(text.replace("œ", "oe").replace("Œ", "OE").replace("ß", "ss")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for part in value:
            yield from _texts(part)
    elif value is not None:
        yield str(value)


def _identity_text(element: DataElement) -> Iterator[str]:
    if element.VR == "PN" or element.keyword in _IDENTIFIERS:
        yield str(element.value)
