"""The tables behind the header: PS3.15 (profile.csv, safe_private.csv), PS3.3's terms (terms.csv), our keep-list (keep.yaml)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml
from pydicom.datadict import tag_for_keyword

_FOLDER = files("anonymize.dicom")
OPTIONS = {  # column of profile.csv -> code of the option (CID 7050)
    "clean_graphics": "113103",
    "clean_structured_content": "113104",
    "clean_descriptors": "113105",
    "retain_full_dates": "113106",
    "retain_modified_dates": "113107",
    "retain_patient_characteristics": "113108",
    "retain_device_identity": "113109",
    "retain_uids": "113110",
    "retain_institution": "113112",
}
_RESOLVED = {"X/Z": "Z", "X/D": "D", "X/Z/D": "D", "Z/D": "D", "X/Z/U*": "U"}


@dataclass(frozen=True)
class Rule:
    """One row of table E.1-1."""

    action: str  # D, Z, X, U or a mixture such as X/Z/D
    options: Mapping[str, str]  # name of an option -> K or C

    def resolved(self, enabled: frozenset[str]) -> str:
        """The one action under the ``enabled`` options: C before K before the profile's own.

        A mixture hangs on the attribute's type in the IOD (PS3.15 E.3: X for type 3, Z for 2, D for 1). The strongest that is
        valid for every type is taken: an attribute that is there stays, emptied or with a dummy.
        """
        codes = {code for name, code in self.options.items() if name in enabled}
        return "C" if "C" in codes else "K" if "K" in codes else _RESOLVED.get(self.action, self.action)


@lru_cache(maxsize=1)
def rules() -> dict[int, Rule]:
    """Tag → rule of every single attribute of table E.1-1. Overlays, curves and private groups have no rows here."""
    return {
        int(row["tag"], 16): Rule(row["action"], {name: row[name] for name in OPTIONS if row[name]})
        for row in _rows("profile.csv")
        if "x" not in row["tag"]
    }


@lru_cache(maxsize=1)
def basic_profile() -> dict[int, str]:
    """Tag → action code (D, Z, X, U and their mixtures, PS3.15 E.3) of every single attribute of table E.1-1."""
    return {tag: rule.action for tag, rule in rules().items()}


@lru_cache(maxsize=1)
def safe_private() -> dict[tuple[str, int, int], str]:
    """(creator, group, last two digits of the element) → VR, of PS3.15 table E.3.10-1."""
    return {
        (row["creator"], int(row["group"], 16), int(row["element"], 16)): row["vr"] for row in _rows("safe_private.csv")
    }


@lru_cache(maxsize=1)
def terms() -> dict[int, frozenset[str]]:
    """Tag → the defined terms and enumerated values of PS3.3, and those that keep.yaml adds."""
    found = {int(row["tag"], 16): frozenset(row["terms"].split("|")) for row in _rows("terms.csv")}
    for tag, values in keep_list().closed.items():
        found[tag] = found.get(tag, frozenset()) | values
    return found


def _rows(name: str) -> Iterator[dict[str, str]]:
    lines = _FOLDER.joinpath(name).read_text(encoding="utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith("#"))


@dataclass(frozen=True)
class Keep:
    """keep.yaml with keywords as tags."""

    number_groups: frozenset[int]
    numbers: frozenset[int]
    closed: dict[int, frozenset[str]]
    vocabulary: frozenset[int]
    descriptors: frozenset[int]
    device: frozenset[int]
    patient: frozenset[int]
    dates: frozenset[int]
    times: frozenset[int]
    uids: frozenset[int]
    standard_uids: frozenset[int]
    sequences: frozenset[int]
    code_sequences: frozenset[int]
    bytes: frozenset[int]
    pointers: frozenset[int]
    content: frozenset[int]
    required: frozenset[int]
    schemes: frozenset[str]


@lru_cache(maxsize=1)
def keep_list() -> Keep:
    """The keep-list, every keyword checked against the standard's dictionary."""
    data: dict[str, Any] = yaml.safe_load(_FOLDER.joinpath("keep.yaml").read_text(encoding="utf-8"))
    groups = frozenset(int(group, 16) for group in data.pop("number_groups"))
    schemes = frozenset(data.pop("schemes"))
    closed = {_tag(keyword): frozenset(values) for keyword, values in data.pop("closed").items()}
    sets = {name: frozenset(_tag(keyword) for keyword in keywords) for name, keywords in data.items()}
    return Keep(number_groups=groups, schemes=schemes, closed=closed, **sets)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"keep.yaml: '{keyword}' is not a keyword of the DICOM data dictionary")
    return tag
