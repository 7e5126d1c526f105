"""Public chest sets, from miniature copies of their published structure."""

from __future__ import annotations

import public_sets
import public_sets_chest as sets
import pytest
from public_sets import by_image, planned, prepare

from anonymize.quarantine import read_quarantine
from vlp.corpus.adapters.tuberculosis import reading

CHEST = ("effusion", "consolidation", "cardiomegaly", "pneumothorax")


def test_padchest_tells_a_report_once_and_reads_what_unchanged_leaves_open(tmp_path):
    source = planned(tmp_path, "padchest", sets.padchest)
    assert (source.images_read, source.reports_read) == (7, 5)
    assert [item.reason for item in source.refused_images] == ["excluded_by_the_set"]
    assert [item.reason for item in source.refused_reports] == ["report_of_refused_image"]
    study = by_image(source, "1_a.png")
    assert (len(study.images), study.report, study.language) == (2, "derram pleural izquierd . .", "es")
    assert {i.view for i in study.images} == {"PA", "LAT"}
    assert (study.date, study.age_months, study.sex) == ("2014-09-15", 84 * 12, "F")
    assert study.labels["effusion"] == study.labels["cardiomegaly"] == study.labels["abnormal"] == 1
    assert study.labels["pneumothorax"] == study.labels["fracture"] == 0
    unchanged = by_image(source, "2_a.png")
    assert unchanged.labels == {"consolidation": 1.0, "abnormal": 1.0}
    assert unchanged.age_months is None  # born after the film
    assert set(by_image(source, "4_a.png").labels.values()) == {0.0}
    callus = by_image(source, "5_a.png")
    assert "fracture" not in callus.labels
    assert callus.patient_id == by_image(source, "4_a.png").patient_id
    assert by_image(source, "6_a.png").labels == {}


def test_padchest_prepares_16_bit_films(tmp_path):
    summary, corpus = prepare(tmp_path, "padchest", sets.padchest)
    assert summary["images"] == {"read": 7, "kept": 6, "refused": 1}
    assert summary["reports"]["kept"] == 4
    assert len(corpus.studies) == 5


def test_mimic_reports_are_cut_into_sections_and_uncertain_is_not_known(tmp_path):
    summary, corpus = prepare(tmp_path, "mimic-cxr", sets.mimic_cxr, official=True)
    assert summary["images"] == {"read": 4, "kept": 3, "refused": 1}
    assert summary["reports"] == {"read": 3, "kept": 2, "refused": 1, "described": 0}
    assert summary["refused_reports"] == {"report_without_images": 1}
    study = next(s for s in corpus.studies if len(s.images) == 2)
    assert study.results == "There is a small left pleural effusion."
    assert study.conclusion == "Small left effusion."
    assert study.comparison == "None."
    assert "FINAL REPORT" in study.report
    assert {i.view for i in study.images} == {"PA", "LAT"}
    assert (study.date, study.language) == ("2180-05-06", "en")
    # cardiomegaly -1; consolidation 0 but pneumonia -1; what is not mentioned
    assert study.labels == {"effusion": 1.0, "pneumothorax": 0.0, "abnormal": 1.0}
    normal = next(s for s in corpus.studies if s is not study)
    assert set(normal.labels) == {*CHEST, "fracture", "abnormal"}
    assert set(normal.labels.values()) == {0.0}
    assert normal.split == "test"
    assert study.split == "train"


def test_mimic_without_the_jpg_tables_reads_the_record_list(tmp_path):
    path = "files/p10/p10000032/s50414267"
    public_sets.write(
        tmp_path / "cxr-record-list.csv.gz",
        f"subject_id,study_id,dicom_id,path\n10000032,50414267,02aa804e,{path}/02aa804e.dcm\n",
    )
    public_sets.film(tmp_path / f"{path}/02aa804e.dcm")
    public_sets.write(tmp_path / "mimic-cxr-reports/files/p10/p10000032/s50414267.txt", sets.MIMIC_REPORT)
    source = planned(tmp_path, "mimic-cxr", lambda folder: None)
    (study,) = source.studies
    assert study.images[0].file.endswith(f"{path}/02aa804e.dcm")
    assert study.conclusion == "Small left effusion."
    assert study.labels == {}


