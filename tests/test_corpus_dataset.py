from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpus_factory import make_corpus

from anonymize.console import UserError
from vlp.corpus.codec import encode
from vlp.corpus.dataset import Corpus, Key, StudyDataset
from vlp.corpus.sampler import StudyBatchSampler
from vlp.corpus.shards import ROW_GROUP, ParquetShards, shard_path, stored_fingerprint, write_shard
from vlp.corpus.store import Store
from vlp.study import ImageRef


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return Corpus.open(make_corpus(tmp_path_factory.mktemp("corpus"), studies=30))


def test_selects_by_split_anatomy_label_and_text(corpus):
    parts = [corpus.select(split=s) for s in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(corpus.studies) == 30
    assert {s.anatomy for s in corpus.select(label="kl_grade")} == {"knee"}
    assert corpus.select(anatomy=("hand", "chest")) != corpus.select(anatomy="hand")
    assert all(s.report for s in corpus.select(reported=True))
    with pytest.raises(ValueError, match="split"):
        corpus.select(split="dev")


def test_random_access_equals_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (5 + i, 9), dtype=np.uint8) for i in range(ROW_GROUP * 2 + 3)]
    write_shard(shard_path(tmp_path, 7), [(str(i), encode(p)) for i, p in enumerate(images)], "abc")
    assert stored_fingerprint(shard_path(tmp_path, 7)) == "abc"
    reader = pickle.loads(pickle.dumps(ParquetShards(Store(tmp_path), groups=1)))  # noqa: S301 - as a worker gets it
    corpus = Corpus(tmp_path, [], {})
    for row in rng.permutation(len(images)).tolist():
        ref = ImageRef(str(row), 7, row, *images[row].shape, "", "", None)
        assert np.array_equal(corpus.pixels(ref), images[row])
        assert reader.encoded(7, row) == encode(images[row])
    with pytest.raises(IndexError):
        reader.encoded(7, len(images))
    with pytest.raises(FileNotFoundError):
        reader.encoded(8, 0)


def test_cache_holds_no_more_than_asked(corpus):
    small = Corpus.open(corpus.path, cache_mb=1)
    ref = corpus.studies[0].images[0]
    assert small.pixels(ref) is small.pixels(ref)
    assert corpus.pixels(ref) is not corpus.pixels(ref)
    assert np.array_equal(small.pixels(ref), corpus.pixels(ref))


def test_items_depend_on_seed_epoch_and_index_alone(corpus):
    def noise(pixels, rng):
        return rng.normal(size=2).tolist()

    data = StudyDataset(corpus, corpus.studies, noise, seed=3)
    copy = pickle.loads(pickle.dumps(corpus))  # noqa: S301 - as a worker gets it
    first = [data[Key(1, i)].images for i in range(30)]
    again = StudyDataset(copy, corpus.studies, noise, seed=3)
    again.set_epoch(1)
    assert [again[i].images for i in reversed(range(30))][::-1] == first
    assert [data[Key(2, i)].images for i in range(30)] != first
    assert [StudyDataset(corpus, corpus.studies, noise, seed=4)[Key(1, i)].images for i in range(30)] != first


def test_number_of_images_per_item(corpus):
    two = next(s for s in corpus.studies if len(s.images) == 2)
    every = StudyDataset(corpus, [two], lambda p, rng: p, images=None)[0]
    assert every.refs == two.images
    drawn = {StudyDataset(corpus, [two], lambda p, rng: p)[Key(e, 0)].refs for e in range(20)}
    assert drawn == {(two.images[0],), (two.images[1],)}


def test_unfinished_corpus_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match="vlp prepare"):
        Corpus.open(tmp_path)


def test_the_reading_order_goes_on_after_kill_9(corpus, tmp_path):
    """Two DataLoader workers read ahead of the training loop; only what the loop has used counts."""
    expected = [line for epoch in range(3) for line in _lines(corpus, epoch)]
    log = tmp_path / "log.txt"
    command = [sys.executable, "-c", _READER, str(corpus.path), str(log)]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([*command, "0.2"], env=environment)
    try:
        end = time.monotonic() + 100
        while time.monotonic() < end and first.poll() is None and len(_written(log)) < 4:
            time.sleep(0.02)
        assert first.poll() is None, "the reader ended before it was killed"
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    before = _written(log)
    assert 4 <= len(before) < len(expected)
    subprocess.run([*command, "0"], env=environment, check=True, timeout=100)
    assert _written(log) == expected


_READER = """
import sys, time
import torch
from torch.utils.data import DataLoader
from test_corpus_dataset import _line, _loader_parts, _written, Corpus, Path
corpus, log, pause = Corpus.open(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
data, sampler = _loader_parts(corpus)
done = len(_written(log))
with log.open("a") as stream:
    for epoch in range(3):
        steps = len(sampler.global_batches(epoch))
        if done >= steps:
            done -= steps
            continue
        sampler.seek(epoch, done)
        done = 0
        for batch in DataLoader(data, batch_sampler=sampler, num_workers=2, collate_fn=list):
            stream.write(_line(batch) + "\\n")
            stream.flush()
            time.sleep(pause)
"""


def _loader_parts(corpus):
    studies = corpus.select(reported=True)
    data = StudyDataset(corpus, studies, _drawn, seed=5)
    return data, StudyBatchSampler(studies, 4, seed=5)


def _drawn(pixels, rng):
    return int(pixels.sum()), round(float(rng.random()), 9)


def _line(batch):
    return " ".join(f"{sample.study.study_id}:{sample.refs[0].image_id}:{sample.images}" for sample in batch)


def _lines(corpus, epoch):
    data, sampler = _loader_parts(corpus)
    sampler.seek(epoch)
    return [_line([data[key] for key in batch]) for batch in sampler]


def _written(log):
    """Whole lines: a kill may cut the last."""
    return log.read_text().split("\n")[:-1] if log.exists() else []
