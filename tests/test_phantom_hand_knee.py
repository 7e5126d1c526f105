"""Hand and knee phantoms against their facts: growth, joint spaces, boxes, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp.phantom import shapes
from vlp.phantom.anatomy import builder
from vlp.phantom.anatomy.hand_growth import CARPALS, PLATES, carpals_visible, stage
from vlp.phantom.facts import Exam, Knee, Scene, View
from vlp.phantom.outline import Film


def _hand(months: float, sex: str, *, age: int | None = None, side: str = "L", seed: int = 3, size: int = 320) -> Scene:
    chronological = int(months) if age is None else age
    exam = Exam("e", 7, "hand", chronological, sex, 1.0, 1.0, side, (), "d", "easy", bone_age_months=months)
    return builder("hand")(exam, View("PA", side, seed), size, np.random.default_rng(seed))


def _knee(
    knees: dict[str, Knee], *, seed: int = 3, size: int = 512, projection: str = "AP", level: str = "easy"
) -> Scene:
    side = "B" if len(knees) == 2 else next(iter(knees))
    exam = Exam("e", 7, "knee", 780, "F", 1.0, 1.0, side, (), "d", level, knees=knees)
    return builder("knee")(exam, View(projection, side, seed), size, np.random.default_rng(seed))


def _boxes(scene: Scene, name: str) -> list[tuple[float, float, float, float]]:
    return [o.box for o in scene.objects if o.name == name]


def _assert_sound(scene: Scene) -> None:
    shape = scene.bone_mm.shape
    for values in (scene.soft_mm, scene.bone_mm, scene.metal_mm, scene.plaster_mm):
        assert values.shape == shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.min() >= 0
    for item in scene.objects:
        x0, y0, x1, y1 = item.box
        assert 0 <= x0 < x1 <= shape[1]
        assert 0 <= y0 < y1 <= shape[0]


def test_growth_order_and_sex() -> None:
    for sex in "FM":
        counts = [carpals_visible(month, sex) for month in range(0, 217)]
        assert counts == sorted(counts)
        assert (counts[0], counts[-1]) == (0, 8)
        which = 0 if sex == "F" else 1
        ages = [pair[which] for pair in CARPALS.values()]
        assert ages == sorted(ages)
    assert all(girl < boy for girl, boy in CARPALS.values())
    for plate in PLATES.values():
        for girl, boy in (plate.appears, plate.wide, plate.capped, plate.fuses, plate.fused):
            assert girl < boy


@pytest.mark.parametrize("sex", ["F", "M"])
@pytest.mark.parametrize("name", list(PLATES))
def test_an_epiphysis_never_shrinks(name: str, sex: str) -> None:
    stages = [stage(PLATES[name], years, sex) for years in np.arange(0, 19, 0.1)]
    for field in ("present", "width", "height", "fusion"):
        assert np.all(np.diff([getattr(s, field) for s in stages]) >= 0), field
    assert stages[0].present == 0
    assert stages[-1].fusion == 1


def test_drawn_carpals_follow_maturity_and_not_age() -> None:
    drawn = [len(_boxes(_hand(years * 12, "F", age=120), "carpal")) for years in (1, 3.3, 7, 12)]
    assert drawn == [2, 4, 7, 8]
    assert len(_boxes(_hand(84, "F", age=60), "carpal")) == len(_boxes(_hand(84, "F", age=130), "carpal")) == 7


def test_size_follows_age_and_the_film_stays_full() -> None:
    small, large = _hand(96, "M", age=36), _hand(96, "M", age=190)
    assert large.spacing_mm > 1.5 * small.spacing_mm
    covered = [float((scene.soft_mm > 2).mean()) for scene in (small, large)]
    assert abs(covered[0] - covered[1]) < 0.12


def test_the_growth_plate_closes() -> None:
    """Bone between shaft and epiphysis of the radius appears with fusion."""
    open_plate, closed = _hand(150, "M", age=200), _hand(226, "M", age=200)
    assert closed.bone_mm.sum() > 1.02 * open_plate.bone_mm.sum()


def test_a_right_hand_mirrors_a_left_one() -> None:
    left, right = _hand(100, "F", side="L"), _hand(100, "F", side="R")

    def thumb(scene: Scene) -> float:  # the flesh reaches further to its side
        rows = slice(int(0.45 * scene.soft_mm.shape[0]), int(0.62 * scene.soft_mm.shape[0]))  # level of the thumb
        middle = np.average(np.arange(scene.soft_mm.shape[1]), weights=scene.bone_mm[-20:].sum(0))  # of the forearm
        band = np.flatnonzero((scene.soft_mm[rows] > 2).any(0))
        return float((band.max() - middle) - (middle - band.min()))

    assert thumb(left) > 0 > thumb(right)


@settings(max_examples=15, deadline=None)
@given(
    age=st.integers(12, 216),
    shift=st.floats(-36, 36),
    sex=st.sampled_from("FM"),
    side=st.sampled_from("LR"),
    seed=st.integers(0, 2**31),
)
def test_any_hand_is_sound(age: int, shift: float, sex: str, side: str, seed: int) -> None:
    scene = _hand(max(0.0, age + shift), sex, age=age, side=side, seed=seed, size=160)
    _assert_sound(scene)
    assert scene.bone_mm.max() > 2
    assert scene.bone_mm[scene.soft_mm < 0.1].sum() < 0.01 * scene.bone_mm.sum()  # bones lie in flesh


_PLACES = ("lateral_femur", "lateral_tibia", "medial_femur", "medial_tibia", "tibial_spines")


def _spaces(scene: Scene, side: str) -> tuple[float, float]:
    """Least bone-free height in the columns of the medial and the lateral compartment, mm."""
    x0, y0, x1, y1 = _boxes(scene, "knee_right" if side == "R" else "knee_left")[0]
    centre, half, joint = (x0 + x1) / 2, (x1 - x0) / 2, (y0 + y1) / 2
    rows = slice(int(joint - 15 / scene.spacing_mm), int(joint + 12 / scene.spacing_mm))
    found = []
    for sign in (1, -1) if side == "R" else (-1, 1):
        columns = [scene.bone_mm[rows, round(centre + sign * share * half)] for share in np.arange(0.26, 0.58, 0.01)]
        found.append(min(float(np.clip(1 - column / 1.6, 0, 1).sum()) for column in columns) * scene.spacing_mm)
    return found[0], found[1]


@pytest.mark.parametrize(("medial", "lateral"), [(5.0, 5.0), (3.0, 5.0), (1.5, 4.5), (0.6, 5.0), (5.0, 1.0)])
@pytest.mark.parametrize("side", ["R", "L"])
def test_joint_space_on_the_film_is_the_fact(medial: float, lateral: float, side: str) -> None:
    for seed in (1,):
        scene = _knee({side: Knee(2, 2, medial, lateral, (), 0.0, 0.0, 0.0)}, seed=seed, size=768)
        assert _spaces(scene, side) == pytest.approx((medial, lateral), abs=0.3)


def test_osteophytes_have_boxes_inside_their_knee_film() -> None:
    knee = Knee(4, 4, 0.5, 4.0, _PLACES, 4.0, 0.8, 6.0)
    scene = _knee({"R": knee, "L": Knee(0, 0, 5.0, 5.0, (), 0.0, 0.0, 0.0)})
    _assert_sound(scene)
    assert len(_boxes(scene, "osteophyte")) == 5
    middle = scene.bone_mm.shape[1] / 2
    assert _boxes(scene, "knee_right")[0][2] < middle < _boxes(scene, "knee_left")[0][0]
    assert all(box[2] < middle for box in _boxes(scene, "osteophyte"))  # only the right knee has them


def test_sclerosis_adds_bone_under_the_worn_side_only() -> None:
    plain, dense = (_knee({"R": Knee(3, 3, 1.5, 5.0, (), 0.0, amount, 0.0)}) for amount in (0.0, 1.0))
    gain = dense.bone_mm - plain.bone_mm
    x0, _, x1, _ = _boxes(plain, "knee_right")[0]
    middle = int((x0 + x1) / 2)
    medial, lateral = gain[:, middle : int(x1)].sum(), gain[:, int(x0) : middle].sum()
    assert medial > 3 * max(lateral, 1.0)


def test_a_prosthesis_is_metal_with_its_box() -> None:
    scene = _knee({"L": Knee(4, 4, 1.0, 1.0, (), 0.0, 0.0, 0.0, prosthesis=True)})
    assert scene.metal_mm.max() > 3
    assert len(_boxes(scene, "hardware")) == 1


@settings(max_examples=10, deadline=None)
@given(
    spaces=st.tuples(st.floats(0.2, 6.5), st.floats(0.2, 6.5)),
    places=st.sets(st.sampled_from(_PLACES)),
    size=st.floats(0, 6),
    varus=st.floats(-15, 15),
    sides=st.sampled_from(["R", "L", "RL"]),
    projection=st.sampled_from(["AP", "AP", "LAT"]),
    seed=st.integers(0, 2**31),
)
def test_any_knee_is_sound(
    spaces: tuple[float, float],
    places: set[str],
    size: float,
    varus: float,
    sides: str,
    projection: str,
    seed: int,
) -> None:
    knee = Knee(3, 3, *spaces, tuple(sorted(places)), size, 0.5, varus)
    _assert_sound(_knee(dict.fromkeys(sides, knee), seed=seed, size=200, projection=projection, level="hard"))


def test_equal_seeds_give_equal_maps() -> None:
    knee = {"R": Knee(2, 2, 3.0, 4.5, ("medial_tibia",), 2.0, 0.3, 3.0)}
    for make in (lambda seed: _hand(90, "M", seed=seed), lambda seed: _knee(knee, seed=seed)):
        first, again, other = make(5), make(5), make(6)
        assert np.array_equal(first.bone_mm, again.bone_mm)
        assert np.array_equal(first.soft_mm, again.soft_mm)
        assert first.bone_mm.shape != other.bone_mm.shape or not np.array_equal(first.bone_mm, other.bone_mm)


@pytest.mark.parametrize("pitch", [0.2, 0.45])
@pytest.mark.parametrize("refine", [1, 2])
def test_rim_distance_is_right_to_half_a_pixel(pitch: float, refine: int) -> None:
    radius = 9.0
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = 15 + radius * np.column_stack([np.cos(angle), np.sin(angle)])
    side = int(30 / pitch)
    distance = shapes.rim_distance([circle], (side, side), pitch, (0.0, 0.0), refine)
    x = np.arange(side) * pitch - 15
    truth = radius - np.hypot(x[None, :], x[:, None])
    inside = truth > 2 * pitch
    assert abs(float((distance - truth)[inside].mean())) < 0.5 * pitch
    assert distance[truth < -pitch].max() == 0


def test_a_massive_tube_has_the_chord_of_a_cylinder() -> None:
    film = Film(200, 200, 0.25)
    outline = shapes.shaft(lambda s: np.full_like(s, 6.0), 0, 60, caps=(0.5, 0.5))
    shapes.add_bone(film, shapes.Frame(25.0, 55.0), outline, half_depth=6.0, rim=6.0, cortex=2.0, marrow=0.0)
    row = film.bone[100]
    r = np.arange(200) * 0.25 - 25
    hollow = 2 * (np.sqrt(np.maximum(36 - r**2, 0)) - np.sqrt(np.maximum(16 - r**2, 0)))
    marrow = np.abs(r) < 3.4  # at the edges of the cortex the chord's slope is infinite
    assert np.abs(row - hollow)[marrow].max() < 0.5
    assert row.sum() * 0.25 == pytest.approx(np.pi * (36 - 16), rel=0.04)