def test_open_i_xml_reports(tmp_path):
    summary, corpus = prepare(tmp_path, "iu-xray", sets.iu_xray_xml)
    assert summary["images"] == {"read": 4, "kept": 4, "refused": 0}
    assert summary["refused_reports"] == {"unreadable_report": 2, "report_without_images": 1}
    assert summary["reports"] == {"read": 5, "kept": 2, "refused": 3, "described": 0}
    normal = next(s for s in corpus.studies if len(s.images) == 2)
    assert (normal.results, normal.conclusion, normal.indication) == (
        "Lungs clear. XXXX.",
        "Normal chest.",
        "Positive TB test",
    )
    assert set(normal.labels.values()) == {0.0}
    silent = next(s for s in corpus.studies if not s.report)
    assert {name for name, value in silent.labels.items() if value} == {"cardiomegaly", "effusion", "abnormal"}
    assert next(s for s in corpus.studies if s.results == "Clear.").labels == {}


def test_the_csv_release_of_iu_xray(tmp_path):
    summary, corpus = prepare(tmp_path, "iu-xray", sets.iu_xray_csv)
    assert summary["images"] == {"read": 5, "kept": 5, "refused": 0}
    assert summary["reports"] == {"read": 4, "kept": 3, "refused": 1, "described": 0}
    normal = next(s for s in corpus.studies if len(s.images) == 2)
    assert normal.results == "Lungs are clear, heart normal."
    assert {i.view for i in normal.images} == {"AP", "LAT"}
    assert next(s for s in corpus.studies if s.conclusion == "Rib fractures.").labels["fracture"] == 1
    assert sum(not s.report for s in corpus.studies) == 1


def test_casia_reads_french_in_both_encodings_and_joins_classes(tmp_path):
    summary, corpus = prepare(tmp_path, "casia-cxr", sets.casia_cxr)
    assert summary["images"] == {"read": 4, "kept": 3, "refused": 1}
    assert summary["refused_images"] == {"no_patient": 1}
    assert summary["refused_reports"] == {"report_of_refused_image": 1, "conflicting_reports": 1}
    assert summary["notes"] == {"placeholder_rows": 1}
    both = next(s for s in corpus.studies if len(s.images) == 2)
    assert both.labels == {"cardiomegaly": 1.0, "effusion": 1.0, "abnormal": 1.0}
    assert both.results == "Cœur élargi Index à 1/2 Pas d'épanchement"
    assert (both.language, both.age_months, both.date) == ("fr", 57 * 12, "2020-01-03")
    child = next(s for s in corpus.studies if s is not both)
    assert (child.age_months, child.report, child.images[0].view) == (9, "", "AP")


def test_vindr_counts_the_votes_of_its_readers(tmp_path):
    summary, corpus = prepare(tmp_path, "vindr-cxr", public_sets.vindr_cxr, official=True)
    assert summary["images"] == {"read": 4, "kept": 3, "refused": 1}
    assert summary["refused_images"] == {"missing_file": 1}
    labels = {(s.split == "test", s.labels["abnormal"]): s.labels for s in corpus.studies}
    heart = next(s.labels for s in corpus.studies if s.labels.get("cardiomegaly") == 1)
    assert "effusion" not in heart  # one of three
    assert heart["pneumothorax"] == 0
    assert heart["abnormal"] == 1  # two of three
    test = next(s.labels for s in corpus.studies if s.labels.get("effusion") == 1)
    assert test["cardiomegaly"] == 0
    assert len(labels) == 3
    rib = next(s.labels for s in corpus.studies if s.labels["abnormal"] == 0)
    assert "fracture" not in rib


def test_vindr_keeps_the_boxes_of_every_reader(tmp_path):
    summary, corpus = prepare(tmp_path, "vindr-cxr", public_sets.vindr_cxr)
    assert summary["boxes"] == {"read": 5, "kept": 3, "refused": 2, "of_refused_images": 0, "cropped_away": 0}
    assert summary["refused_boxes"] == {"box_beyond_image": 1, "box_without_area": 1}
    assert summary["notes"]["boxes_without_film"] == 1
    boxes = {(box.label, box.reader): box for s in corpus.studies for ref in s.images for box in ref.boxes}
    assert set(boxes) == {("Cardiomegaly", "R0"), ("Cardiomegaly", "R1"), ("Pleural effusion", "")}
    heart = boxes["Cardiomegaly", "R0"]
    assert (heart.x0, heart.y0, heart.x1, heart.y1) == pytest.approx((0.2, 0.5, 0.8, 0.75), abs=0.01)
    assert "| Cardiomegaly | 2 | 1 |" in (tmp_path / "corpus/card.md").read_text()
    positions = sorted(q.position for q in read_quarantine(tmp_path / "corpus/quarantine.parquet") if "box" in q.reason)
    assert positions == [4, 6]  # rows of annotations_train.csv


def test_boxes_of_films_that_were_converted_are_left_out(tmp_path):
    def make(root):
        public_sets.vindr_cxr(root)
        for path in root.rglob("*.dicom"):
            path.unlink()
            public_sets.film(path.with_suffix(".png"))

    summary, _ = prepare(tmp_path, "vindr-cxr", make)
    assert summary["notes"]["boxes_of_converted_films"] == 5
    assert "boxes" not in summary


