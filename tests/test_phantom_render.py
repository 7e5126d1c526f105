"""Rendering: deterministic films, honest boxes, findings that show, tone that does not tell them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp.phantom import markers, physics
from vlp.phantom.anatomy import builder
from vlp.phantom.anatomy.bone_shapes import SHAPES
from vlp.phantom.anatomy.limb import Panel
from vlp.phantom.anatomy.long_bone import bone_map
from vlp.phantom.devices import DEVICES, voi_lut
from vlp.phantom.facts import Chest, Exam, Fracture, Scene, View
from vlp.phantom.outline import chord, closed_curve, inside_mm, shell
from vlp.phantom.render import render

LIMBS = ("forearm", "wrist", "lower_leg", "ankle")
MAIN_BONE = {"forearm": "radius", "wrist": "radius", "lower_leg": "tibia", "ankle": "fibula"}
KINDS = ("transverse", "oblique", "spiral", "comminuted", "greenstick", "buckle")


def exam_of(anatomy: str, seed: int = 1, projection: str = "AP", device: str = "aurelia_dx", **facts: object) -> Exam:
    values: dict[str, object] = {"age_months": 480, "sex": "M", "level": "easy", "side": "R"}
    values |= facts
    side = str(values.pop("side"))
    view = View(projection, "" if anatomy == "chest" else side, seed)
    return Exam(
        exam_id=f"e{seed}",
        patient=0,
        anatomy=anatomy,
        body_scale=1.0,
        body_mass=1.0,
        side=side,
        views=(view,),
        device=device,
        **values,  # type: ignore[arg-type]
    )


def film(exam: Exam, size: int = 192, burned_in: tuple[str, ...] = ()):
    return render(exam, exam.views[0], size, burned_in)


def build(exam: Exam, size: int = 192) -> Scene:
    return builder(exam.anatomy)(exam, exam.views[0], size, np.random.default_rng(exam.views[0].seed))


def middle_fracture(anatomy: str, kind: str = "transverse", callus: float = 0.0) -> Fracture:
    third = "middle" if anatomy in ("forearm", "lower_leg") else "distal"
    return Fracture(MAIN_BONE[anatomy], third, kind, 4.0, 10.0, 1.2, callus)


def test_slab_of_water_follows_beer_lambert() -> None:
    full, empty = np.full((64, 64), 100.0, np.float32), np.zeros((64, 64), np.float32)
    scene = Scene(full, empty, empty, empty, 1.0)
    primary = physics.transmission(scene, 70.0)
    low, high = (np.exp(-100 * physics.attenuation("soft", 70 * part)) for part in (0.45, 0.68))
    assert primary == pytest.approx(0.45 * low + 0.55 * high, rel=1e-5)


def test_noise_falls_with_dose() -> None:
    full, empty = np.full((96, 96), 80.0, np.float32), np.zeros((96, 96), np.float32)
    scene = Scene(full, empty, empty, empty, 0.5)
    spread = [
        float(np.std(physics.expose(scene, np.random.default_rng(0), kvp=60, quanta_per_mm2=dose, blur_mm=0.0)))
        for dose in (500, 8000)
    ]
    assert spread[0] == pytest.approx(4 * spread[1], rel=0.25)  # sqrt(16)


def test_beam_hardening_lowers_contrast_of_thick_bone() -> None:
    def signal(bone_mm: float) -> float:
        flat = np.full((2, 2), 50.0, np.float32)
        none = np.zeros((2, 2), np.float32)
        return float(-np.log(physics.transmission(Scene(flat, none + bone_mm, none, none, 1.0), 60.0))[0, 0])

    assert signal(4) - signal(2) > signal(22) - signal(20) > 0


def test_outline_gives_the_chord_of_a_cylinder() -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = closed_curve(np.stack([30 + 20 * np.cos(angles), 30 + 20 * np.sin(angles)], 1))
    inside = inside_mm(ring, (240, 240), 0.25)
    outer = chord(inside, 20.0)
    for offset in (0.0, 8.0, 15.0):
        assert outer[120, 120 + int(offset / 0.25)] == pytest.approx(2 * np.sqrt(400 - offset**2), abs=1.0)
    hollow = shell(inside, 20.0, 3.0, 0.0)
    assert hollow[120, 120] == pytest.approx(6.0, abs=0.3)  # two walls
    assert hollow.max() > 2 * hollow[120, 120]  # the rim is the brightest: cortex


@pytest.mark.parametrize("anatomy", [*LIMBS, "chest"])
def test_same_seed_same_pixels(anatomy: str) -> None:
    exam = exam_of(anatomy, seed=4, projection="PA" if anatomy == "chest" else "AP", level="hard")
    first, second = film(exam), film(exam)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.window == second.window
    other = film(exam_of(anatomy, seed=5, projection=exam.views[0].projection, level="hard"))
    assert first.pixels.shape != other.pixels.shape or not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("device", sorted(DEVICES))
def test_stored_values_fit_the_device(device: str) -> None:
    result = film(exam_of("ankle", seed=7, device=device, level="hard"))
    assert result.pixels.dtype == np.uint16
    assert result.bits == DEVICES[device].bits
    assert int(result.pixels.max()) < 2**result.bits
    assert result.pixels.max() > 0.5 * 2**result.bits * DEVICES[device].used[1]
    centre, width = result.window
    shown = np.clip((result.pixels - (centre - width / 2)) / width, 0, 1)
    assert shown.std() > 0.1
    assert result.markers


def test_devices_differ_and_their_lut_is_monotone() -> None:
    assert len(DEVICES) >= 4
    assert {d.photometric for d in DEVICES.values()} == {"MONOCHROME1", "MONOCHROME2"}
    assert {d.bits for d in DEVICES.values()} == {10, 12, 14, 16}
    assert {d.voi_style for d in DEVICES.values()} == {"window", "lut_sequence", "multi_window"}
    for device in DEVICES.values():
        if device.voi_style == "lut_sequence":
            assert device.bits < 16
            table = voi_lut(device, (2**device.bits / 2, 2**device.bits))
            assert table[0] == 0
            assert table[-1] > 65000
            assert (np.diff(table.astype(int)) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(LIMBS),
    st.sampled_from(KINDS),
    st.integers(18, 1080),
    st.sampled_from(["AP", "LAT"]),
    st.integers(0, 2**31 - 1),
    st.booleans(),
)
def test_limb_objects_lie_on_the_film(
    anatomy: str, kind: str, age: int, projection: str, seed: int, treated: bool
) -> None:
    exam = exam_of(
        anatomy,
        seed,
        projection,
        age_months=age,
        sex="F" if seed % 2 else "M",
        level="hard",
        cast=treated,
        hardware=treated,
        side="L" if seed % 3 else "R",
        fractures=(middle_fracture(anatomy, kind),),
        mimics=("nutrient_canal", "skin_fold", "mach_line", "growth_plate"),
        foreign_bodies=("button",),
        planted_marker="ring",
    )
    result = film(exam, 128)
    height, width = result.pixels.shape
    names = [item.name for item in result.objects]
    assert "fracture" in names
    assert ("cast" in names) == treated
    assert ("hardware" in names) == treated
    assert names.count("marker") >= 2  # side and planted shape
    for item in result.objects:
        x0, y0, x1, y1 = item.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        if item.mask is not None:
            assert item.mask.shape == result.pixels.shape
            rows, columns = np.nonzero(item.mask)
            assert x0 <= columns.min()
            assert columns.max() < x1
            assert y0 <= rows.min()
            assert rows.max() < y1


@pytest.mark.parametrize("anatomy", LIMBS)
@pytest.mark.parametrize("kind", KINDS)
def test_fracture_changes_bone_only_near_its_bone(anatomy: str, kind: str) -> None:
    broken = exam_of(anatomy, 11, fractures=(middle_fracture(anatomy, kind),), age_months=120)
    whole = replace(broken, fractures=())
    with_line, without = build(broken), build(whole)
    box = next(item.box for item in with_line.objects if item.name == "fracture")
    x0, y0, x1, y1 = (int(v) for v in box)
    change = np.abs(with_line.bone_mm - without.bone_mm)
    assert change[y0:y1, x0:x1].mean() > 4 * change.mean()
    assert change[y0:y1, x0:x1].max() > 1.0
    assert np.array_equal(with_line.soft_mm, without.soft_mm)


def test_healed_fracture_is_named_so() -> None:
    exam = exam_of("forearm", 3, fractures=(middle_fracture("forearm", callus=1.0),))
    names = {item.name for item in build(exam).objects}
    assert "healed_fracture" in names
    assert "fracture" not in names


@pytest.mark.parametrize("sex", ["F", "M"])
def test_growth_plates_close_with_age(sex: str) -> None:
    """The distal radius has a gap across it at six years and none at thirty."""
    shape = SHAPES["radius", "AP"]
    panel = Panel((-25, 25), (-5, 255), 0.4)
    rows = np.abs(panel.s[:, 0] - shape.growth[1][0]) < 6
    thinnest = {}
    for age in (6, 30):
        exam = exam_of("wrist", age_months=age * 12, sex=sex)
        values, half_width = bone_map(panel, shape, exam, [], np.random.default_rng(3))
        centre = np.abs(panel.u[0]) < 6
        thinnest[age] = float(values[rows][:, centre].min(0).mean())
        assert 4 < half_width(120.0) < 12
    assert thinnest[6] < 0.1 < 1.0 < thinnest[30]


def test_cast_and_metal_go_where_they_belong() -> None:
    scene = build(exam_of("lower_leg", 5, cast=True, hardware=True))
    assert (scene.plaster_mm > 2).mean() > 0.1
    assert scene.metal_mm.max() > 2
    plain = build(exam_of("lower_leg", 5))
    assert plain.plaster_mm.max() == 0
    assert plain.metal_mm.max() == 0


@pytest.mark.parametrize("side", ["R", "L"])
def test_effusion_is_brighter_at_the_base_than_the_same_chest_without(side: str) -> None:
    control = exam_of("chest", 21, "PA", chest=Chest())
    sick = replace(control, chest=Chest(effusion={side: 0.3}))
    with_fluid, without = build(sick), build(control)
    mask = next(item.mask for item in with_fluid.objects if item.name == "effusion")
    assert mask is not None
    deeper = with_fluid.soft_mm - without.soft_mm
    assert deeper[mask].mean() > 20  # millimetres of water
    assert np.abs(deeper[~mask]).mean() < 1.0
    columns = np.nonzero(mask.any(0))[0]
    middle = mask.shape[1] / 2
    assert (columns.mean() < middle) == (side == "R")  # the patient's right is on the left of the film
    ill, well = film(sick), film(control)
    assert ill.pixels.shape == well.pixels.shape
    shown = next(item.mask for item in ill.objects if item.name == "effusion")
    assert np.median(ill.pixels[shown]) > np.median(well.pixels[shown])


def test_heart_width_follows_the_ratio() -> None:
    for ratio in (0.42, 0.60):
        scene = build(exam_of("chest", 9, "PA", chest=Chest(cardiothoracic_ratio=ratio)), 384)
        boxes = {item.name: item.box for item in scene.objects}
        thorax = boxes["lung_left"][2] - boxes["lung_right"][0]
        assert (boxes["heart"][2] - boxes["heart"][0]) / thorax == pytest.approx(ratio, abs=0.03)


def test_pneumothorax_is_darker_and_without_vessels() -> None:
    control = exam_of("chest", 31, "PA", chest=Chest())
    sick = replace(control, chest=Chest(pneumothorax={"L": 0.4}))
    scene, plain = build(sick), build(control)
    mask = next(item.mask for item in scene.objects if item.name == "pneumothorax")
    assert mask is not None
    assert (plain.soft_mm - scene.soft_mm)[mask].mean() > 5
    share = mask.sum() / next(item.mask for item in scene.objects if item.name == "lung_left").sum()
    assert 0.2 < share < 0.55


@pytest.mark.parametrize("projection", ["PA", "LAT"])
def test_every_chest_finding_is_noted(projection: str) -> None:
    chest = Chest(
        {"R": 0.25}, ("left_upper", "left_lower"), 0.6, {"L": 0.2}, ("pacemaker", "central_line", "ecg_wires")
    )
    result = film(exam_of("chest", 41, projection, chest=chest, foreign_bodies=("necklace", "electrode", "coin")))
    names = {item.name for item in result.objects}
    assert {"effusion", "consolidation", "heart", "pacemaker", "foreign_body", "marker"} <= names
    for item in result.objects:
        x0, y0, x1, y1 = item.box
        assert 0 <= x0 < x1 <= result.pixels.shape[1]
        assert 0 <= y0 < y1 <= result.pixels.shape[0]


def test_burned_in_lines_are_drawn_and_boxed() -> None:
    exam = exam_of("forearm", 8, device="borea_cr")
    plain, burned = film(exam, 256), film(exam, 256, ("Zoé MARTIN 01/02/1950", "IPP 12345"))
    assert burned.burned_in == ("ZOE MARTIN 01/02/1950", "IPP 12345")
    boxes = [item.box for item in burned.objects if item.name == "burned_in"]
    assert len(boxes) == 2
    changed = plain.pixels != burned.pixels
    for x0, y0, x1, y1 in boxes:
        assert changed[int(y0) : int(y1), int(x0) : int(x1)].any()
        changed[max(0, int(y0) - 2) : int(y1) + 2, max(0, int(x0) - 2) : int(x1) + 2] = False
    assert not changed.any()


def test_lower_contrast_group_has_less_detail() -> None:
    exam = exam_of("wrist", 14, projection="PA")
    full, less = film(exam, 256), film(replace(exam, contrast=0.5), 256)
    detail = [float(np.abs(np.diff(f.pixels[::2, ::2].astype(float), axis=0)).mean()) for f in (full, less)]
    assert detail[1] < 0.9 * detail[0]


@pytest.mark.parametrize("shape", markers.SHAPES)
def test_marker_shapes_are_distinct(shape: str) -> None:
    mask = markers.shape_mask(shape, 24)
    assert 0.05 < mask.mean() < 1
    assert all(np.abs(mask - markers.shape_mask(other, 24)).mean() > 0.02 for other in markers.SHAPES if other != shape)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"device": "no_such"}, "device"), ({"foreign_bodies": ("piano",)}, "foreign body"),
     ({"anatomy": "skull"}, "anatomy"), ({"planted_marker": "star"}, "marker shape")],
)  # fmt: skip
def test_unknown_facts_are_refused(change: dict[str, object], named: str) -> None:
    exam = replace(exam_of("ankle"), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=named):
        film(exam, 128)
