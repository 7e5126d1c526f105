"""Profiles and options over the table itself: each option changes what its column names, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from dicom_factory import KEYS_FOR_TESTS as KEYS
from dicom_factory import instance
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_anonymize_dicom import plant

from anonymize.config import ConfigError, load_config
from anonymize.dicom import header, texts, values, words
from anonymize.dicom.config import DicomConfig
from anonymize.dicom.profile import OPTIONS, Rule, keep_list, rules, safe_private, terms

BARE: dict[str, Any] = {
    "profile": "basic",
    "retain_longitudinal": "none",
    "retain_patient_characteristics": False,
    "retain_device_identity": "none",
    "clean_descriptors": False,
    "times": "keep",
}
SWITCHES: dict[str, dict[str, Any]] = {
    "retain_full_dates": {"retain_longitudinal": "full"},
    "retain_modified_dates": {"retain_longitudinal": "modified"},
    "retain_device_identity": {"retain_device_identity": "full"},
    **{
        name: {name: True}
        for name in OPTIONS
        if name not in ("retain_full_dates", "retain_modified_dates", "retain_device_identity")
    },
}
SAMPLES = {
    **dict.fromkeys(values.TEXT_VRS, "Genou droit"),
    **{"DA": "20240302", "TM": "101112.5", "DT": "20240302101112.5+0100", "UI": "2.25.424242", "AS": "012Y"},
    **{"PN": "Doe^Jane", "AE": "STORESCU", "DS": "1.5", "IS": "3", "UR": "http://x.example/1", "AT": 0x00100010},
    **{"US": 3, "UL": 3, "SS": 3, "SL": 3, "SV": 3, "UV": 3, "FD": 1.5, "FL": 1.5},
    **dict.fromkeys(("OB", "OW", "OF", "OD", "OL", "OV", "UN"), b"\1\2\3\4\5\6\7\x08"),
}
_NOT_HERE = {0x00100010, 0x00100020, 0x00080050, 0x00200010, 0x0020000D, 0x0020000E, 0x00080018}  # always pseudonyms
_NOT_HERE |= {0x00101010, 0x00081195, 0x0040A730}  # covered by the tests of documents
LISTED = sorted(
    tag for tag in rules() if keyword_for_tag(tag) and tag not in _NOT_HERE and (tag >> 16) not in (0, 2, 4, 0xFFFA)
)


_NAMING = set(texts._NUMBER_IDS) | set(words._IDENTIFIERS)  # what they hold names the patient and goes everywhere


def sample(tag: int) -> DataElement:
    """An element with a value that is valid, names nobody and could stay."""
    vr = dictionary_VR(tag).split(" or ")[0]
    if vr == "SQ":
        item = Dataset()
        item.InstanceNumber = 7
        return DataElement(tag, "SQ", Sequence([item]))
    if vr == "CS":
        return DataElement(tag, "CS", min(terms().get(tag, {"YES"}), key=len))
    if keyword_for_tag(tag) in _NAMING:
        return DataElement(tag, vr, "QWERTZ777")
    return DataElement(tag, vr, "+0100" if tag == 0x00080201 else SAMPLES[vr])


def everything() -> Dataset:
    ds = instance()
    for tag in LISTED:
        ds[tag] = sample(tag)
    ds.PatientSex = "F"
    return ds


def clean(ds: Dataset, **switches: Any) -> Dataset:
    config = DicomConfig(**{**BARE, **switches})
    return header.clean_header(ds, header.link(ds, config, KEYS), config, KEYS, masked=False)


def state(ds: Dataset, safe: Dataset, tag: int) -> str:
    """X gone, Z empty, K as it was, C or D changed."""
    if tag not in safe:
        return "X"
    if safe[tag].is_empty:
        return "Z"
    return "K" if str(safe[tag].value) == str(ds[tag].value) else "changed"


def expected(rule: Rule, enabled: frozenset[str], tag: int) -> set[str]:
    """States that follow the table; an option that keeps may only keep what names nobody and is valid."""
    vr = dictionary_VR(tag).split(" or ")[0]
    action = rule.resolved(enabled)
    if action in ("K", "C"):
        if vr in values.DATE_VRS and not enabled & {"retain_full_dates", "retain_modified_dates"}:
            return expected(rule, frozenset(), tag)  # a device's dates stay where dates stay
        if vr in values.DATE_VRS:
            return {"K"} if "retain_full_dates" in enabled or vr == "TM" else {"changed"}
        if vr == "UI":
            return {"K"} if "retain_uids" in enabled else {"changed"}
        is_kind = vr in (*values.TEXT_VRS, *values.NUMBER_VRS, "CS", "AS", "SQ")
        is_term = vr == "CS" and tag not in terms() and not enabled & {"retain_device_identity", "retain_institution"}
        return {"K"} if is_kind and not is_term else expected(rule, frozenset(), tag)
    if action == "U":
        return {"K", "changed"} if vr == "SQ" else {"K"} if "retain_uids" in enabled else {"changed"}
    if vr == "SQ":  # without items it stays where its type is 2
        return {"Z"} if tag in keep_list().required else {"X"}
    if action == "D":
        return {"changed", "Z"} if vr in ("UI", "UR", "AT") else {"changed"}
    return {action}


BEFORE = everything()


@pytest.mark.parametrize("option", ["", *OPTIONS])
def test_each_option_does_what_its_column_says(option: str) -> None:
    enabled = frozenset({option} - {""})
    safe = clean(BEFORE, **SWITCHES.get(option, {}))
    wrong = {}
    for tag in LISTED:
        found, right = state(BEFORE, safe, tag), expected(rules()[tag], enabled, tag)
        if found not in right:
            wrong[keyword_for_tag(tag)] = (dictionary_VR(tag), rules()[tag], found, right)
    assert wrong == {}
    codes = {item.CodeValue for item in safe.DeidentificationMethodCodeSequence}
    assert codes == {"113100", *(OPTIONS[name] for name in enabled)}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_only_the_rows_of_its_column(option: str) -> None:
    off, on = clean(BEFORE), clean(BEFORE, **SWITCHES[option])
    changed = {tag for tag in LISTED if off.get(tag) != on.get(tag)}
    named = {tag for tag in LISTED if option in rules()[tag].options}
    below = {tag for tag in LISTED if dictionary_VR(tag) == "SQ"}
    if option == "retain_uids":
        named |= {tag for tag in LISTED if dictionary_VR(tag) == "UI"}
    assert changed - below <= named, [keyword_for_tag(tag) for tag in changed - named]
    assert changed or option == "clean_graphics"


def test_the_tables_are_those_of_the_standard() -> None:
    """Counts of PS3.15 2026c and 2025b; the columns of the options agree with a second source (idiscore 1.6.0)."""
    counted = {name: sum(name in rule.options for rule in rules().values()) for name in OPTIONS}
    assert counted == {
        "clean_graphics": 1,  # and three rows of repeating groups
        "clean_structured_content": 4,
        "clean_descriptors": 140,
        "retain_full_dates": 169,
        "retain_modified_dates": 169,
        "retain_patient_characteristics": 19,
        "retain_device_identity": 59,
        "retain_uids": 60,
        "retain_institution": 10,
    }
    assert {code for rule in rules().values() for code in rule.options.values()} == {"K", "C"}
    assert len(safe_private()) == 87
    assert terms()[0x00181508] >= {"CARM", "COLUMN", "MAMMOGRAPHIC"}


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"clean_structured_content": True, "clean_graphics": True, "retain_safe_private": True},
        {"retain_longitudinal": "full", "times": "keep"},
        {"retain_longitudinal": "none", "clean_descriptors": False},
    ],
)
@pytest.mark.parametrize("profile", ["basic", "keep-list"])
def test_no_planted_marker_survives_under_any_option(profile: str, switches: dict[str, Any]) -> None:
    ds, marks = instance(), []
    plant(ds, marks)
    config = DicomConfig(profile=profile, **switches)
    safe = header.clean_header(ds, header.link(ds, config, KEYS), config, KEYS, masked=True)
    assert len(marks) > 1000
    assert re.findall(r"ZQ\d{4}XK", str(safe)) == []
    assert b"ZQ0" not in b"".join(bytes(e.value) for e in safe.iterall() if isinstance(e.value, bytes))


def private(ds: Dataset) -> Dataset:
    """One safe element, one in the same block that is not safe, one block of a stranger, all also in a sequence."""
    for place in (ds, ds.AnatomicRegionSequence[0]):
        block = place.private_block(0x0019, "GEMS_ACQU_01", create=True)
        block.add_new(0x23, "DS", "12.5")
        block.add_new(0x99, "LO", "LEFÈVRE Zoé")
        place.private_block(0x0019, "LEFÈVRE", create=True).add_new(0x23, "DS", "12.5")
        place.private_block(0x01E1, "ELSCINT1", create=True).add_new(0x26, "CS", "LEFEVRE")
    return ds


@pytest.mark.parametrize("profile", ["basic", "keep-list"])
def test_only_safe_private_elements_stay_and_only_when_asked_for(profile: str) -> None:
    without = clean(private(instance()), profile=profile)
    assert not [e for e in without.iterall() if e.tag.is_private]
    safe = clean(private(instance()), profile=profile, retain_safe_private=True)
    top = [(e.tag.group, e.tag.element & 0xFF, str(e.value)) for e in safe if e.tag.is_private]
    assert top == [(0x0019, 0x10, "GEMS_ACQU_01"), (0x0019, 0x23, "12.5")]
    assert "LEF" not in str(safe)
    assert "113111" in {item.CodeValue for item in safe.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize("profile", ["basic", "keep-list"])
def test_dates_follow_their_option(profile: str) -> None:
    ds = instance()
    modified, none, full = (
        clean(ds, profile=profile, retain_longitudinal=mode) for mode in ("modified", "none", "full")
    )
    assert modified.StudyDate not in ("", ds.StudyDate)
    assert (none.StudyDate or "") == ""
    assert (full.StudyDate, full.StudyTime) == (ds.StudyDate, ds.StudyTime)
    told = [s.LongitudinalTemporalInformationModified for s in (modified, none, full)]
    assert told == ["MODIFIED", "REMOVED", "UNMODIFIED"]


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(min_value=dt.datetime(1910, 1, 1), max_value=dt.datetime(2090, 1, 1)),
    st.sampled_from(["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%Y%m%d", "%Y%m", "%Y", "%Y%m%d%H%M%S.%f"]),
    st.sampled_from(["", "+0100", "-0930"]),
    st.integers(-1000, 1000),
)
def test_moments_stay_valid_and_as_exact_as_they_were(moment: Any, form: str, zone: str, days: int) -> None:
    text = moment.strftime(form) + (zone if len(form) > 6 else "")
    kept = values.moved("DT", text, days, keep_times=True)
    zeroed = values.moved("DT", text, days, keep_times=False)
    assert values.is_valid("DT", kept)
    assert values.is_valid("DT", zeroed)
    assert len(kept) == len(text)
    assert values.moved("DT", kept, -days, keep_times=True) == text or len(form) < 6
    if len(form) > 6:
        assert (values.parse_date(kept) - moment.date()).days == days


def test_date_ranges_lists_and_old_forms_move_whole() -> None:
    assert values.moved("DA", "20240101-20240131", 10, keep_times=True) == "20240111-20240210"
    assert values.moved("DA", ["20240101", "20240102"], 1, keep_times=True) == ["20240102", "20240103"]
    assert values.moved("DA", "2024.01.01", 1, keep_times=True) == "20240102"
    assert values.moved("DA", ["20240101", "LEFEVRE"], 1, keep_times=True) is None
    assert values.moved("TM", "10:11:12", 5, keep_times=True) == "101112"
    assert values.moved("TM", "Zoé", 5, keep_times=True) is None


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=80),
    st.sampled_from(["StudyDescription", "ImageComments", "AcquisitionDeviceProcessingDescription"]),
)
def test_descriptors_hold_words_of_the_vocabulary_and_fit_their_vr(text: str, keyword: str) -> None:
    ds = instance()
    setattr(ds, keyword, text)
    safe = clean(ds, clean_descriptors=True)
    value = safe.get(keyword) or ""
    found = value if isinstance(value, str) else "\\".join(value)
    assert values.is_valid(dictionary_VR(keyword), found)
    assert not re.search(r"\d{3}", found)


def test_signs_of_an_unknown_script_are_no_words() -> None:
    assert "StudyDescription" not in clean(instance(study_description="\U00018cd6"), clean_descriptors=True)


def test_useful_words_of_a_description_survive_beside_a_name() -> None:
    ds = instance(series_description="Genou droit face, patient DUPONT Zoé IPP0012345")
    assert clean(ds, clean_descriptors=True).SeriesDescription == "Genou droit face"
    assert "SeriesDescription" not in clean(ds)


def test_uids_are_kept_only_under_their_option() -> None:
    ds = instance()
    kept, keyed = clean(ds, retain_uids=True), clean(ds)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert kept[keyword].value == ds[keyword].value
        assert keyed[keyword].value == KEYS.uid(ds[keyword].value)
    ds.FrameOfReferenceUID = "LEFEVRE"
    assert clean(ds, retain_uids=True).FrameOfReferenceUID == KEYS.uid("LEFEVRE"), "no UID at all is never kept"
    assert ds.SOPClassUID in UID_dictionary
    assert keyed.SOPClassUID == ds.SOPClassUID


def test_ages_above_eighty_nine_are_capped_wherever_they_stand() -> None:
    ds, item = instance(), Dataset()
    item.PatientAge = "097Y"
    ds.SourceImageSequence = [item]
    safe = clean(ds, retain_patient_characteristics=True)
    assert safe.SourceImageSequence[0].PatientAge == "089Y"


def test_look_up_tables_carry_no_passengers() -> None:
    ds, item = instance(), Dataset()
    item.LUTDescriptor, item.LUTExplanation = [4, 0, 16], "Zoé LEFÈVRE"
    item.add_new(0x00283006, "OW", b"\0\1\0\2\0\3\0\4" + b"ZQ0001XK")
    ds.VOILUTSequence = [item]
    for profile in ("basic", "keep-list"):
        kept = clean(ds, profile=profile, clean_descriptors=True).VOILUTSequence[0]
        assert kept.LUTData == b"\0\1\0\2\0\3\0\4"
        assert "LUTExplanation" not in kept


def test_old_names_of_switches_are_answered_with_the_new_ones() -> None:
    with pytest.raises(ConfigError, match="unknown key 'retain_uid'; did you mean 'retain_uids'"):
        load_config(DicomConfig, None, ["retain_uid=true"])


@pytest.mark.parametrize("profile", ["basic", "keep-list"])
def test_a_devices_own_image_type_does_not_empty_the_standards(profile: str) -> None:
    ds = instance()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LEFEVRE", "LEFT"]
    expected_type = ["ORIGINAL", "PRIMARY", "", "LEFT"]
    assert list(clean(ds, profile=profile).ImageType) == expected_type


@pytest.mark.parametrize(("bits", "entries", "kept"), [(12, 8, 16), (16, 0, 20), (8, 7, 8), (8, 4, 8)])
def test_a_look_up_table_ends_where_its_descriptor_says(bits: int, entries: int, kept: int) -> None:
    """Text behind the last entry is not carried along; tables of 8 bits may hold two entries in a word."""
    held = {(12, 8): bytes(16) + b"ZQ01", (16, 0): bytes(20), (8, 7): bytes(8) + b"ZQ01", (8, 4): bytes(8) + b"ZQ01"}
    item = Dataset()
    item.LUTDescriptor = [entries, 0, bits]
    item.add_new(0x00283006, "OW", held[bits, entries])
    ds = instance()
    ds.VOILUTSequence = [item]
    for profile in ("keep-list", "basic"):
        assert clean(ds, profile=profile).VOILUTSequence[0].LUTData == bytes(kept)
    del item[0x00283002]
    for profile in ("keep-list", "basic"):
        safe = clean(ds, profile=profile)
        assert all("LUTData" not in one for one in safe.get("VOILUTSequence", []))
