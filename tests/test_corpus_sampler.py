from __future__ import annotations

import dataclasses

import pytest
from corpus_factory import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp.corpus import sampler as sampler_module
from vlp.corpus.dataset import Corpus
from vlp.corpus.sampler import StudyBatchSampler


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return Corpus.open(make_corpus(tmp_path_factory.mktemp("sampler"), studies=2, size=16)).studies[0]


cases = st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 8)), min_size=1, max_size=60)


def studies_of(example, pairs):
    return [
        dataclasses.replace(example, study_id=str(i), patient_id=f"P{p}", report_hash=f"h{r}" if r >= 0 else "")
        for i, (p, r) in enumerate(pairs)
    ]


def check_unique(batch, pairs):
    patients = [pairs[i][0] for i in batch]
    reports = [pairs[i][1] for i in batch if pairs[i][1] >= 0]
    assert len(set(patients)) == len(patients)
    assert len(set(reports)) == len(reports)


@settings(max_examples=150, deadline=None)
@given(pairs=cases, size=st.integers(1, 9), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_every_study_once_and_no_false_negatives(example, pairs, size, seed, epoch):
    sampler = StudyBatchSampler(studies_of(example, pairs), size, seed=seed, drop_last=False)
    batches = sampler.global_batches(epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(pairs)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        check_unique(batch, pairs)


@settings(max_examples=100, deadline=None)
@given(pairs=cases, per_rank=st.integers(1, 3), seed=st.integers(0, 5))
def test_ranks_share_the_same_global_batches(example, pairs, per_rank, seed):
    studies = studies_of(example, pairs)
    whole = StudyBatchSampler(studies, per_rank * 6, seed=seed).global_batches(0)
    for batch in whole:
        assert len(batch) == per_rank * 6
        check_unique(batch, pairs)
    seen = [i for batch in whole for i in batch]
    assert len(set(seen)) == len(seen)
    for world in (1, 2, 3, 6):
        parts = [list(StudyBatchSampler(studies, per_rank * 6, rank, world, seed)) for rank in range(world)]
        for step, batch in enumerate(whole):
            shares = [{key.index for key in part[step]} for part in parts]
            assert sum(map(len, shares)) == len(batch)
            assert set().union(*shares) == set(batch)


@settings(max_examples=60, deadline=None)
@given(pairs=cases, size=st.integers(1, 5), stop=st.integers(0, 60))
def test_resumed_equals_uninterrupted(example, pairs, size, stop):
    studies = studies_of(example, pairs)

    def epochs(sampler):
        while sampler.epoch < 3:
            before = sampler.epoch
            yield from sampler
            if sampler.epoch == before:  # an epoch without a full batch
                sampler.set_epoch(before + 1)

    everything = list(epochs(StudyBatchSampler(studies, size)))
    first = StudyBatchSampler(studies, size)
    stream = epochs(first)
    head = [batch for _, batch in zip(range(stop), stream, strict=False)]
    second = StudyBatchSampler(studies, size)
    second.load_state_dict(first.state_dict())
    assert head + list(epochs(second)) == everything


def test_epochs_differ_and_a_foreign_state_is_refused(example):
    studies = studies_of(example, [(i, i) for i in range(20)])
    sampler = StudyBatchSampler(studies, 4)
    assert sampler.global_batches(0) != sampler.global_batches(1)
    with pytest.raises(ValueError, match="other studies"):
        StudyBatchSampler(studies[1:], 4).load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="multiple"):
        StudyBatchSampler(studies, 4, world_size=3)
    with pytest.raises(ValueError, match="drop_last"):
        StudyBatchSampler(studies, 4, world_size=2, drop_last=False)


def test_one_text_in_most_reports_stays_fast(example):
    studies = studies_of(example, [(i, 0 if i % 3 else i) for i in range(30_000)])
    batches = StudyBatchSampler(studies, 64).global_batches(0)
    assert 100 <= len(batches) <= 10_000 // 63 + 1
    free = StudyBatchSampler(studies, 64, unique_reports=False).global_batches(0)
    assert len(free) == 30_000 // 64


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        lambda i: (0 if i % 2 else i, 0 if i % 2 else i),  # one patient has half of the studies, all with one text
        lambda i: (0 if i % 2 else i, i),  # one patient has half of the studies
        lambda i: (i, i % 90),  # 90 texts in all
        lambda i: (i * 7919 % 300, i * 104729 % 307),  # few patients, few texts, every pair
    ],
)
def test_cost_grows_with_the_studies_however_they_repeat(example, monkeypatch, shape, drop_last):
    looks = 0
    original = sampler_module._Batch.blocker

    def counted(self, patient, report):
        nonlocal looks
        looks += 1
        return original(self, patient, report)

    monkeypatch.setattr(sampler_module._Batch, "blocker", counted)
    costs = []
    for count in (2_000, 8_000):
        looks = 0
        pairs = [shape(i) for i in range(count)]
        for batch in StudyBatchSampler(studies_of(example, pairs), 256, drop_last=drop_last).global_batches(0):
            check_unique(batch, pairs)
        costs.append(looks)
    assert costs[1] <= 6 * costs[0]
    assert costs[1] <= 30 * 8_000
