"""From the facts of an examination to what its report has to say, as rules of the grammar and their slots.

No wording here: only what is said, in which order of importance, and with which numbers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from vlp.phantom.facts import Exam, Fracture, Knee
from vlp.phantom.findings import HEALED_CALLUS, is_fractured

FRESH_CALLUS = 0.15
_SPACES = ((3.5, 9), (3, 9), (2, 4.8), (0.8, 3.4), (0, 1.6))  # joint space (mm) a reader quotes with each grade
ROMAN = ("0", "I", "II", "III", "IV")


@dataclass(frozen=True)
class Statement:
    """One thing to say: a rule and its slots. ``lead`` is a rule said before it (which knee)."""

    rule: str
    slots: dict[str, str] = field(default_factory=dict)
    finding: bool = True
    lead: str = ""


@dataclass(frozen=True)
class Content:
    """What the report says: ``topic`` names the pack's rules for indication and fillers."""

    topic: str  # hand, knee, limb, chest
    results: list[Statement]
    conclusion: list[Statement]


def content_of(exam: Exam, rng: random.Random, decimal: str) -> Content:
    """What there is to say. ``decimal`` is the decimal mark of the language."""
    if exam.chest is not None:
        return _chest(exam, rng, decimal)
    if exam.knees:
        return _knee(exam, rng, decimal)
    if exam.bone_age_read is not None:
        return _hand(exam)
    return _limb(exam, rng, decimal)


def views_code(exam: Exam) -> str:
    """The projections in their order, such as ``AP+LAT``."""
    return "+".join(view.projection for view in exam.views)


def number(value: float, decimal: str, digits: int = 1) -> str:
    """A measure as the language writes it; no decimals where there are none."""
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace(".", decimal)


def duration_slots(months: float) -> dict[str, str]:
    """Slots of the pack's rule ``duration.<shape>`` for a time in months."""
    years, rest = divmod(round(months), 12)
    shape = "months" if not years else "years" if not rest else "years_months"
    return {"years": str(years), "months": str(rest), "shape": shape}


def _hand(exam: Exam) -> Content:
    read = exam.bone_age_read or 0.0
    gap = read - exam.age_months
    maturity = "open" if read < (150 if exam.sex == "F" else 168) else "closing" if read < 200 else "fused"
    verdict = "concordant" if abs(gap) <= 12 else "advanced" if gap > 0 else "delayed"
    return Content(
        "hand", [Statement("r.bone_age"), Statement(f"r.plates.{maturity}")], [Statement(f"c.bone_age.{verdict}")]
    )


def _knee(exam: Exam, rng: random.Random, decimal: str) -> Content:
    results, conclusion = [], []
    both = len(exam.knees) > 1
    for side, knee in sorted(exam.knees.items(), reverse=True):
        slots = _knee_slots(side, knee, decimal)
        lead = "r.knee_side" if both else ""
        if knee.prosthesis:
            results.append(Statement("r.prosthesis", slots))
            conclusion.append(Statement("c.prosthesis", slots))
            continue
        results.append(Statement(f"r.kl.{knee.kl_read}", slots, lead=lead))
        if abs(knee.varus_deg) >= 3:
            results.append(Statement(f"r.deformity.{'varus' if knee.varus_deg > 0 else 'valgus'}", slots, lead=lead))
        conclusion.append(Statement(f"c.kl.{knee.kl_read}", slots))
    return Content("knee", results, conclusion)


def _knee_slots(side: str, knee: Knee, decimal: str) -> dict[str, str]:
    space = min(knee.medial_mm, knee.lateral_mm)
    slots = {
        "side": side,
        "compartment": "medial" if knee.medial_mm <= knee.lateral_mm else "lateral",
        "angle": number(abs(knee.varus_deg), decimal, 0),
        "kl_roman": ROMAN[knee.kl_read],
    }
    if _SPACES[knee.kl_read][0] <= space <= _SPACES[knee.kl_read][1]:  # a reader measures what fits the grade
        slots["space"] = number(space, decimal)
    return slots


