"""The population: who comes, when, for which examination, with which disease in which state.

A patient is a function of (configuration, index) alone, so that a hundred thousand stream in constant memory and any
one of them can be made again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlp.phantom import findings
from vlp.phantom.chance import clipped_gauss, stream, weighted
from vlp.phantom.config import PhantomConfig
from vlp.phantom.facts import Exam, Fracture, Knee, View

EPOCH = dt.date(2009, 1, 5)
SPAN_DAYS = 5400
LONG_BONES = ("forearm", "wrist", "lower_leg", "ankle")
HELD_OUT_SHARE = 0.2
NEW_INJURY = (0.02, 0.14)  # probability at the second and at later studies of a limb that is whole: the visit's number
# must not tell, and most fractures have healed by the third


@dataclass(frozen=True)
class Visit:
    """One examination and its day."""

    exam: Exam
    date: dt.date


@dataclass(frozen=True)
class Patient:
    """One patient's course. ``held_out`` patients get wordings that no other patient has (where configured)."""

    index: int
    sex: str
    birth_date: dt.date
    anatomy: str
    site: int
    held_out: bool
    visits: tuple[Visit, ...]


def is_held_out(config: PhantomConfig, index: int) -> bool:
    """Whether the patient's reports use held-out styles and wordings."""
    return config.holdout_styles and stream(config.seed, index, "held out").random() < HELD_OUT_SHARE


def make_patient(config: PhantomConfig, index: int, devices: Sequence[str] | None = None) -> Patient:
    """The patient ``index`` (0-based) of the hospital. ``devices`` are the names of the X-ray machines."""
    if devices is None:
        from vlp.phantom.devices import DEVICES

        devices = list(DEVICES)
    rng = stream(config.seed, index, "course")
    anatomy = weighted(rng, config.shares.model_dump())
    sex = rng.choice("FM")
    site = rng.randrange(config.sites)
    first_day = EPOCH + dt.timedelta(days=rng.randrange(SPAN_DAYS))
    age_days = round(_age_years(rng, anatomy) * 365.25)
    age_days += rng.randrange(365) if anatomy != "hand" else 0  # or ages held at a limit have their birthday that day
    birth = first_day - dt.timedelta(days=age_days)
    days = _schedule(rng, anatomy, config.studies_mean)
    base: dict[str, Any] = {
        "patient": index,
        "anatomy": anatomy,
        "sex": sex,
        "level": config.level,
        "body_scale": round(clipped_gauss(rng, 1.0, 0.05, 0.86, 1.15), 3),
        "body_mass": round(clipped_gauss(rng, 1.05, 0.18, 0.65, 1.7), 3),
        "contrast": _contrast(config, sex, site),
        "build_seed": stream(config.seed, index, "build").randrange(2**31),
    }
    course = _COURSES.get(anatomy, _long_bone_course)(rng, config, [age_days + d for d in days], days, anatomy)
    visits = []
    for number, (day, facts) in enumerate(zip(days, course, strict=True)):
        draw = stream(config.seed, index, "visit", number)
        exam = Exam(
            **base,
            **facts,
            exam_id=f"{index:07d}-{number}",
            age_months=int((age_days + day) / 30.4375),
            views=_views(draw, anatomy, facts["side"]),
            device=draw.choice(list(devices)),
            foreign_bodies=_foreign_bodies(draw, anatomy, config.level),
        )
        visits.append(Visit(_with_planted_marker(draw, config, exam), first_day + dt.timedelta(days=day)))
    return Patient(index, sex, birth, anatomy, site, is_held_out(config, index), tuple(visits))


def _age_years(rng: random.Random, anatomy: str) -> float:
    if anatomy == "hand":
        return rng.uniform(1.0, 17.9)
    if anatomy == "knee":
        return clipped_gauss(rng, 63, 10, 38, 90)
    if anatomy == "chest":
        return clipped_gauss(rng, 60, 17, 18, 96)
    return rng.uniform(3, 15) if rng.random() < 0.4 else clipped_gauss(rng, 48, 19, 16, 93)


def _schedule(rng: random.Random, anatomy: str, mean: float) -> list[int]:
    """Days of the studies from the first; how many does not depend on what they show."""
    count = 1
    while count < 6 and rng.random() < 1 - 1 / mean:
        count += 1
    gaps = {"hand": (170, 420), "knee": (300, 1500), "chest": (1, 200)}.get(anatomy, (7, 120))
    days = [0]
    for _ in range(count - 1):
        days.append(days[-1] + rng.randint(*gaps))
    return days


def _hand_course(
    rng: random.Random, config: PhantomConfig, ages: Sequence[int], days: Sequence[int], anatomy: str
) -> list[dict[str, Any]]:
    tempo = clipped_gauss(rng, 0, 13.0, -34, 34)
    course = []
    for age in ages:
        true = findings.bone_age(rng, age / 30.4375, tempo)
        read = max(6.0, true + rng.gauss(0, 12 * config.bone_age_reader_sd_years))
        course.append({"side": "L", "bone_age_months": true, "bone_age_read": round(read, 1)})
    return course