def test_vindr_of_children_joins_diagnoses_and_boxes(tmp_path):
    _, corpus = prepare(tmp_path, "vindr-pcxr", public_sets.vindr_pcxr)
    sick, well = sorted(corpus.studies, key=lambda s: -s.labels["abnormal"])
    assert {name for name, value in sick.labels.items() if value} == {"consolidation", "effusion", "abnormal"}
    assert set(well.labels.values()) == {0.0}


def test_nih_ages_spacing_and_exhaustive_findings(tmp_path):
    source = planned(tmp_path, "nih-chestxray14", sets.nih)
    assert [item.reason for item in source.refused_images] == ["duplicate_row"]
    assert source.notes == {"boxes_without_film": 1}
    assert source.boxes_read == 1
    ages = {s.images[0].file[-16:-4]: s.age_months for s in source.studies}
    assert list(ages.values()) == [696, 696, None, 0, None, 360]
    first = by_image(source, "00000001_000")
    assert first.images[0].spacing_mm == pytest.approx(2682 * 0.143 / 1024)
    assert by_image(source, "00000002_000").images[0].spacing_mm is None  # 20 % between the axes
    assert first.patient_id == by_image(source, "00000001_001").patient_id
    assert first.labels == {"effusion": 0, "consolidation": 0, "cardiomegaly": 1, "pneumothorax": 0, "abnormal": 1}
    assert by_image(source, "00000003_000").labels["consolidation"] == 1
    assert by_image(source, "00000004_000").labels == {}
    assert {s.split for s in source.studies} == {"train", "test", ""}


def test_nih_corpus(tmp_path):
    summary, corpus = prepare(tmp_path, "nih-chestxray14", sets.nih, official=True)
    assert summary["images"] == {"read": 7, "kept": 5, "refused": 2}
    assert summary["refused_images"] == {"duplicate_row": 1, "missing_file": 1}
    assert next(s for s in corpus.studies if s.labels.get("consolidation") == 1).split == "test"


def test_nih_boxes_are_counted_in_the_pixels_of_the_release(tmp_path):
    summary, corpus = prepare(tmp_path, "nih-chestxray14", sets.nih)
    assert summary["box_labels"] == {"Cardiomegaly": 1}
    (box,) = [box for s in corpus.studies for ref in s.images for box in ref.boxes]
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((0.25, 0.5, 0.375, 0.75), abs=0.01)


def test_covid_collection_keeps_films_and_names_licences(tmp_path):
    summary, corpus = prepare(tmp_path, "covid-19-collection", sets.covid)
    assert summary["refused_images"] == {"not_a_radiograph": 1}
    assert summary["notes"] == {"licence CC BY-NC-SA": 2, "licence not stated": 1}
    assert summary["patients"] == 2
    noted = {s.report: s for s in corpus.studies}
    assert set(noted) == {"Patchy opacity.", "", "Clear lungs."}
    assert noted["Patchy opacity."].labels == {}
    assert noted["Patchy opacity."].date == "2020-01-22"
    assert set(noted["Clear lungs."].labels.values()) == {0.0}
    assert {s.images[0].view for s in corpus.studies} == {"PA", "AP", "LAT"}


def test_montgomery_and_shenzhen_readings(tmp_path):
    summary, corpus = prepare(tmp_path / "m", "montgomery", sets.montgomery)
    assert summary["refused_reports"] == {"report_without_images": 1}
    assert summary["notes"] == {"masks_not_used": 1}
    sick = next(s for s in corpus.studies if s.labels["abnormal"] == 1)
    assert (sick.report, sick.sex, sick.age_months) == ("RUL infiltrate, cavitary. Active TB", "M", 61 * 12)
    summary, corpus = prepare(tmp_path / "s", "shenzhen", sets.shenzhen)
    assert summary["refused_images"] == {"unknown_file_name": 1}
    child = next(s for s in corpus.studies if s.sex == "F")
    assert (child.report, child.age_months) == ("STB, left", 9)
    assert summary["studies_without_text"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("male 45yrs\nnormal", ("M", 540, "normal")),
        ("Female , 25 yrs\n\nSTB", ("F", 300, "STB")),
        ("female  9-month\nnormal\n", ("F", 9, "normal")),
        ("Patient's Sex: F\nPatient's Age: 027Y\nnormal", ("F", 324, "normal")),
        ("Patient's Sex: M\nPatient's Age:\nnormal", ("M", None, "normal")),
        ("", ("", None, "")),
    ],
)
def test_clinical_readings(text, expected):
    assert reading(text) == expected
