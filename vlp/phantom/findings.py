"""What an examination shows: joint degeneration, fractures, chest findings, maturity, each from its causes.

Findings are drawn independently of sex, device, site and image size, and nearly so of age, so that nothing but the
image tells them.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

from vlp.phantom.chance import clipped_gauss, weighted
from vlp.phantom.config import Prevalence
from vlp.phantom.facts import Chest, Fracture, Knee

HEALED_CALLUS = 0.9
"""A fracture whose callus reached this is an old, healed one: no fracture in the labels."""

OSTEOPHYTE_PLACES = ("medial_tibia", "lateral_tibia", "medial_femur", "lateral_femur", "tibial_spines")

# mean joint space of the worn compartment (mm), osteophyte size (mm), sclerosis, deformity (degrees), by severity 0-4
_SPACE = (4.7, 4.2, 3.4, 2.2, 0.7)
_OSTEOPHYTE = (0.0, 0.8, 2.2, 3.6, 5.5)
_SCLEROSIS = (0.05, 0.1, 0.25, 0.5, 0.85)
_VARUS = (0.5, 0.8, 1.5, 3.5, 7.0)

_BONES: dict[str, Mapping[str, float]] = {
    "forearm": {"radius": 0.6, "ulna": 0.4},
    "wrist": {"radius": 0.85, "ulna": 0.15},
    "lower_leg": {"tibia": 0.65, "fibula": 0.35},
    "ankle": {"fibula": 0.65, "tibia": 0.35},
}
_THIRDS: dict[str, Mapping[str, float]] = {
    "forearm": {"proximal": 0.15, "middle": 0.55, "distal": 0.3},
    "wrist": {"distal": 1.0},
    "lower_leg": {"proximal": 0.2, "middle": 0.45, "distal": 0.35},
    "ankle": {"distal": 1.0},
}
_KINDS_ADULT = {"transverse": 0.35, "oblique": 0.3, "spiral": 0.15, "comminuted": 0.2}
_KINDS_CHILD = {"transverse": 0.25, "oblique": 0.15, "spiral": 0.1, "greenstick": 0.25, "buckle": 0.25}
_DISPLACEMENT = {"transverse": 3.2, "oblique": 3.0, "spiral": 2.6, "comminuted": 4.0, "greenstick": 0.4, "buckle": 0.0}
_ANGULATION = {"transverse": 9.0, "oblique": 7.0, "spiral": 5.0, "comminuted": 10.0, "greenstick": 11.0, "buckle": 4.0}


def knee(rng: random.Random, severity: float, reader_sd: float, valgus: bool) -> Knee:
    """One knee of ``severity`` (latent, about -0.5 to 4.5; its rounding is the true grade).

    The signs scatter around what the severity predicts, so that neighbouring grades overlap on the film, and the
    reader's grade scatters around the truth (quadratic kappa between readers 0.85-0.9 in the literature).
    """
    grade = round(min(4.0, max(0.0, severity)))
    seen = min(4.0, max(0.0, severity + rng.gauss(0, 0.18)))
    worn = max(0.2, _interpolate(_SPACE, seen) + rng.gauss(0, 0.35))
    spared = max(worn, clipped_gauss(rng, 4.9 - 0.25 * seen, 0.4, 1.5, 6.5))
    size = max(0.0, _interpolate(_OSTEOPHYTE, seen) + rng.gauss(0, 0.35))
    places = rng.sample(OSTEOPHYTE_PLACES, k=min(5, max(1, round(seen + rng.random())))) if size > 0.6 else []
    angle = max(0.0, _interpolate(_VARUS, seen) + rng.gauss(0, 1.0))
    read = round(min(4.0, max(0.0, severity + rng.gauss(0, reader_sd))))
    return Knee(
        kl=grade,
        kl_read=read,
        medial_mm=round(spared if valgus else worn, 2),
        lateral_mm=round(worn if valgus else spared, 2),
        osteophytes=tuple(sorted(places)),
        osteophyte_mm=round(size, 2) if places else 0.0,
        sclerosis=round(min(1.0, max(0.0, _interpolate(_SCLEROSIS, seen) + rng.gauss(0, 0.08))), 3),
        varus_deg=round(-angle if valgus else angle, 1),
    )


# easy: what an eye sees at 128 pixels; a step and an angle of a shaft's width, few of the incomplete kinds
_KINDS_EASY = {"transverse": 0.45, "oblique": 0.27, "comminuted": 0.2}
_KINDS_EASY_CHILD = {**_KINDS_EASY, "greenstick": 0.05, "buckle": 0.03}
_EASY_DISPLACEMENT_MM = {"forearm": 8.0, "wrist": 8.0, "lower_leg": 13.0, "ankle": 8.0}
_EASY_ANGULATION_DEG = 20.0


def fracture(rng: random.Random, anatomy: str, age_months: int, level: str) -> Fracture:
    """One fresh fracture of a bone of ``anatomy``; greenstick and buckle only below 14 years."""
    child = age_months < 14 * 12
    if level == "easy":
        kind = weighted(rng, _KINDS_EASY_CHILD if child else _KINDS_EASY)
        whole = kind not in ("greenstick", "buckle")
        displacement = clipped_gauss(rng, _EASY_DISPLACEMENT_MM[anatomy], 2.0, 4.0, 20.0) if whole else 0.0
        angulation = clipped_gauss(rng, _EASY_ANGULATION_DEG, 5.0, 10.0, 35.0)
        width = rng.uniform(1.2, 2.6)
    else:
        kind = weighted(rng, _KINDS_CHILD if child else _KINDS_ADULT)
        displacement = 0.55 * max(0.0, rng.gauss(_DISPLACEMENT[kind], 0.45 * _DISPLACEMENT[kind]))
        angulation = 0.55 * max(0.0, rng.gauss(_ANGULATION[kind], 0.4 * _ANGULATION[kind]))
        width = rng.uniform(0.3, 1.5)
    bone, third = weighted(rng, _BONES[anatomy]), weighted(rng, _THIRDS[anatomy])
    return Fracture(bone, third, kind, round(displacement, 1), round(angulation, 1), round(width, 2))


def companion(rng: random.Random, first: Fracture, age_months: int, level: str, anatomy: str) -> Fracture | None:
    """A fracture of the paired bone, as radius and ulna or both malleoli often break together."""
    if rng.random() > 0.25:
        return None
    other = next((bone for bone in _BONES[anatomy] if bone != first.bone), None)
    if other is None:
        return None
    return dataclasses.replace(fracture(rng, anatomy, age_months, level), bone=other, third=first.third)


def healed(fractures: tuple[Fracture, ...], days: int) -> tuple[Fracture, ...]:
    """The same fractures ``days`` later: callus from the third week, healed after about four months."""
    gain = min(1.0, max(0.0, (days - 14) / 120))
    return tuple(dataclasses.replace(f, callus=round(min(1.0, f.callus + gain), 2)) for f in fractures)


def is_fractured(fractures: tuple[Fracture, ...]) -> bool:
    """Whether there is a fracture that has not healed."""
    return any(f.callus < HEALED_CALLUS for f in fractures)


def chest(rng: random.Random, prevalence: Prevalence, level: str) -> Chest:
    """Chest findings. Heart failure raises effusion and heart size together, pneumonia consolidation and effusion."""
    failing, infected = rng.random() < 0.2, rng.random() < 0.2
    effusion: dict[str, float] = {}
    if rng.random() < _with_cause(prevalence.effusion, 0.2, failing, 1.5) * (1.15 if infected else 0.96):
        low = 0.18 if level == "easy" else 0.06
        sides = ["R", "L"] if rng.random() < (0.5 if failing else 0.2) else [rng.choice("RL")]
        effusion = {side: round(rng.uniform(low, 0.55), 2) for side in sides}
    consolidation: list[str] = []
    if rng.random() < _with_cause(prevalence.consolidation, 0.2, infected, 2.0):
        lobes = ["right_upper", "right_lower", "left_upper", "left_lower"]
        consolidation = rng.sample(lobes, k=2 if rng.random() < 0.25 else 1)
    big = rng.random() < _with_cause(prevalence.cardiomegaly, 0.2, failing, 2.0)
    ratio = rng.uniform(0.54 if level == "easy" else 0.51, 0.66) if big else clipped_gauss(rng, 0.44, 0.025, 0.37, 0.49)
    pneumothorax: dict[str, float] = {}
    if rng.random() < prevalence.pneumothorax:
        side = rng.choice([s for s in "RL" if s not in effusion] or ["R", "L"])
        pneumothorax = {side: round(rng.uniform(0.2 if level == "easy" else 0.06, 0.6), 2)}
    return Chest(effusion, tuple(sorted(consolidation)), round(ratio, 3), pneumothorax, _devices(rng))


def later_chest(rng: random.Random, before: Chest, prevalence: Prevalence, level: str) -> Chest:
    """Findings of a later film: each may have come, gone, grown or shrunk; heart size and implants stay."""
    new = chest(rng, prevalence, level)
    low = 0.18 if level == "easy" else 0.06
    effusion = {s: round(min(0.6, max(low, v * rng.uniform(0.5, 1.5))), 2) for s, v in before.effusion.items()}
    kept = tuple(d for d in before.device if d == "pacemaker") + tuple(d for d in new.device if d != "pacemaker")
    return Chest(
        effusion=effusion if rng.random() < 0.55 else new.effusion,
        consolidation=before.consolidation if rng.random() < 0.5 else new.consolidation,
        cardiothoracic_ratio=round(clipped_gauss(rng, before.cardiothoracic_ratio, 0.008, 0.37, 0.68), 3)
        if not 0.48 < before.cardiothoracic_ratio < 0.55
        else before.cardiothoracic_ratio,
        pneumothorax=before.pneumothorax if rng.random() < 0.4 else new.pneumothorax,
        device=kept,
    )


def bone_age(rng: random.Random, age_months: float, tempo_months: float) -> float:
    """True maturity: chronological age, moved by the child's own tempo (SD about 11 months, growing from infancy)."""
    scale = min(1.0, 0.25 + age_months / 110)
    return round(min(228.0, max(9.0, age_months + tempo_months * scale + rng.gauss(0, 1.5))), 1)


def _devices(rng: random.Random) -> tuple[str, ...]:
    shares = (("pacemaker", 0.08), ("central_line", 0.12), ("ecg_wires", 0.15))
    return tuple(name for name, share in shares if rng.random() < share)


def _with_cause(prevalence: float, cause_share: float, present: bool, ratio: float) -> float:
    """Probability given the cause (``ratio`` times as likely with it), such that the mean stays ``prevalence``."""
    base = prevalence / (1 + cause_share * (ratio - 1))
    return min(1.0, base * (ratio if present else 1.0))


def _interpolate(table: tuple[float, ...], at: float) -> float:
    low = min(len(table) - 2, int(at))
    return table[low] + (table[low + 1] - table[low]) * (at - low)
