"""Which report belongs to which images."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safe_factory import INDEX, REPORT, make_safe, write_safe

from anonymize.console import Console
from vlp.corpus import pair as pairing
from vlp.corpus.config import PrepareConfig
from vlp.corpus.dataset import Corpus
from vlp.corpus.pair import Paired
from vlp.corpus.prepare import run_prepare

EXAMS = {"HAND": "Radiographie de la main", "KNEE": "Radiographie du genou", "CHEST": "Radiographie du thorax", "": ""}


def pair(images, reports, **values) -> Paired:
    return pairing.pair(images, reports, PrepareConfig(**values))


def film(number, patient="P1", study="", day="2020-01-05", part="", side=""):
    return {
        **INDEX,
        "image_id": f"I{number}",
        "patient": patient,
        "study": study or f"UID{number}",
        "date": day,
        "body_part": part,
        "laterality": side,
    }


def text(number, patient="P1", study="", day="2020-01-05", part="", side=""):
    exam = EXAMS[part] + {"R": " droit", "L": " gauche", "": ""}[side]
    said = f"Constat {number}."
    return {
        **REPORT,
        "report_id": f"R{number}",
        "patient": patient,
        "study": study or f"ACC{number}",
        "date": day,
        "exam": exam,
        "technique": "",
        "results": said,
        "text": said,
    }


def told(out: Paired) -> dict[str, tuple[str, str]]:
    return {p.report["report_id"]: (p.images[0]["image_id"], p.how) for p in out.studies if p.report}


def reasons(out: Paired) -> dict[str, str]:
    return {q.ref: q.reason for q in out.refused_reports}


def test_the_study_number_goes_first():
    out = pair([film(1, study="A", part="HAND")], [text(1, study="A", part="KNEE"), text(2, part="HAND")])
    assert told(out) == {"R1": ("I1", "study")}
    assert reasons(out) == {"R2": "report_without_images"}


@pytest.mark.parametrize(
    ("film_part", "text_part", "how", "reason"),
    [
        ("KNEE", "KNEE", "day_anatomy", ""),
        ("", "KNEE", "day", ""),
        ("KNEE", "", "day", ""),
        ("WRIST", "HAND", "day", ""),  # consoles name a wrist by the hand's protocol
        ("CHEST", "HAND", "", "anatomy_mismatch"),
    ],
)
def test_one_report_and_one_study_of_a_day(film_part, text_part, how, reason):
    out = pair([film(1, part=film_part)], [text(1, part=text_part)])
    assert told(out) == ({"R1": ("I1", how)} if how else {})
    assert reasons(out) == ({"R1": reason} if reason else {})
    assert out.notes == ({f"paired_by_{how}": 1} if how else {})


def test_several_of_a_day_are_told_apart_by_body_part_and_side():
    films = [film(1, part="KNEE", side="L"), film(2, part="KNEE", side="R"), film(3, part="HAND")]
    texts = [text(1, part="HAND"), text(2, part="KNEE", side="R"), text(3, part="KNEE", side="L")]
    assert {r: i for r, (i, _) in told(pair(films, texts)).items()} == {"R1": "I3", "R2": "I2", "R3": "I1"}


@pytest.mark.parametrize(
    ("films", "texts", "paired"),
    [
        (["KNEE", "KNEE"], ["KNEE"], 0),  # either knee
        (["KNEE"], ["KNEE", "KNEE"], 0),  # either report
        (["KNEE", ""], ["KNEE"], 0),  # the film without a name could be the knee
        (["KNEE", "HAND"], ["KNEE", ""], 0),  # the report without a name could speak of the knee
        (["KNEE", "HAND"], ["KNEE"], 1),
        (["KNEE", "HAND", "CHEST"], ["CHEST", "KNEE"], 2),
        (["KNEE", "HAND", "HAND"], ["HAND", "KNEE"], 1),
        (["HAND", "WRIST"], ["HAND"], 0),  # the wrist's film could be called a hand
    ],
)
def test_what_could_be_either_is_refused(films, texts, paired):
    out = pair([film(n, part=p) for n, p in enumerate(films)], [text(n, part=p) for n, p in enumerate(texts)])
    assert len(told(out)) == paired
    assert set(reasons(out).values()) <= {"ambiguous_pair"}
    assert len(reasons(out)) == len(texts) - paired


def test_a_report_on_two_examinations_is_given_to_neither():
    both = {**text(1), "exam": "Radiographie de la main et du genou"}
    out = pair([film(1, part="HAND"), film(2, part="KNEE")], [both])
    assert reasons(out) == {"R1": "ambiguous_pair"}


def at(row, time):
    return {**row, "date": f"{row['date']}T{time}"}


def test_times_in_order_decide_where_all_have_one():
    films = [at(film(1), "08:00:00"), at(film(2), "14:00:00")]
    texts = [at(text(2), "15:30:00"), at(text(1), "09:10:00")]
    assert told(pair(films, texts)) == {"R1": ("I1", "day_time"), "R2": ("I2", "day_time")}
    late = [at(text(2), "15:30:00"), at(text(1), "14:10:00")]  # both written after both films
    assert set(reasons(pair(films, late)).values()) == {"ambiguous_pair"}
    assert not told(pair(films, [texts[0], text(1)]))  # one without time


def test_a_report_of_the_next_day_only_when_asked_and_alone():
    films = [film(1, part="KNEE"), film(2, patient="P2", part="KNEE")]
    late = text(1, day="2020-01-06", part="KNEE")
    assert reasons(pair(films, [late])) == {"R1": "report_without_images"}
    assert told(pair(films, [late], pair_days=1)) == {"R1": ("I1", "later_day")}
    assert not told(pair(films, [{**late, "date": "2020-01-07"}], pair_days=1))
    assert not told(pair(films, [{**late, "date": "2020-01-04"}], pair_days=1))  # before the film
    assert not told(pair(films, [text(1, day="2020-01-06")], pair_days=1))  # says no body part
    assert not told(pair([*films, film(3, part="KNEE")], [late], pair_days=1))
    assert not told(pair(films, [late, text(2, day="2020-01-06", part="KNEE")], pair_days=1))


def test_an_image_of_two_patients_is_nobodys():
    out = pair([film(1, patient="P1"), film(1, patient="P2")], [])
    assert not out.studies
    assert [q.reason for q in out.refused_images] == ["patient_mismatch"] * 2
    out = pair([film(1, study="A"), film(1, study="B")], [])
    assert [q.reason for q in out.refused_images] == ["study_mismatch"] * 2


def test_only_radiographs_are_taken():
    others = [{**film(n), "modality": m} for n, m in enumerate(["CT", "us", "", "DX"])]
    out = pair(others, [])
    assert {p.images[0]["image_id"] for p in out.studies} == {"I2", "I3"}
    assert {(q.ref, q.position, q.reason) for q in out.refused_images} == {
        ("I0", 1, "wrong_modality"),
        ("I1", 2, "wrong_modality"),
    }
    assert len(pair(others, [], modalities=["CT", "US", "DX"]).studies) == 4


films = st.builds(
    film,
    st.integers(0, 12),
    st.sampled_from(["P1", "P2", "P3"]),
    st.sampled_from(["", "A", "B", "C"]),
    st.sampled_from(["2020-01-05", "2020-01-06", "2020-01-05T10:00", ""]),
    st.sampled_from(["HAND", "KNEE", "CHEST", ""]),
    st.sampled_from(["R", "L", ""]),
)
texts = st.builds(
    text,
    st.integers(0, 6),
    st.sampled_from(["P1", "P2", "P3"]),
    st.sampled_from(["", "A", "B", "D"]),
    st.sampled_from(["2020-01-05", "2020-01-06", "2020-01-05T11:00", ""]),
    st.sampled_from(["HAND", "KNEE", "CHEST", ""]),
    st.sampled_from(["R", "L", ""]),
)


def outcome(out: Paired):
    pairs = [(s, tuple(map(str, rows)), str(report), how) for s, rows, report, how in out.studies]
    refused = Counter((q.ref, q.reason) for q in (*out.refused_images, *out.refused_reports))
    return pairs, refused, out.notes


@settings(max_examples=150, deadline=None)
@given(st.lists(films, max_size=8), st.lists(texts, max_size=8), st.booleans(), st.integers(0, 2), st.randoms())
def test_every_row_once_whatever_the_order_and_no_patients_mixed(images, reports, keep, days, chance):
    out = pair(images, reports, keep_unreported=keep, pair_days=days)
    shown = [row["image_id"] for p in out.studies for row in p.images]
    assert Counter(shown + [q.ref for q in out.refused_images]) == Counter(r["image_id"] for r in images)
    given_out = [p.report["report_id"] for p in out.studies if p.report]
    assert Counter(given_out + [q.ref for q in out.refused_reports]) == Counter(r["report_id"] for r in reports)
    for found in out.studies:
        owners = {row["patient"] for row in found.images} | ({found.report["patient"]} if found.report else set())
        assert len(owners) == 1
        assert bool(found.report) == bool(found.how)
        assert keep or found.report
    shuffled_images, shuffled_reports = list(images), list(reports)
    chance.shuffle(shuffled_images)
    chance.shuffle(shuffled_reports)
    assert outcome(pair(shuffled_images, shuffled_reports, keep_unreported=keep, pair_days=days)) == outcome(out)


def test_the_manifest_says_how_each_pair_was_made(tmp_path):
    safe, images, reports = make_safe(tmp_path / "safe", studies=4)
    reports[1] = {**reports[1], "study": "ACC1", "date": "2020-03-01"}
    images[1]["date"] = "2020-03-01"
    images[2]["view"] = ""  # the report says: Face
    images[3].update(view="", description="Genou profil", body_part="CHEST")
    write_safe(safe, images, reports)
    summary = run_prepare(PrepareConfig(size=48, workers=1), safe, tmp_path / "corpus", Console("quiet"))
    studies = Corpus.open(tmp_path / "corpus").studies
    assert [s.pairing for s in studies] == ["study", "day_anatomy", "study", "study"]
    assert summary["pairing"] == {"day_anatomy": 1, "study": 3}
    assert [(s.images[0].view, s.images[0].view_source) for s in studies[1:]] == [
        ("AP", "header"),
        ("AP", "report"),
        ("LAT", "description"),
    ]
    assert {s.anatomy_source for s in studies} == {"report"}
    assert summary["notes"] == {"body_part_contradicts_words": 1, "paired_by_day_anatomy": 1}
