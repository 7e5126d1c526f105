"""Licences of weights: read from where they lie, kept in what is trained from them, refused where the user must decide."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anonymize.console import Console, UserError
from anonymize.files import read_json

UNSPECIFIED = "unspecified"
# SPDX and hub ids (cc-by-nc-4.0, fair-noncommercial-research-license, apple-amlr), and what terms of use are called
_NON_COMMERCIAL = re.compile(
    r"(?<![a-z])nc(?![a-z])|non-?commercial|research-(use|only)|academic|amlr|physionet-credentialed", re.IGNORECASE
)


def non_commercial(licence: str) -> bool:
    """Whether ``licence`` (an SPDX id, a hub's id or a title) forbids commercial use."""
    return _NON_COMMERCIAL.search(re.sub(r"[\s_]+", "-", licence)) is not None


def licence_of(path: Path) -> str:
    """The licence of a model folder (ours, timm's, transformers', open_clip's) or of a weights file in one.

    Looked for in config.json, then in the head of README.md; "unspecified" where neither says it.
    """
    folder = path if path.is_dir() else path.parent
    config: Mapping[str, Any] = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    timm = config.get("pretrained_cfg")
    said = [config.get("licence"), config.get("license"), timm.get("license") if isinstance(timm, dict) else None]
    head = _card_head(folder / "README.md")
    name = head.get("license_name") if head.get("license") == "other" else None
    for value in (*said, name, head.get("license")):
        if isinstance(value, list):  # the hub allows several; the strictest counts
            value = next((item for item in value if non_commercial(str(item))), value[0] if value else None)
        if isinstance(value, str) and value and value != UNSPECIFIED:
            return value
    return UNSPECIFIED


def inherited(own: str, sources: Mapping[str, str]) -> str:
    """The licence of weights trained from ``sources`` (what they are: their licence), where the user says ``own``.

    A non-commercial source stays non-commercial whatever ``own`` says; with ``own`` unspecified, one source's licence
    (or one that several share) goes on.
    """
    strict = next((licence for licence in sources.values() if non_commercial(licence)), None)
    if strict is not None:
        return own if non_commercial(own) else strict
    known = set(sources.values())
    return known.pop() if own == UNSPECIFIED and len(known) == 1 else own


def check_licences(sources: Mapping[str, Path], allowed: bool, console: Console) -> dict[str, str]:
    """The licence of each of ``sources`` (what it is: where it lies).

    Warns where weights from elsewhere state none.

    Raises:
        UserError: a non-commercial one that the user has not ``allowed``.
    """
    found = {what: licence_of(path) for what, path in sources.items()}
    for what, licence in found.items():
        if licence == UNSPECIFIED and not _ours(sources[what]):
            console.warn(f"{what} {sources[what]}: no licence is stated; find out before a model leaves the hospital")
        elif non_commercial(licence) and not allowed:
            raise UserError(
                f"{what} {sources[what]} has the licence {licence}, which forbids commercial use, and so will every model "
                "made from it. If that is right for you, say --allow-non-commercial (in a file: allow_non_commercial: true)"
            )
    return found


def _ours(path: Path) -> bool:
    file = path / "config.json"
    return file.is_file() and "format" in read_json(file)


def _card_head(file: Path) -> Mapping[str, Any]:
    """The YAML between the first two lines of three dashes."""
    if not file.is_file():
        return {}
    parts = file.read_text(encoding="utf-8", errors="replace").split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return head if isinstance(head, dict) else {}
