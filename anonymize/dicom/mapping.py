"""Which identifier became which: two tables for who must judge a run (the MIDI-B script reads them), never for release."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom._uid_dict import UID_dictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from anonymize.dicom.elements import gathered
from anonymize.files import open_atomic
from anonymize.keys import Keys

Pair = tuple[str, str, str]
"""``uid`` or ``patient``, the original, what it became."""


def pairs_of(ds: Dataset, patient: str, keys: Keys, *, retain_uids: bool = False) -> list[Pair]:
    """The Patient ID and every UID of ``ds`` that is not the standard's own, at every depth, each once."""
    uids = dict.fromkeys(gathered(ds, _uids))
    return [
        ("patient", str(ds.get("PatientID", "")), patient),
        *(("uid", uid, uid if retain_uids else keys.uid(uid)) for uid in uids),
    ]


def write_mappings(folder: Path, pairs: Iterable[Pair]) -> None:
    """``patid_mapping.csv`` and ``uid_mapping.csv`` (``id_old,id_new``) in the private ``folder``, each pair once."""
    tables: dict[str, dict[str, str]] = {"patient": {}, "uid": {}}
    for kind, old, new in pairs:
        tables[kind][old] = new
    for kind, name in (("patient", "patid_mapping.csv"), ("uid", "uid_mapping.csv")):
        with open_atomic(folder / name, "w", permissions=0o600) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("id_old", "id_new"))
            writer.writerows(sorted(tables[kind].items()))


def _uids(element: DataElement) -> Iterator[str]:
    if element.VR == "UI" and element.value:
        values = [element.value] if isinstance(element.value, str) else element.value
        yield from (str(value) for value in values if str(value) not in UID_dictionary)
