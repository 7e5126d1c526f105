"""The split by patient: frozen, balanced, whatever the order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safe_factory import make_safe, write_safe

from anonymize.console import Console, UserError
from anonymize.files import read_rows
from vlp.corpus.config import PrepareConfig, SplitConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.prepare import run_prepare
from vlp.corpus.source import ImageFile, PlannedStudy
from vlp.corpus.split import groups_of, split_of, split_patients
from vlp.phantom.config import PhantomConfig
from vlp.phantom.population import make_patient

IMAGE = (ImageFile("I", "", "", ""),)


def study(number, patient, anatomy="knee", sex="F", age=500, report="x"):
    return PlannedStudy(f"S{number}", patient, anatomy, IMAGE, age_months=age, sex=sex, report=report)


def phantom_studies(patients: int, seed: int = 0) -> list[PlannedStudy]:
    """The studies of a synthetic hospital, without drawing a film; every fifth without report."""
    config = PhantomConfig(patients=patients, seed=seed)
    out = []
    for number in range(patients):
        patient = make_patient(config, number)
        for visit in patient.visits:
            months = (visit.date.year - patient.birth_date.year) * 12
            report = "" if number % 5 == 0 else "x"
            out.append(study(len(out), f"P{seed}-{number}", patient.anatomy, patient.sex, months, report))
    return out


@settings(max_examples=100)
@given(patients=st.lists(st.text(min_size=1), unique=True, max_size=60), more=st.floats(0, 0.3))
def test_a_larger_test_part_keeps_the_former_test_patients(patients, more):
    small, large = SplitConfig(test=0.2), SplitConfig(test=0.2 + more)
    for patient in patients:
        if split_of(patient, small) == "test":
            assert split_of(patient, large) == "test"
    parts = Counter(split_of(f"P{n}", small) for n in range(4000))
    assert abs(parts["test"] / 4000 - 0.2) < 0.03
    assert abs(parts["validation"] / 4000 - 0.1) < 0.03


some_studies = st.lists(
    st.builds(
        study,
        st.integers(0, 10**6),
        st.integers(0, 40).map("P{}".format),
        st.sampled_from(["knee", "hand", "chest"]),
        st.sampled_from(["F", "M", ""]),
        st.sampled_from([None, 30, 200, 900]),
        st.sampled_from(["", "x"]),
    ),
    max_size=50,
    unique_by=lambda s: s.study_id,
)


@settings(max_examples=150, deadline=None)
@given(old=some_studies, new=some_studies, stratify=st.booleans(), chance=st.randoms())
def test_new_data_never_move_a_patient(old, new, stratify, chance):
    config = SplitConfig(stratify=stratify)
    first = split_patients(old, config)
    both = [*old, *new]
    chance.shuffle(both)
    second = split_patients(both, config, first if stratify else None)
    assert {patient: second[patient] for patient in first} == first
    assert second.keys() == {s.patient_id for s in both}
    again = sorted(both, key=lambda s: s.study_id)
    assert split_patients(again, config, first if stratify else None) == second


def distance(studies, splits, config, level):
    """Mean over the groups of a level of the number of patients in excess in any part."""
    parts = {"train": 1 - config.validation - config.test, "validation": config.validation, "test": config.test}
    own = {p: groups_of([s for s in studies if s.patient_id == p]) for p in splits}
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for patient, split in splits.items():
        for group in own[patient]:
            if group[0] == level:
                counts.setdefault(group, Counter())[split] += 1
    excess = [sum(abs(c[name] - part * c.total()) for name, part in parts.items()) / 2 for c in counts.values()]
    return sum(excess) / len(excess)


@pytest.mark.parametrize("level", ["all", "anatomy", "sex", "age", "report", "stratum"])
def test_balanced_strata_are_nearer_to_the_fractions_than_the_hash(level):
    studies = phantom_studies(500)
    plain, balanced = SplitConfig(), SplitConfig(stratify=True)
    by_hash = distance(studies, split_patients(studies, plain), plain, level)
    by_stratum = distance(studies, split_patients(studies, balanced), balanced, level)
    assert by_stratum < by_hash
    if level != "stratum":  # one of hundreds of groups there has one patient, which no part can be a fraction of
        assert by_stratum < 2.5


def test_additions_are_balanced_around_those_who_stay():
    studies, config = phantom_studies(400), SplitConfig(stratify=True)
    old = studies[: len(studies) // 2]
    known = split_patients(old, SplitConfig())  # a former corpus, split by the hash alone
    splits = split_patients(studies, config, known)
    assert {p: splits[p] for p in known} == known
    assert distance(studies, splits, config, "anatomy") < distance(
        studies, split_patients(studies, SplitConfig()), config, "anatomy"
    )


def test_a_group_of_unknown_patients_stays_when_new_data_join_it():
    config = SplitConfig(stratify=True)
    known = {"G-S5": "test"}
    joined = [study(3, "G-S3"), study(5, "G-S3")]  # S3 came later and names the group now
    assert split_patients(joined, config, known) == {"G-S3": "test"}
    assert split_patients(joined, config, {**known, "G-S3": "train"}) == {"G-S3": "train"}
    assert split_patients([study(5, "P7")], config, known) == {"P7": "test"}  # now we know whose it is


def test_ledger_of_a_corpus(tmp_path):
    safe, images, reports = make_safe(tmp_path / "safe", studies=16)
    few, first = tmp_path / "few", tmp_path / "first"
    (few / "images").mkdir(parents=True)
    for row in images:
        target = few / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(safe / "images" / row["path"])
    write_safe(few, images[:8], reports[:8])

    def run(source, out, **split):
        config = PrepareConfig(size=48, workers=1, split=SplitConfig(stratify=True, **split))
        run_prepare(config, source, out, Console("quiet"))
        return {s.patient_id: s.split for s in Corpus.open(out).studies}

    small = run(few, first)
    large = run(safe, tmp_path / "second", ledger=str(first))
    assert len(large) == 8
    assert {p: large[p] for p in small} == small
    assert run(safe, first) == large  # made again in its folder it keeps them too
    ledger = read_rows(tmp_path / "second" / "splits.parquet")
    assert {row["patient_id"]: row["split"] for row in ledger} == large
    back = run(few, tmp_path / "third", ledger=str(tmp_path / "second" / "splits.parquet"))
    assert back == small
    assert len(read_rows(tmp_path / "third" / "splits.parquet")) == 8  # those who are away are not forgotten
    with pytest.raises(UserError, match=r"split\.ledger"):
        run(few, tmp_path / "fourth", ledger=str(tmp_path / "nowhere"))
    assert not (tmp_path / "fourth").exists()
