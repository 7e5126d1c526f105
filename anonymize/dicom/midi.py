"""The ten actions of the MIDI-B challenge (arXiv 2507.23608), judged over an answer key: removal and retention both count.

A key says of every instance what must happen to which attribute. What is looked at is the output file alone, found by
the mapping of SOP Instance UIDs that the run wrote (``mappings=true``). A file that is missing passes what had to go and
fails what had to stay, as in the challenge. Text is compared by its tokens, so that an address half removed is half right.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array

from anonymize.console import Console, UserError
from anonymize.files import open_atomic
from anonymize.text import fold

ACTIONS = (
    "tag_retained",
    "text_notnull",
    "text_retained",
    "text_removed",
    "date_shifted",
    "uid_changed",
    "uid_consistent",
    "patid_consistent",
    "pixels_hidden",
    "pixels_retained",
)
LEAST = 4
"""Letters of a token that is looked for inside longer words too. A shorter one stands in a pseudonym by chance: a name of two
letters in about one of seventy of 16 letters or digits; one that is left stands there as a word."""
_TOKEN = re.compile(r"[^\W_]+")
_STEP = re.compile(r"(?P<name>\w+|\(\w{4},\w{4}\))(?:\[(?P<item>\d+)\])?")
_SAME = 0.995  # share of a box that one value fills where it is hidden


@dataclass(frozen=True)
class Answer:
    """One row of an answer key."""

    sop_instance_uid: str  # of the original
    patient: str  # Patient ID of the original
    action: str  # one of ACTIONS
    path: str  # keywords or (gggg,eeee) joined by points, items in brackets: "RequestAttributesSequence[0].StudyID"
    value: str  # of the original; a box "x0,y0,x1,y1" of pixels_hidden, a digest of pixels_retained


@dataclass(frozen=True)
class Verdict:
    """How far one answer was followed, from 0 to 1; ``found`` says what stands there, without its value."""

    answer: Answer
    right: float
    found: str
    file: str = ""  # of the output, relative to its folder; "" where it is missing


def read_key(path: Path) -> Iterator[Answer]:
    """The answers of a Parquet table with the columns of :class:`Answer`, in its order.

    Raises:
        UserError: it cannot be read, lacks a column, or names an action that is none.
    """
    try:
        table = pq.read_table(path, columns=list(Answer.__dataclass_fields__))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: no answer key that can be read ({type(error).__name__})") from None
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            if row["action"] not in ACTIONS:
                raise UserError(f"{path}: '{row['action']}' is no action; there are: {', '.join(ACTIONS)}")
            yield Answer(**row)


def read_mapping(path: Path) -> dict[str, str]:
    """Old to new of a CSV with the heading ``id_old,id_new``.

    Raises:
        UserError: there is no such file, or it has another heading.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["id_old"]: row["id_new"] for row in csv.DictReader(stream)}
    except (OSError, KeyError) as error:
        raise UserError(
            f"{path}: no mapping (heading id_old,id_new); run anonymize dicom with mappings=true"
        ) from error


def judge(
    answers: Iterable[Answer],
    folder: Path,
    uids: Mapping[str, str],
    patients: Mapping[str, str],
    console: Console,
    failures: Path | None = None,
) -> dict[str, Any]:
    """Judge every answer over the DICOM files below ``folder``.

    Args:
        failures: a CSV to be written: file, action, path, right and found of each answer that was not followed wholly.

    Returns:
        ``instances, files_missing, actions, right, share`` (right of all actions), ``by_action`` (n and share of each),
        ``wrong``: of each action and path how many were not right, worst first.

    Raises:
        UserError: the key is empty.
    """
    by_instance: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_instance[answer.sop_instance_uid].append(answer)
    if not by_instance:
        raise UserError("the answer key holds no row")
    files = {}
    for path in console.track(sorted(folder.rglob("*.dcm")), None, "index", "files"):
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        files[str(ds.get("SOPInstanceUID", ""))] = path
    verdicts: list[Verdict] = []
    shifts: dict[str, Counter[int]] = defaultdict(Counter)
    dated: list[tuple[Answer, int | None, str]] = []
    missing = 0
    for original, group in console.track(by_instance.items(), len(by_instance), "actions", "instances"):
        path = files.get(uids.get(original, ""))
        shown = str(path.relative_to(folder)) if path else ""
        missing += path is None
        ds = pydicom.dcmread(path) if path else None
        frames = _frames(ds) if ds is not None and any(a.action.startswith("pixels") for a in group) else None
        for answer in group:
            if answer.action == "date_shifted":
                days = _days(answer.value, element_at(ds, answer.path))
                dated.append((answer, days, shown))
                if days:
                    shifts[answer.patient][days] += 1
            else:
                verdicts.append(dataclasses.replace(_verdict(answer, ds, frames, uids, patients), file=shown))
    for answer, days, shown in dated:  # every date of a patient moves by the same number of days, and it moves
        usual = shifts[answer.patient].most_common(1)
        right = bool(days) and bool(usual) and days == usual[0][0]
        verdicts.append(
            Verdict(answer, float(right), "other shift" if days else "not shifted" if days == 0 else "no date", shown)
        )
    if failures is not None:
        with open_atomic(failures, "w") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("file", "action", "path", "right", "found"))
            for verdict in sorted((v for v in verdicts if v.right < 1), key=lambda v: (v.answer.action, v.file)):
                answer = verdict.answer
                writer.writerow((verdict.file, answer.action, answer.path, round(verdict.right, 3), verdict.found))
    return {"instances": len(by_instance), "files_missing": missing, **_summary(verdicts)}


