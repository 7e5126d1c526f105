"""Public sets of bones, from miniature copies of their published structure."""

from __future__ import annotations

import dataclasses
import shutil

import public_sets
import pytest
from public_sets import by_image, planned, prepare

from vlp.corpus.adapters.sets import SETS


def test_bone_ages_are_months_and_each_split_finds_its_own_film(tmp_path):
    source = planned(tmp_path, "rsna-bone-age", public_sets.rsna_bone_age)
    assert source.images_read == 8
    assert source.notes == {"labels_out_of_range": 1}  # 400 months
    first = by_image(source, "boneage-training-dataset/1377.png")
    assert (first.labels, first.sex, first.split) == ({"bone_age_months": 180.0}, "F", "train")
    assert (first.anatomy, first.images[0].laterality, first.images[0].view) == ("hand", "L", "PA")
    assert by_image(source, "1378.png").sex == "M"
    assert by_image(source, "1380.png").labels == {}
    same_number = by_image(source, "boneage-validation-dataset-1/1377.png")
    assert (same_number.labels["bone_age_months"], same_number.split) == (61.0, "validation")
    assert by_image(source, "4360.png").labels == {"bone_age_months": 168.93}
    assert {s.split for s in source.studies} == {"train", "validation", "test"}


def test_bone_age_corpus_names_the_missing_film(tmp_path):
    summary, corpus = prepare(tmp_path, "rsna-bone-age", public_sets.rsna_bone_age, official=True)
    assert summary["images"] == {"read": 8, "kept": 7, "refused": 1}
    assert summary["refused_images"] == {"missing_file": 1}
    # number 1377 stands in training and validation: in a patient-wise split it is held out
    assert summary["notes"] == {"labels_out_of_range": 1, "moved_to_a_held_out_part": 1}
    assert {s.split for s in corpus.studies if s.labels.get("bone_age_months") in (180.0, 61.0)} == {"validation"}
    assert summary["source"]["licence"] == SETS["rsna-bone-age"].licence
    assert SETS["rsna-bone-age"].licence in (tmp_path / "corpus/card.md").read_text()


def test_mura_patients_are_the_same_in_every_region(tmp_path):
    summary, corpus = prepare(tmp_path, "mura", public_sets.mura, official=True)
    assert summary["refused_images"] == {"unknown_file_name": 1, "duplicate_row": 1, "missing_file": 1}
    assert summary["images"] == {"read": 8, "kept": 5, "refused": 3}
    wrist = next(s for s in corpus.studies if s.anatomy == "wrist")
    assert (wrist.labels, len(wrist.images), wrist.site) == ({"abnormal": 1.0}, 2, "mura wrist")
    hands = {s.patient_id: s.labels for s in corpus.studies if s.anatomy == "hand"}
    assert hands[wrist.patient_id] == {"abnormal": 0.0}
    assert len(hands) == 2  # the finger of the validation part counts as a hand
    assert summary["patients"] == 3
    # MURA's authors published no test part: it is dealt from their training part, never from their validation part
    finger = next(s for s in corpus.studies if s.patient_id in hands and s.patient_id != wrist.patient_id)
    assert finger.split == "validation"
    assert {s.split for s in corpus.studies if s is not finger} <= {"train", "test"}


def test_fracatlas_counts_copies_as_one_patient(tmp_path):
    summary, corpus = prepare(tmp_path, "fracatlas", public_sets.fracatlas, official=True)
    assert summary["refused_images"] == {"truncated_image": 1}
    assert summary["patients"] == 3
    hand = next(s for s in corpus.studies if s.anatomy == "hand")
    assert (hand.labels, hand.split, hand.images[0].view) == ({"fracture": 1.0, "hardware": 0.0}, "test", "AP")
    leg = next(s for s in corpus.studies if s.labels["hardware"] == 1)
    assert (leg.anatomy, leg.images[0].view) == ("extremity", "")  # two views on one picture
    assert len({(s.patient_id, s.split) for s in corpus.studies if s.labels["fracture"] == 0}) == 1


