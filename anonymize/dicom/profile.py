"""The two tables behind the header: PS3.15 table E.1-1 (profile.csv) and what we keep (keep.yaml)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml
from pydicom.datadict import tag_for_keyword

_FOLDER = files("anonymize.dicom")


@lru_cache(maxsize=1)
def basic_profile() -> dict[int, str]:
    """Tag → action code (D, Z, X, U and their mixtures, PS3.15 E.3) of every single attribute of table E.1-1."""
    lines = _FOLDER.joinpath("profile.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {int(row["tag"], 16): row["action"] for row in rows if "x" not in row["tag"]}


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
