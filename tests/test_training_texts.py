"""What of a report is read, and when two texts say the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlp.study import Study
from vlp.training.texts import TextSampling, key, keys, sample, statements, whole

RESULTS = "Fracture du radius. Écart de 2.5 mm.\nPas de plâtre"
EMPTY = {f.name: "" for f in dataclasses.fields(Study) if f.name not in ("age_months", "images", "labels")}
STUDY = Study(**EMPTY, age_months=None, images=())
FULL = dataclasses.replace(STUDY, results=RESULTS, conclusion="Fracture.", report="Titre\n" + RESULTS)


def test_statements_end_at_stops_and_lines_but_not_at_decimals() -> None:
    assert statements(RESULTS) == ["Fracture du radius.", "Écart de 2.5 mm.", "Pas de plâtre"]
    assert statements(" \n .. \n") == []


def test_every_kind_of_text_is_drawn_and_is_true_of_the_study() -> None:
    rng = np.random.default_rng(0)
    drawn = {sample(FULL, TextSampling(), rng) for _ in range(200)}
    assert {RESULTS, "Fracture.", whole(FULL)} <= drawn
    assert "Fracture du radius.\nPas de plâtre" in drawn
    own = set(keys([whole(FULL)])[0].tolist())
    assert all(set(keys([text])[0].tolist()) <= own | {0} for text in drawn)


def test_missing_sections_give_their_chance_to_others() -> None:
    rng = np.random.default_rng(0)
    only = dataclasses.replace(STUDY, conclusion="Normal.", report="Normal.")
    assert {sample(only, TextSampling(results=1, conclusion=0, whole=0, sentences=0), rng)} == {"Normal."}
    assert whole(dataclasses.replace(STUDY, report="Tout.")) == "Tout."


@pytest.mark.parametrize(("a", "b", "same"), [("Pas de fracture.", "pas de  FRACTURE", True), ("Âge", "age", False)])
def test_equal_statements_share_a_key(a: str, b: str, same: bool) -> None:
    assert (key(a) == key(b)) is same


@given(st.text())
def test_keys_are_positive_and_fit(text: str) -> None:
    assert 0 < key(text) < 2**63
    assert keys([text], most=4).shape == (1, 4)