@pytest.mark.parametrize(
    ("kinds", "kept", "refused", "notes"),
    [
        (("coco", "voc", "yolo"), 2, 1, {}),
        (("voc", "yolo"), 1, 0, {"unreadable_box_files": 1}),
        (("yolo",), 1, 0, {}),
        ((), 0, 0, {}),
    ],
)
def test_fracatlas_boxes_come_from_the_first_format_that_is_there(tmp_path, kinds, kept, refused, notes):
    summary, corpus = prepare(tmp_path, "fracatlas", lambda root: public_sets.fracatlas_boxes(root, *kinds))
    assert summary["notes"] == notes
    assert summary.get("boxes", {"kept": 0, "refused": 0}).items() >= {"kept": kept, "refused": refused}.items()
    if kinds:
        hand = next(s for s in corpus.studies if s.anatomy == "hand")
        (box,) = hand.images[0].boxes
        assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((0.1, 0.1, 0.3, 0.3), abs=0.01)
        assert box.label == "fractured"
    if "coco" in kinds:  # its pixels are counted in a picture of twice the size
        assert summary["boxes"]["of_refused_images"] == 1
        leg = next(s for s in corpus.studies if s.labels["hardware"] == 1)
        assert dataclasses.astuple(leg.images[0].boxes[0])[1:5] == pytest.approx((0.1, 0.1, 0.3, 0.3), abs=0.01)
        assert summary["refused_boxes"] == {"box_beyond_image": 1}


def test_grazpedwri_boxes_come_from_voc_where_there_is_no_yolo(tmp_path):
    def make(root):
        public_sets.grazpedwri(root)
        shutil.rmtree(root / "folder_structure/yolov5")

    summary, _ = prepare(tmp_path, "grazpedwri-dx", make)
    assert summary["box_labels"] == {"axis": 1}


def test_grazpedwri_study_shows_what_one_of_its_views_shows(tmp_path):
    summary, corpus = prepare(tmp_path, "grazpedwri-dx", public_sets.grazpedwri)
    assert summary["refused_images"] == {"no_patient": 1}
    assert summary["notes"] == {"uncertain_diagnosis": 1}
    assert summary["boxes"] == {"read": 5, "kept": 2, "refused": 3, "of_refused_images": 0, "cropped_away": 0}
    assert summary["refused_boxes"] == {"box_unreadable": 2, "box_without_area": 1}
    assert summary["box_labels"] == {"text": 1, "fracture": 1}
    left, right = sorted((s for s in corpus.studies if s.age_months == 170), key=lambda s: len(s.images))[::-1]
    assert left.patient_id == right.patient_id
    assert (left.labels["fracture"], right.labels["fracture"]) == (1.0, 0.0)
    assert {(i.view, i.laterality) for i in left.images} == {("PA", "L"), ("LAT", "L")}
    assert left.images[0].spacing_mm == pytest.approx(0.144 * 120 / 48, rel=0.1)  # at the working size
    (fracture,) = [box for ref in left.images for box in ref.boxes if box.label == "fracture"]
    assert (fracture.x0, fracture.y0, fracture.x1, fracture.y1) == pytest.approx((0.375, 0.25, 0.625, 0.75), abs=0.01)
    uncertain = next(s for s in corpus.studies if s.sex == "F" and s.age_months == 144)
    assert uncertain.labels == {"cast": 0.0, "hardware": 0.0}
    healed = next(s for s in corpus.studies if s.age_months == 114)
    assert healed.labels == {"fracture": 0.0, "cast": 1.0, "hardware": 1.0}


def test_oai_knees_of_a_person_stay_together_and_count_once(tmp_path):
    summary, corpus = prepare(tmp_path, "oai-kl", public_sets.oai_kl, official=True)
    assert summary["refused_images"] == {"unknown_class_folder": 1, "unknown_file_name": 1, "second_crop": 1}
    assert summary["images"] == {"read": 8, "kept": 5, "refused": 3}
    both = {s.images[0].laterality: s for s in corpus.studies if s.labels["kl_grade"] in (0.0, 3.0)}
    assert both["L"].patient_id == both["R"].patient_id
    assert both["R"].labels == {"kl_grade": 3.0, "kl_right": 3.0}
    assert both["L"].split == both["R"].split == "test"
    assert summary["notes"] == {"moved_to_a_held_out_part": 1}


def test_spine_boxes_name_their_lesion_and_reader(tmp_path):
    summary, corpus = prepare(tmp_path, "vindr-spinexr", public_sets.vindr_spinexr)
    assert summary["box_labels"] == {"Osteophytes": 1, "Vertebral collapse": 1, "Surgical implant": 1}
    boxes = [box for study in corpus.studies for ref in study.images for box in ref.boxes]
    assert {box.reader for box in boxes} == {"R1"}


def test_spine_films_of_a_study_share_their_lesions(tmp_path):
    summary, corpus = prepare(tmp_path, "vindr-spinexr", public_sets.vindr_spinexr)
    assert summary["images"] == {"read": 4, "kept": 4, "refused": 0}
    assert sorted((len(s.images), tuple(sorted(s.labels.items()))) for s in corpus.studies) == [
        (1, (("abnormal", 0.0), ("fracture", 0.0), ("hardware", 0.0))),
        (1, (("abnormal", 1.0), ("fracture", 0.0), ("hardware", 1.0))),
        (2, (("abnormal", 1.0), ("fracture", 1.0), ("hardware", 0.0))),
    ]
