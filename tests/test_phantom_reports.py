"""The synthetic hospital's population, identities and reports."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from stdnum import luhn
from stdnum.be import nn
from stdnum.ch import ssn
from stdnum.fr import nir
from stdnum.gb import nhs

from anonymize.config import ConfigError
from anonymize.languages import load_pack
from vlp.phantom import findings
from vlp.phantom.config import PhantomConfig
from vlp.phantom.grammar import Grammar
from vlp.phantom.identities import NUMBERS, Directory, Person
from vlp.phantom.marked import Marked, Phi
from vlp.phantom.population import Patient, make_patient
from vlp.phantom.reports import ReportWriter, WrittenReport
from vlp.phantom.truth import decode_rle, encode_rle, labels_of

DEVICES = ["one", "two", "three"]
LANGUAGES = ["fr", "es", "de", "en"]


def written(config: PhantomConfig, patients: int) -> list[tuple[Patient, int, WrittenReport]]:
    directory, writer = Directory(config), ReportWriter(config)
    rows = []
    for index in range(patients):
        patient = make_patient(config, index, DEVICES)
        identity = directory.patient(patient)
        for number in range(len(patient.visits)):
            rows.append((patient, number, writer.write(patient, number, identity, directory.visit(patient, number))))
    return rows


@pytest.fixture(scope="module")
def french() -> list[tuple[Patient, int, WrittenReport]]:
    return written(PhantomConfig(seed=5), 700)


def plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)).lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_spans_hold_the_identity_and_nothing_of_it_stands_outside(language: str) -> None:
    config = PhantomConfig(seed=11, language=language)
    directory = Directory(config)
    vocabulary = set(re.findall(r"\w+", plain(str(load_pack(language)["phantom"]))))
    for patient, number, report in written(config, 60):
        shown = report.text
        outside = list(shown)
        for span in report.spans:
            assert shown[span.start : span.end] == span.phi.text
            assert span.phi.text.strip() == span.phi.text
            if not span.phi.label.startswith("DATE"):
                assert plain(span.phi.value).startswith(plain(span.phi.text)) or span.phi.altered
            outside[span.start : span.end] = " " * (span.end - span.start)
        rest = plain("".join(outside))
        who = directory.visit(patient, number)
        for name, value in (directory.patient(patient).values() | who.values()).items():
            if name in ("birth_date",) or plain(value) in vocabulary or len(value) < 3:
                continue
            assert not re.search(rf"(?<!\w){re.escape(plain(value))}(?!\w)", rest), name


def test_a_patient_depends_on_seed_and_index_alone(french: list[tuple[Patient, int, WrittenReport]]) -> None:
    config = PhantomConfig(seed=5)
    patient, number, report = french[-1]
    again = make_patient(config, patient.index, DEVICES)
    assert again == patient
    directory = Directory(config)
    text = ReportWriter(config).write(again, number, directory.patient(again), directory.visit(again, number))
    assert text == report
    assert make_patient(PhantomConfig(seed=6), patient.index, DEVICES) != patient


def test_report_length_and_header_do_not_tell_the_finding(french: list[tuple[Patient, int, WrittenReport]]) -> None:
    for label in ("fracture", "effusion", "consolidation", "cardiomegaly"):
        rows, target = [], []
        for patient, number, report in french:
            exam = patient.visits[number].exam
            labels = labels_of(exam)
            if label in labels:
                features = [
                    len(report.text),
                    report.text.count("\n"),
                    exam.age_months,
                    exam.sex == "F",
                    len(exam.views),
                ]
                rows.append([*features, patient.site, exam.body_mass, DEVICES.index(exam.device), number])
                target.append(labels[label])
        x, y = np.array(rows, dtype=float), np.array(target)
        assert len(y) > 200
        assert 0.1 < y.mean() < 0.5
        model = LogisticRegression()
        guess = cross_val_predict(model, (x - x.mean(0)) / x.std(0), y, cv=5, method="predict_proba")[:, 1]
        error = np.sqrt((len(y) + 1) / (12 * y.sum() * (len(y) - y.sum())))  # of an AUROC under chance
        assert roc_auc_score(y, guess) <= 0.55 + 2 * error, label


def test_readers_of_knees_and_hands_disagree_as_real_ones(french: list[tuple[Patient, int, WrittenReport]]) -> None:
    rng = random.Random(3)
    sd = PhantomConfig().kl_reader_sd
    pairs = []
    for _ in range(4000):
        severity = rng.uniform(-0.5, 4.4)
        one, two = (findings.knee(rng, severity, sd, valgus=False).kl_read for _ in range(2))
        pairs.append((one, two))
    assert 0.82 <= cohen_kappa_score(*zip(*pairs, strict=True), weights="quadratic") <= 0.93
    exams = [patient.visits[number].exam for patient, number, _ in french if patient.anatomy == "hand"]
    spread = np.std([exam.bone_age_months - exam.age_months for exam in exams if exam.age_months > 96])
    noise = np.std([exam.bone_age_read - exam.bone_age_months for exam in exams])
    assert 8 <= spread <= 16
    assert 5 <= noise <= 9  # 0.58 years is 7 months


def test_held_out_patients_share_no_wording_with_the_others() -> None:
    rules = Grammar(load_pack("fr")["phantom"]["rules"])
    for name in rules.names():
        if name.startswith(("r.", "c.")) and "@" not in name and rules.wordings(name):
            kinds = {wording.held_out for wording in rules.wordings(name)}
            assert True in kinds or name in ("r.knee_side", "c.cast", "c.hardware"), name
    grammar = Grammar({"say": ["a", "b", "~ c"]})
    rng = random.Random(0)
    assert {grammar.say("say", {}, rng).text for _ in range(50)} == {"a", "b"}
    assert {grammar.say("say", {}, rng, held_out=True).text for _ in range(50)} == {"c"}
    config = PhantomConfig(seed=2)
    held = {report.style for _, _, report in written(config, 120) if report.held_out}
    usual = {report.style for _, _, report in written(config, 120) if not report.held_out}
    assert held
    assert not held & usual


def test_later_studies_follow_from_earlier_ones() -> None:
    config = PhantomConfig(seed=1, studies_mean=4)
    followed = 0
    for index in range(150):
        patient = make_patient(config, index, DEVICES)
        dates = [visit.date for visit in patient.visits]
        assert dates == sorted(set(dates))
        exams = [visit.exam for visit in patient.visits]
        for before, after in itertools.pairwise(exams):
            assert after.age_months >= before.age_months
            if before.bone_age_months is not None and after.age_months - before.age_months >= 5:
                assert after.bone_age_months > before.bone_age_months - 3
            for side, knee in before.knees.items():
                assert after.knees[side].kl >= knee.kl
            for old in before.fractures:  # the same break, not a new injury of a limb that had healed
                same = [f for f in after.fractures if dataclasses.replace(f, callus=old.callus) == old]
                assert all(f.callus >= old.callus for f in same)
                followed += len(same)
    assert followed > 40


def test_a_planted_shortcut_and_gap_show_and_are_absent_otherwise() -> None:
    shortcut = {"label": "fracture", "strength": 1.0}
    config = PhantomConfig(planted_shortcut=shortcut, planted_gap={"group": "sex", "value": "F"})
    markers = {0.0: set(), 1.0: set()}
    for index in range(150):
        for visit in make_patient(config, index, DEVICES).visits:
            labels = labels_of(visit.exam)
            assert (visit.exam.contrast < 1) == (visit.exam.sex == "F")
            if "fracture" in labels:
                markers[labels["fracture"]].add(visit.exam.planted_marker)
            else:
                assert visit.exam.planted_marker == ""
    assert markers == {0.0: {"square"}, 1.0: {"ring"}}
    assert {v.exam.planted_marker for i in range(40) for v in make_patient(PhantomConfig(), i, DEVICES).visits} == {""}


def test_national_numbers_pass_their_check_digits() -> None:
    rng = random.Random(0)
    for index in range(60):
        patient = make_patient(PhantomConfig(), index, DEVICES)
        person = Person("Le Goff", "Zoé", patient.sex)
        assert nir.is_valid(NUMBERS["nir"](rng, person, patient))
        assert nn.is_valid(NUMBERS["niss"](rng, person, patient))
        assert ssn.is_valid(NUMBERS["avs"](rng, person, patient))
        assert nhs.is_valid(NUMBERS["nhs"](rng, person, patient))
        assert re.fullmatch(r"[A-Z]{4} \d{4} \d{4}", NUMBERS["ramq"](rng, person, patient))
        assert re.fullmatch(r"[A-Z]\d{9}", NUMBERS["kvnr"](rng, person, patient))
    staff = Directory(PhantomConfig()).staff(0, "radiologist", 1)
    assert luhn.is_valid(staff.number)
    assert len(staff.number) == 11


@given(st.lists(st.tuples(st.text("abé d'l\n", max_size=8), st.booleans()), max_size=8))
def test_edits_leave_identities_whole(parts: list[tuple[str, bool]]) -> None:
    text = Marked([Phi(t, "NOM", t) if secret else t for t, secret in parts])
    before = [span.phi.text for span in text.spans]
    edited = text.sub(re.compile("[ab]"), "xyz").sub(re.compile(" d"), "").sentence_case()
    assert [edited.text[span.start : span.end] for span in edited.spans] == before
    assert "a" not in "".join(piece for piece in edited.pieces if isinstance(piece, str))


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_run_lengths_give_the_mask_back(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    assert (decode_rle(encode_rle(mask), height, width) == mask).all()


def test_grammar_refuses_what_cannot_be_said() -> None:
    with pytest.raises(ConfigError, match="not closed"):
        Grammar({"a": ["[x|y"]})
    with pytest.raises(ConfigError, match="no wording that fits"):
        Grammar({"a": ["{unknown}"]}).say("a", {}, random.Random(0))
    nested = Grammar({"a": ["<b.{k}>[| {no}]"], "b": {"1": ["[x|[y|z]]"]}})
    rng = random.Random(0)
    assert {nested.say("a", {"k": "1"}, rng).text for _ in range(60)} == {"x", "y", "z"}