def digest(frames: npt.NDArray[Any]) -> str:
    """SHA-256 of decoded frames: their shape and values, whatever their type and coding."""
    plain = np.ascontiguousarray(frames, "<i4")
    return hashlib.sha256(repr(plain.shape).encode() + plain.tobytes()).hexdigest()


def _verdict(
    answer: Answer,
    ds: Dataset | None,
    frames: npt.NDArray[Any] | None,
    uids: Mapping[str, str],
    patients: Mapping[str, str],
) -> Verdict:
    action = answer.action
    if action == "pixels_retained":
        right = frames is not None and digest(frames) == answer.value
        return Verdict(answer, float(right), "no pixels" if frames is None else "other pixels")
    if action == "pixels_hidden":
        x0, y0, x1, y1 = (round(float(edge)) for edge in answer.value.split(","))
        if frames is None:
            return Verdict(answer, 1.0, "no pixels")
        box = frames[..., max(0, y0) : y1, max(0, x0) : x1]
        same = max(np.unique(box, return_counts=True)[1]) / box.size if box.size else 1.0
        return Verdict(answer, float(same >= _SAME), f"one value fills {same:.3f}")
    element = element_at(ds, answer.path)
    text = text_of(element)
    if action == "tag_retained":
        return Verdict(answer, float(element is not None), "no element")
    if action == "text_notnull":
        return Verdict(answer, float(bool(text)), "empty" if element is not None else "no element")
    if action == "uid_changed":
        return Verdict(answer, float(text != answer.value), "unchanged")
    if action == "uid_consistent":
        return Verdict(
            answer, float(bool(text) and text == uids.get(answer.value)), "another UID" if text else "no UID"
        )
    if action == "patid_consistent":
        return Verdict(answer, float(bool(text) and text == patients.get(answer.value)), "another" if text else "none")
    wanted, held = _tokens(answer.value), fold(text)
    words = set(_TOKEN.findall(held))
    found = sum(token in (held if len(token) >= LEAST else words) for token in wanted)
    kept = found / len(wanted) if wanted else float(action == "text_retained")
    right = kept if action == "text_retained" else 1.0 - kept
    return Verdict(answer, right, "empty" if not text else f"{kept:.2f} of the tokens")


def _tokens(value: str) -> list[str]:
    """Folded tokens; single signs say nothing where others stand beside them."""
    found = _TOKEN.findall(fold(value))
    return [token for token in found if len(token) > 1] or found


def element_at(ds: Dataset | None, path: str) -> Any:
    """The element at ``path``, None where it or an item before it is missing."""
    if ds is None:
        return None
    place: Any = ds
    element: Any = None
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        name = match["name"] if match else step
        tag: Any = tuple(int(part, 16) for part in name[1:-1].split(",")) if name[0] == "(" else name
        if tag not in place:
            return None
        element = place[tag]
        if match and match["item"] is not None:
            if int(match["item"]) >= len(element.value):
                return None
            place = element.value[int(match["item"])]
    return element


def text_of(element: Any) -> str:
    """The value of an element as text, several values joined by blanks; "" where there is none."""
    if element is None or element.value is None:
        return ""
    value = element.value
    if isinstance(value, bytes):
        return value.rstrip(b"\0 ").decode("utf-8", "replace")
    parts = value if isinstance(value, list | MultiValue) else [value]  # a person name can be iterated as well
    return " ".join(str(part) for part in parts).strip()


def _days(original: str, element: Any) -> int | None:
    """By how many days the date moved; None where none stands there."""
    before, after = _date(original), _date(text_of(element))
    return (after - before).days if before and after else None


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()
    except ValueError:
        return None


def _frames(ds: Dataset) -> npt.NDArray[Any] | None:
    try:
        return pixel_array(ds, raw=True)
    except Exception:  # whatever a decoder raises: there are no pixels to be judged
        return None


def _summary(verdicts: list[Verdict]) -> dict[str, Any]:
    by_action: dict[str, list[float]] = defaultdict(list)
    wrong: Counter[tuple[str, str, str]] = Counter()
    for verdict in verdicts:
        by_action[verdict.answer.action].append(verdict.right)
        if verdict.right < 1:
            path = re.sub(r"\[\d+\]", "[]", verdict.answer.path)
            wrong[verdict.answer.action, path, verdict.found] += 1
    right = sum(map(sum, by_action.values()))
    return {
        "actions": len(verdicts),
        "right": round(right, 2),
        "share": round(right / len(verdicts), 6),
        "by_action": {
            name: {"n": len(by_action[name]), "share": round(sum(by_action[name]) / len(by_action[name]), 6)}
            for name in ACTIONS
            if name in by_action
        },
        "wrong": [
            {"action": action, "path": path, "found": found, "n": count}
            for (action, path, found), count in wrong.most_common(50)
        ],
    }
