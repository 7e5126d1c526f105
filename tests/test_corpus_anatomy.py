"""Body part, view and side: from words, codes and the look of the images."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_factory import make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymize.files import read_rows
from anonymize.languages import available
from vlp.corpus.anatomy import anatomy_of, laterality_of, named, view_of
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.decoded import REFUSED
from vlp.corpus.recognise import TABLE, recognise
from vlp.corpus.shards import shard_path, write_shard
from vlp.corpus.source import ImageFile, PlannedStudy
from vlp.corpus.store import Store
from vlp.corpus.teller import FOLDS, Known, features, fold_of, teach


@pytest.mark.parametrize(
    ("language", "text", "anatomy", "side"),
    [
        ("fr", "Radiographie de la cheville gauche", "ankle", "L"),
        ("de", "Röntgen Handgelenk rechts in 2 Ebenen", "wrist", "R"),
        ("es", "Radiografía de rodilla izquierda", "knee", "L"),
        ("en", "XR left forearm AP", "forearm", "L"),
    ],
)
def test_words_of_each_language(language, text, anatomy, side):
    if language not in available():
        pytest.skip(f"there is no language pack '{language}'")
    assert anatomy_of("", [(text, language)]) == anatomy
    assert laterality_of("", [(text, "")], language) == side


def test_anatomy_view_and_side_from_words_and_codes():
    assert anatomy_of("CHEST", [("Radiographie du GENOU droit de face", "fr")]) == "knee"
    assert anatomy_of("CHEST", [("", "fr")]) == "chest"
    assert anatomy_of("LOW_LEG", []) == "lower_leg"
    assert anatomy_of("", [("avant-bras gauche", "fr")]) == "forearm"
    assert anatomy_of("", [("échographie abdominale", "fr")]) == "unknown"
    assert view_of("LL", []) == "LAT"
    assert view_of("", [("genou de profil", "fr")]) == "LAT"
    assert laterality_of("", [("Genoux de face", "fr")]) == "B"
    assert laterality_of("", [("genou drt", "fr")]) == "R"
    assert laterality_of("L", [("genou droit", "fr")]) == "L"


def test_every_body_part_of_a_text_is_found():
    assert named("anatomy", [("Radiographie de la main et du genou", "fr")]) == {"hand", "knee"}
    assert named("view", [("face", "fr"), ("profil", "fr")]) == {"AP", "LAT"}
    assert named("anatomy", [("", "fr")]) == frozenset()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_features_of_any_image_are_finite(height, width, seed, top):
    pixels = np.random.default_rng(seed).integers(0, top + 1, (height, width)).astype(np.uint8)
    seen = features(pixels)
    assert seen.shape == (769,)
    assert np.isfinite(seen).all()


def test_a_patient_is_judged_by_the_model_that_has_not_seen_it():
    rng = np.random.default_rng(0)
    patients = [f"P{n}" for n in range(60)]
    seen = rng.normal(0, 1, (60, 30)).astype(np.float32)
    seen[:30, 0] += 6
    labels = ["a"] * 30 + ["b"] * 30
    labels[0] = "b"  # noted wrong; a model that had seen it would have learned that
    teller, trial = teach(seen, labels, patients, 0.9)
    told = [teller.names[int(teller.tell(x, fold_of(p)).argmax())] for x, p in zip(seen, patients, strict=True)]
    assert told[0] == "a"
    assert trial.known == 60
    assert trial.right == sum(a == b for a, b in zip(told, labels, strict=True))
    for fold in range(FOLDS):
        assert np.exp(teller.tell(seen[0], fold)).sum() == pytest.approx(1)
    assert teller.like_known(seen[0], fold_of("P0"))
    assert not teller.like_known(seen[0] + 50, fold_of("P0"))


def test_the_nearest_known_image_is_that_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    for count in (3, 9, 200):
        seen = rng.normal(size=(count, 769)).astype(np.float32)
        seen[-1] = seen[0] + 1e-3 * seen[1]  # all but the same
        folds = np.arange(count) % 2
        known = Known.of(seen, folds)
        for image in (*seen[:3], seen[-1], seen[0] + 50):
            others = seen[folds != 1] - image
            assert known.nearest(image, 1) == pytest.approx(np.sqrt((others * others).sum(axis=1).min()), rel=1e-5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Four drawn anatomies, 60 studies each of 30 patients, in two shards."""
    folder = make_corpus(tmp_path_factory.mktemp("corpus") / "c", studies=240)
    rows = pq.ParquetFile(shard_path(folder, 0)).read().to_pylist()
    pngs = [(row["image_id"], row["image"]) for row in rows]
    write_shard(shard_path(folder, 0), pngs[:200])
    write_shard(shard_path(folder, 1), pngs[200:])
    return folder


