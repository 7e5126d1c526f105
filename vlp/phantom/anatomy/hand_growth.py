"""When the bones of hand and wrist appear and fuse: tables by sex, and what they say of one bone at one maturity.

Median ages rounded from Garn, Rohmann & Silverman 1967 (appearance of ossification centres) and from the standards of
Greulich & Pyle 1959 and the atlas of Gilsanz & Ratib 2012 (fusion). Ages are bone ages: a child matures along this table
at its own pace, which :class:`vlp.phantom.facts.Exam` holds as ``bone_age_months``.
"""

from __future__ import annotations

import numpy as np

# months at which a centre appears: (girls, boys)
CARPALS: dict[str, tuple[float, float]] = {
    "capitate": (2, 3),
    "hamate": (2, 4),
    "triquetrum": (21, 29),
    "lunate": (34, 47),
    "trapezium": (48, 67),
    "scaphoid": (49, 66),
    "trapezoid": (50, 69),
    "pisiform": (98, 128),
}
EPIPHYSES: dict[str, tuple[float, float]] = {
    "radius": (10, 13),
    "ulna": (66, 84),
    "metacarpal_1": (18, 31),
    "metacarpal_2": (12, 18),
    "metacarpal_3": (13, 20),
    "metacarpal_4": (15, 23),
    "metacarpal_5": (16, 26),
    "proximal_1": (20, 33),
    "proximal_2": (11, 17),
    "proximal_3": (10, 16),
    "proximal_4": (11, 18),
    "proximal_5": (14, 21),
    "middle_2": (16, 26),
    "middle_3": (15, 24),
    "middle_4": (15, 24),
    "middle_5": (22, 39),
    "distal_1": (12, 18),
    "distal_2": (25, 38),
    "distal_3": (18, 28),
    "distal_4": (18, 29),
    "distal_5": (25, 38),
}
SESAMOID = (128, 152)
# months at which an epiphysis is as wide as its shaft's end, and at which it has fused: (girls, boys), by group
AS_WIDE: dict[str, tuple[float, float]] = {
    "radius": (84, 102),
    "ulna": (132, 156),
    "metacarpal": (102, 126),
    "proximal": (96, 120),
    "middle": (102, 126),
    "distal": (96, 120),
}
FUSED: dict[str, tuple[float, float]] = {
    "radius": (192, 212),
    "ulna": (184, 204),
    "metacarpal": (172, 196),
    "proximal": (168, 192),
    "middle": (170, 194),
    "distal": (160, 184),
}
CARPALS_FULL = (158, 182)
"""Months at which the carpal bones have their adult shape: (girls, boys)."""


def _of(pair: tuple[float, float], sex: str) -> float:
    return pair[0] if sex == "F" else pair[1]


def carpal_growth(bone: str, maturity_months: float, sex: str) -> float:
    """0 before the centre of a carpal bone appears, then rising to 1 at its adult size."""
    start, full = _of(CARPALS[bone], sex), _of(CARPALS_FULL, sex)
    return float(np.clip((maturity_months - start) / (full - start), 0, 1)) ** 0.62 if maturity_months > start else 0.0


def epiphysis_growth(bone: str, maturity_months: float, sex: str) -> tuple[float, float]:
    """Of one epiphysis: its width over the shaft's end (0 not there, 1 as wide, up to 1.06 capping), and its fusion (0-1)."""
    group = bone.partition("_")[0]
    start, wide, fused = _of(EPIPHYSES[bone], sex), _of(AS_WIDE[group], sex), _of(FUSED[group], sex)
    if maturity_months <= start:
        return 0.0, 0.0
    width = float(np.interp(maturity_months, (start, wide, fused - 20), (0.22, 1.0, 1.06)))
    return width, float(np.clip((maturity_months - (fused - 16)) / 16, 0, 1))


def carpals_visible(maturity_months: float, sex: str) -> int:
    """How many of the eight carpal bones have begun to ossify."""
    return sum(maturity_months > _of(pair, sex) for pair in CARPALS.values())
