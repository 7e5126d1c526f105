"""The split by patient: a keyed hash alone, or balanced over strata with a ledger of who is where.

Patients are pseudonyms, which ``anonymize`` makes with the project's secret key: the hash is keyed through them, and
``salt`` need not be secret.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from anonymize.console import UserError
from anonymize.files import fingerprint, read_rows, write_table
from vlp.corpus.config import SplitConfig
from vlp.corpus.shards import stored_fingerprint, with_fingerprint
from vlp.corpus.source import PlannedStudy
from vlp.corpus.store import Store
from vlp.study import SPLITS, Study

LEDGER = "splits.parquet"
_SCHEMA = pa.schema([("patient_id", pa.string()), ("split", pa.string())])
_AGES = (2, 6, 12, 18, 40, 60, 80)  # years: growth below 18, then adults


def split_of(patient: str, config: SplitConfig) -> str:
    """train, validation or test: a pure function of the patient's pseudonym, so new data never move a patient.

    SHA-256 of salt and pseudonym gives a place in [0, 1): test lies at the bottom, validation above it, so a larger
    test part keeps the former test patients.
    """
    place = _place(patient, config)
    if place < config.test:
        return "test"
    return "validation" if place < config.test + config.validation else "train"


def split_patients(
    studies: Sequence[PlannedStudy], config: SplitConfig, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The part of every patient of ``studies``.

    Patients in ``known`` keep theirs. The others get the hash's, or with ``config.stratify`` the part that leaves the
    groups they belong to (all patients, each anatomy, sex, age band, with or without report, and all of these together)
    nearest to the fractions: minimisation as trials use it (Pocock & Simon 1975, Biometrics 31:103), in the order of
    the hash, known patients counted. The order of ``studies`` does not matter.
    """
    by_patient: dict[str, list[PlannedStudy]] = defaultdict(list)
    for study in studies:
        by_patient[study.patient_id].append(study)
    out = _kept(by_patient, known or {})
    new = sorted(by_patient.keys() - out.keys(), key=lambda p: (_place(p, config), p))
    if not config.stratify:
        return out | {patient: split_of(patient, config) for patient in new}
    parts = {"train": 1 - config.validation - config.test, "validation": config.validation, "test": config.test}
    parts = {name: part for name, part in parts.items() if part > 0}
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for patient, split in sorted(out.items()):
        for group in groups_of(by_patient[patient]):
            counts[group][split] += 1
    for patient in new:
        own = groups_of(by_patient[patient])
        # from far below its quota to above it; the larger part where nothing else decides
        split = min(parts, key=lambda name: (sum(_excess(counts[g], name, parts[name]) for g in own), -parts[name]))
        out[patient] = split
        for group in own:
            counts[group][split] += 1
    return out


def groups_of(studies: Sequence[PlannedStudy]) -> list[tuple[str, ...]]:
    """The groups in which a patient with these studies counts, the first of which holds everybody."""
    anatomy = "+".join(sorted({s.anatomy for s in studies}))
    sex = next((s.sex for s in sorted(studies, key=lambda s: s.study_id) if s.sex), "")
    ages = [s.age_months for s in studies if s.age_months is not None]
    age = str(sum(min(ages) // 12 >= edge for edge in _AGES)) if ages else ""
    report = "report" if any(s.report for s in studies) else ""
    single = [("anatomy", anatomy), ("sex", sex), ("age", age), ("report", report)]
    return [("all",), *single, ("stratum", anatomy, sex, age, report)]


def read_ledger(location: str | Path) -> dict[str, str]:
    """Patients and their parts from a ledger file, or from the one of a corpus at any location.

    Raises:
        UserError: there is no ledger, or it is not one.
    """
    file, missing = str(location), f"does not exist; name a corpus that this version made, or its {LEDGER}"
    try:
        if Path(file).is_file():
            rows = _read(Path(file))
        else:
            store = Store(location)
            file = store.address(LEDGER)
            with store.reading(LEDGER) as path:
                if not path.is_file():
                    raise UserError(f"split.ledger: {file} {missing}")
                rows = _read(path)
    except FileNotFoundError:
        raise UserError(f"split.ledger: {file} {missing}") from None
    except (KeyError, OSError, pa.ArrowException):
        raise UserError(f"split.ledger: {file} is no table with the columns patient_id and split") from None
    if wrong := sorted(set(rows.values()) - set(SPLITS)):
        raise UserError(f"split.ledger: {file} names parts that do not exist: {', '.join(map(str, wrong))}")
    return rows


def known_patients(out: Store, config: SplitConfig) -> dict[str, str]:
    """The ledger that the configuration names; else, of a stratified corpus made again in its folder, its own.

    Raises:
        UserError: the configuration names a ledger that is not there.
    """
    if config.ledger:
        return read_ledger(config.ledger)
    if not (config.stratify and out.exists(LEDGER)):
        return {}
    with out.reading(LEDGER) as path:
        return _read(path) if stored_fingerprint(path) == _mark(config) else {}


def write_ledger(path: Path, studies: Sequence[Study], known: Mapping[str, str], config: SplitConfig) -> None:
    """Write where every patient of the corpus is, and those of the former ledger that are not in it now."""
    names = {study.patient_id: study.split for study in studies}
    names |= {group_name(s.study_id): s.split for s in studies if s.patient_id.startswith(group_name(""))}
    rows = [{"patient_id": patient, "split": split} for patient, split in sorted({**known, **names}.items())]
    write_table(path, rows, with_fingerprint(_SCHEMA, _mark(config)))


def _read(path: Path) -> dict[str, str]:
    return {row["patient_id"]: row["split"] for row in read_rows(path)}


def group_name(study: str) -> str:
    """The patient of a study whose patient is not known; of several that belong together, the first study names it."""
    return f"G-{study}"


def _kept(by_patient: Mapping[str, Sequence[PlannedStudy]], known: Mapping[str, str]) -> dict[str, str]:
    """The parts of the patients that are known, also under the group names of their studies.

    New data can join studies of unknown patients. Where such a group had two parts it goes to the one that models have
    already learned from: test stays unseen.
    """
    out: dict[str, str] = {}
    for patient, studies in by_patient.items():
        names = (patient, *(group_name(study.study_id) for study in studies))
        parts = {known[name] for name in names if name in known}
        if parts:
            out[patient] = min(parts, key=SPLITS.index)
    return out


def _excess(counts: Counter[str], name: str, part: float) -> float:
    """What one more patient in a part adds to the group's chi-square distance from the fractions, but for a factor 2."""
    return (counts[name] + 0.5 - part * (counts.total() + 1)) / part


def _place(patient: str, config: SplitConfig) -> float:
    digest = hashlib.sha256(f"{config.salt}\0{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _mark(config: SplitConfig) -> str:
    return fingerprint(config.model_dump(mode="json", exclude={"ledger"}))