def _limb(exam: Exam, rng: random.Random, decimal: str) -> Content:
    results, conclusion = [], []
    for fracture in exam.fractures:
        state = _state(fracture)
        slots = _fracture_slots(fracture, decimal)
        results.append(Statement(f"r.fracture.{state}", slots))
        conclusion.append(Statement(f"c.fracture.{state}", slots))
    if not is_fractured(exam.fractures):
        places = rng.choice(((1, 1), (1, 1), (1, 0), (0, 1)))
        if places[0] and not exam.fractures:
            results.append(Statement("r.no_fracture", finding=False))
        if places[1] and not exam.fractures:
            conclusion.append(Statement("c.no_fracture", finding=False))
    for present, name in ((exam.cast, "cast"), (exam.hardware, "hardware")):
        if present:
            results.append(Statement(f"r.{name}"))
            if rng.random() < 0.4:
                conclusion.append(Statement(f"c.{name}"))
    results += [Statement(f"r.mimic.{name}", finding=False) for name in exam.mimics if rng.random() < 0.5]
    return Content("limb", results + _foreign(exam, rng), conclusion)


def _state(fracture: Fracture) -> str:
    if fracture.callus >= HEALED_CALLUS:
        return "healed"
    return "fresh" if fracture.callus < FRESH_CALLUS else "healing"


def _fracture_slots(fracture: Fracture, decimal: str) -> dict[str, str]:
    moved, bent = fracture.displacement_mm >= 1, fracture.angulation_deg >= 5
    return {
        "bone": fracture.bone,
        "third": fracture.third,
        "kind": fracture.kind,
        "shift": "both" if moved and bent else "some" if moved else "angled" if bent else "none",
        "displacement": number(fracture.displacement_mm, decimal, 0 if fracture.displacement_mm >= 2 else 1),
        "angulation": number(fracture.angulation_deg, decimal, 0),
    }


def _chest(exam: Exam, rng: random.Random, decimal: str) -> Content:
    chest = exam.chest
    assert chest is not None
    results: list[Statement] = []
    conclusion: list[Statement] = []

    def found(name: str, slots: dict[str, str]) -> None:
        results.append(Statement(f"r.{name}", slots))
        conclusion.append(Statement(f"c.{name}", slots))

    ratio = {"ratio": f"{chest.cardiothoracic_ratio:.2f}".replace(".", decimal)}
    for lobe in chest.consolidation:
        found("consolidation", {"lobe": lobe})
    if len(chest.effusion) == 2:
        found("effusion_both", {"amount": _amount(max(chest.effusion.values()))})
    for side, volume in chest.effusion.items() if len(chest.effusion) == 1 else ():
        found("effusion", {"side": side, "amount": _amount(volume)})
    for side, volume in chest.pneumothorax.items():
        found("pneumothorax", {"side": side, "amount": _amount(volume)})
    if chest.cardiothoracic_ratio > 0.5:
        found("cardiomegaly", ratio)
    if not conclusion:
        conclusion.append(Statement("c.chest_normal", finding=False))
    absent = {
        "consolidation": not chest.consolidation,
        "effusion": not chest.effusion,
        "pneumothorax": not chest.pneumothorax,
        "cardiomegaly": chest.cardiothoracic_ratio <= 0.5,
    }
    # mostly said, sometimes left out, as readers do
    results += [
        Statement(f"r.no_{name}", ratio, finding=False)
        for name, is_absent in absent.items()
        if is_absent and rng.random() < 0.8
    ]
    results += [Statement(f"r.device.{name}", finding=False) for name in chest.device if rng.random() < 0.9]
    if "skin_fold" in exam.mimics and rng.random() < 0.5:
        results.append(Statement("r.mimic.skin_fold", finding=False))
    return Content("chest", results + _foreign(exam, rng), conclusion)


def _foreign(exam: Exam, rng: random.Random) -> list[Statement]:
    return [Statement(f"r.foreign.{name}", finding=False) for name in exam.foreign_bodies if rng.random() < 0.7]


def _amount(share: float) -> str:
    return "small" if share < 0.22 else "medium" if share < 0.4 else "large"