def _knee_course(
    rng: random.Random, config: PhantomConfig, ages: Sequence[int], days: Sequence[int], anatomy: str
) -> list[dict[str, Any]]:
    side = rng.choice(("R", "L", "B", "B"))
    # flat over the grades; age adds little, or it would tell the grade
    start = {s: rng.uniform(-0.9, 4.3) + (ages[0] / 365.25 - 63) * 0.006 for s in ("RL" if side == "B" else side)}
    valgus = {s: rng.random() < 0.22 for s in start}
    speed = {s: rng.uniform(0, 0.2) for s in start}
    prosthesis = {s: rng.random() < 0.06 for s in start}
    course: list[dict[str, Any]] = []
    for day in days:
        knees: dict[str, Knee] = {}
        for s in start:
            made = findings.knee(rng, start[s] + speed[s] * day / 365.25, config.kl_reader_sd, valgus[s])
            knees[s] = dataclasses.replace(made, prosthesis=prosthesis[s])
        course.append({"side": side, "knees": knees, "hardware": any(prosthesis.values())})
    return course


def _long_bone_course(
    rng: random.Random, config: PhantomConfig, ages: Sequence[int], days: Sequence[int], anatomy: str
) -> list[dict[str, Any]]:
    side, age = rng.choice("RL"), int(ages[0] / 30.4375)
    broken = rng.random() < config.prevalence.fracture
    hard = config.level == "hard"
    old = not broken and rng.random() < (0.12 if hard else 0.03)  # an old healed fracture is a hard negative
    hardware = rng.random() < ((0.12 if broken else 0.08) if hard else 0.04)
    fractures: tuple[Fracture, ...] = ()
    if broken or old:
        first = findings.fracture(rng, anatomy, age, config.level)
        second = findings.companion(rng, first, age, config.level, anatomy)
        fractures = tuple(dataclasses.replace(f, callus=1.0 if old else 0.0) for f in (first, second) if f is not None)
    course = []
    injured = 0  # day of the injury
    for number, day in enumerate(days):
        now = findings.healed(fractures, day - injured) if broken else fractures
        chance = NEW_INJURY[min(number, 2) - 1] if number else 0.0
        if not findings.is_fractured(now) and rng.random() < chance:
            broken, injured = True, day
            fractures = now = (findings.fracture(rng, anatomy, age, config.level),)
        facts = {"side": side, "fractures": now, "hardware": hardware, "mimics": _mimics(rng, ages[number] / 365.25)}
        facts["cast"] = rng.random() < ((0.22 if findings.is_fractured(now) else 0.12) if hard else 0.05)
        course.append(facts)
    return course


def _chest_course(
    rng: random.Random, config: PhantomConfig, ages: Sequence[int], days: Sequence[int], anatomy: str
) -> list[dict[str, Any]]:
    now = findings.chest(rng, config.prevalence, config.level)
    course: list[dict[str, Any]] = []
    for number in range(len(days)):
        now = findings.later_chest(rng, now, config.prevalence, config.level) if number else now
        course.append({"side": "", "chest": now, "mimics": ("skin_fold",) if rng.random() < 0.15 else ()})
    return course


_COURSES: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "hand": _hand_course,
    "knee": _knee_course,
    "chest": _chest_course,
}


def _mimics(rng: random.Random, age_years: float) -> tuple[str, ...]:
    found = [
        name
        for name, share in (("nutrient_canal", 0.2), ("mach_line", 0.12), ("skin_fold", 0.12))
        if rng.random() < share
    ]
    if age_years < 16:
        found.append("growth_plate")
    return tuple(found)


def _views(rng: random.Random, anatomy: str, side: str) -> tuple[View, ...]:
    if anatomy == "chest":
        plan = [("PA", "")] + ([("LAT", "")] if rng.random() < 0.2 else [])
    elif anatomy == "hand":
        plan = [("PA", side)]
    elif anatomy == "knee":
        plan = [("AP", side)] if side != "B" or rng.random() < 0.6 else [("AP", "R"), ("AP", "L")]
    else:
        plan = [("PA" if anatomy == "wrist" else "AP", side)] + ([("LAT", side)] if rng.random() < 0.75 else [])
    return tuple(View(projection, s, rng.randrange(2**31)) for projection, s in plan)


def _foreign_bodies(rng: random.Random, anatomy: str, level: str) -> tuple[str, ...]:
    choices = {"hand": ("ring",), "wrist": ("ring",), "chest": ("necklace", "button", "electrode")}
    share = 0.06 if level == "easy" else 0.15
    return (rng.choice(choices.get(anatomy, ("button", "coin"))),) if rng.random() < share else ()


def _contrast(config: PhantomConfig, sex: str, site: int) -> float:
    gap = config.planted_gap
    hit = (gap.group == "sex" and sex == gap.value) or (gap.group == "site" and str(site) == str(gap.value))
    return gap.contrast if hit else 1.0


def _with_planted_marker(rng: random.Random, config: PhantomConfig, exam: Exam) -> Exam:
    plant = config.planted_shortcut
    if not plant.label:
        return exam
    from vlp.phantom.truth import labels_of

    labels = labels_of(exam)
    value = (
        float(labels["kl_grade"] >= 2) if plant.label == "kl_high" and "kl_grade" in labels else labels.get(plant.label)
    )
    if value is None:
        return exam
    tells = rng.random() < plant.strength
    return dataclasses.replace(exam, planted_marker=plant.positive if bool(value) == tells else plant.negative)