def planned(corpus):
    """Its studies as they are planned, and their rows of the decoded table."""
    studies, decoded = [], {}
    for study in Corpus.open(corpus).studies:
        images = tuple(ImageFile(i.image_id, "", i.view, i.laterality) for i in study.images)
        studies.append(PlannedStudy(study.study_id, study.patient_id, study.anatomy, images))
        for ref in study.images:
            place = divmod(ref.row, 200)
            decoded[ref.image_id] = dataclasses.replace(REFUSED, image_id=ref.image_id, shard=place[0], row=place[1])
    return studies, decoded


def run(corpus, studies, decoded, **values):
    filled, summary = recognise(studies, decoded, set(), Store(corpus), PrepareConfig(**{"workers": 1, **values}))
    return filled, summary, {row["image_id"]: row for row in read_rows(corpus / TABLE)}


def test_what_is_not_known_is_told_by_the_image_and_nothing_else_changes(corpus):
    studies, decoded = planned(corpus)
    patients = sorted({s.patient_id for s in studies})
    hidden = set(random.Random(0).sample(patients, 30))
    given_out = [dataclasses.replace(s, anatomy="unknown") if s.patient_id in hidden else s for s in studies]
    filled, summary, table = run(corpus, given_out, decoded)
    assert summary["anatomy"]["used"]
    told = [(a, b) for a, b in zip(studies, filled, strict=True) if a.patient_id in hidden]
    right = [a for a, b in told if b.anatomy == a.anatomy]
    assert len(right) >= 0.7 * len(told)
    assert {b.anatomy for a, b in told if b.anatomy != a.anatomy} <= {"unknown"}
    assert {b.anatomy_source for _, b in told if b.anatomy != "unknown"} == {"image"}
    assert [b for a, b in zip(studies, filled, strict=True) if a.patient_id not in hidden] == [
        s for s in studies if s.patient_id not in hidden
    ]
    assert summary["anatomies_filled"] == len(right)
    assert len(table) == len(decoded)


def test_an_image_that_contradicts_its_anatomy_is_flagged_and_keeps_it(corpus):
    studies, decoded = planned(corpus)
    wrong = next(n for n, s in enumerate(studies) if s.anatomy == "chest")
    studies[wrong] = dataclasses.replace(studies[wrong], anatomy="hand", anatomy_source="header")
    filled, summary, table = run(corpus, studies, decoded)
    assert filled[wrong].anatomy == "hand"
    flagged = {image for image, row in table.items() if "other_anatomy" in row["flags"]}
    assert {i.image_id for i in studies[wrong].images} & flagged
    assert len(flagged) <= 0.02 * len(table) + 2
    assert summary["flags"]["other_anatomy"] == len(flagged)


def test_it_stays_silent_where_it_cannot_be_right(corpus):
    studies, decoded = planned(corpus)
    few = [dataclasses.replace(s, anatomy="unknown") if n > 30 else s for n, s in enumerate(studies)]
    filled, summary, _ = run(corpus, few, decoded)
    assert filled == few
    assert not summary["anatomy"]["used"]
    assert "few" in summary["anatomy"]["why"]
    names = [s.anatomy for s in studies]
    random.Random(0).shuffle(names)
    mixed = [dataclasses.replace(s, anatomy=a) for s, a in zip(studies, names, strict=True)]
    mixed[:40] = [dataclasses.replace(s, anatomy="unknown") for s in mixed[:40]]
    filled, summary, table = run(corpus, mixed, decoded)
    assert filled == mixed
    assert not summary["anatomy"]["used"]
    assert not any(row["flags"] for row in table.values())


def test_the_same_bytes_with_any_number_of_workers(corpus):
    studies, decoded = planned(corpus)
    studies[:40] = [dataclasses.replace(s, anatomy="unknown") for s in studies[:40]]
    one = run(corpus, studies, decoded)
    first = (corpus / TABLE).read_bytes()
    two = run(corpus, studies, decoded, workers=2)
    assert one == two
    assert (corpus / TABLE).read_bytes() == first
