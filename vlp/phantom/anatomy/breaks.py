"""How a long bone breaks: fragments, their rigid motion, and the shape of the line between them.

A broken bone keeps its joints: each fragment turns about the joint end that it still holds, so an angulated fracture
moves its apex sideways and leaves the ends in place. Types follow Müller's AO principles (1990) and, in children, the
torus and greenstick fractures of the paediatric literature.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom.facts import Exam, Fracture
from vlp.phantom.outline import Map

_SHARE = {"proximal": (0.14, 0.28), "middle": (0.40, 0.60), "distal": (0.74, 0.86)}
_METAPHYSIS_MM = (14.0, 26.0)  # a torus or wrist fracture's distance from the distal end


@dataclass(frozen=True)
class Break:
    """A fracture placed on its bone: where, how inclined, in which plane it is displaced."""

    fracture: Fracture
    at: float  # s in mm
    slope: float  # of the line across the bone, ds/du
    sideways: float  # signed displacement in this projection, mm
    angle_deg: float  # signed angulation in this projection
    jag: tuple[float, float, float]  # amplitude mm, frequency 1/mm, phase
    open_side: float  # +1 or -1: the cortex that broke (greenstick), or where a butterfly fragment lies


def place(fracture: Fracture, exam: Exam, length: float, projection: str, near_joint: bool) -> Break:
    """Put a fracture on a bone of ``length`` mm. Every view of an exam sees the same one, from its own direction."""
    seed = zlib.crc32(f"{exam.exam_id}/{fracture.bone}/{fracture.third}/{fracture.kind}".encode())
    rng = np.random.default_rng(seed)
    low, high = _SHARE.get(fracture.third, _SHARE["middle"])
    at = length * rng.uniform(low, high)
    if fracture.third == "distal" and (near_joint or fracture.kind == "buckle"):
        at = length - rng.uniform(*_METAPHYSIS_MM) * (length / 245.0) ** 0.7
    plane = rng.uniform(0.15, 1.4)
    lateral = projection == "LAT"
    seen = np.sin(plane) if lateral else np.cos(plane)
    seen = max(float(seen), 0.7)  # a fracture that no view shows teaches nothing
    sign = float(rng.choice([-1.0, 1.0]))
    slope = {
        "oblique": rng.uniform(0.7, 1.5),
        "spiral": rng.uniform(1.0, 1.7),
        "comminuted": rng.uniform(0.5, 0.9),
    }.get(fracture.kind, rng.uniform(0.0, 0.15)) * float(rng.choice([-1.0, 1.0]))
    return Break(
        fracture,
        float(at),
        float(slope),
        sign * fracture.displacement_mm * seen,
        float(rng.choice([-1.0, 1.0])) * fracture.angulation_deg * seen,
        (float(rng.uniform(0.3, 1.1)), float(rng.uniform(0.25, 0.6)), float(rng.uniform(0, 6))),
        float(rng.choice([-1.0, 1.0])),
    )


def fragments(
    bone: Map, s: Map, u: Map, broken: Break, half_width: float, spacing_mm: float, length: float
) -> list[tuple[Map, npt.NDArray[np.float64]]]:
    """The bone's map [H, W] cut in rigid parts, each with its 2 × 3 motion in the bone's frame, (u, s) in mm.

    ``s`` is [H, 1], ``u`` [1, W]; ``half_width`` is the bone's at the fracture.
    """
    fracture = broken.fracture
    line = _line(u, broken)
    healing = np.float32(min(1.0, 1.1 * fracture.callus))  # an old fracture shows its shape, not its line
    gap = np.float32(max(fracture.line_width_mm, 0.2))
    upper_motion, lower_motion = _motions(broken, length)
    if fracture.kind == "buckle":
        return [(bone, np.eye(2, 3))]
    if fracture.kind == "greenstick":
        reach = np.clip((u * broken.open_side / max(half_width, 1.0) + 0.35) / 0.5, 0, 1)  # how far the line runs
        wedge = gap * reach * (0.6 + 0.6 * np.clip(u * broken.open_side / half_width, 0, 1))
        cut = _above(s, line, wedge, spacing_mm) + _below(s, line, wedge, spacing_mm)
        cut = np.maximum(np.clip(cut, 0, 1), healing)
        return _hinged(bone * cut, s, broken, upper_motion, lower_motion, spacing_mm)
    front, back = line, line
    if fracture.kind == "spiral":  # the line winds: the two walls are cut along opposite slopes
        back = np.float32(2 * broken.at) - line + np.float32(0.5 * half_width)
    upper = 0.5 * (_above(s, front, gap, spacing_mm) + _above(s, back, gap, spacing_mm))
    lower = 0.5 * (_below(s, front, gap, spacing_mm) + _below(s, back, gap, spacing_mm))
    if healing > 0:  # new bone bridges the gap
        lack = np.clip(1 - upper - lower, 0, 1) * healing
        upper, lower = upper + 0.5 * lack, lower + 0.5 * lack
    parts = [(cast(Map, bone * upper), upper_motion), (cast(Map, bone * lower), lower_motion)]
    if fracture.kind == "comminuted":
        parts = _butterfly(parts, s, u, broken, half_width, spacing_mm)
    return parts


def buckle_bulge(s: Map, broken: Break, half_width: float) -> Map:
    """Extra half-width of a torus fracture along the shaft, mm, [H, 1]."""
    size = 0.9 + 0.05 * half_width + 0.06 * broken.fracture.angulation_deg
    return (size * np.exp(-(((s - broken.at) / 2.6) ** 2))).astype(np.float32)


def callus(s: Map, u: Map, broken: Break, half_width: float) -> Map:
    """New bone round a healing fracture, cortical-equivalent mm, [H, W]: cloudy, widest at the line."""
    amount = broken.fracture.callus
    if amount <= 0:
        return np.zeros((s.shape[0], u.shape[1]), np.float32)
    reach = half_width + 4.5 * np.sin(np.pi * min(amount, 0.92)) + 1.0
    along = np.exp(-(((s - broken.at) / (7 + 5 * amount)) ** 2))
    across = 1 / (1 + np.exp((np.abs(u) - reach * (0.6 + 0.4 * along)) / 0.8))
    return (3.2 * (0.4 + 0.6 * amount) * along * across).astype(np.float32)


def _line(u: Map, broken: Break) -> Map:
    amplitude, frequency, phase = broken.jag
    rough = amplitude * (np.sin(frequency * u + phase) + 0.4 * np.sin(2.7 * frequency * u + 2 * phase))
    return (broken.at + broken.slope * u + rough).astype(np.float32)


def _above(s: Map, line: Map, gap: npt.NDArray[np.floating] | np.float32, spacing_mm: float) -> Map:
    soft = np.float32(max(0.25, 0.35 * spacing_mm))
    return np.clip(0.5 + (line - gap / 2 - s) / (2 * soft), 0, 1).astype(np.float32)


def _below(s: Map, line: Map, gap: npt.NDArray[np.floating] | np.float32, spacing_mm: float) -> Map:
    soft = np.float32(max(0.25, 0.35 * spacing_mm))
    return np.clip(0.5 + (s - line - gap / 2) / (2 * soft), 0, 1).astype(np.float32)


def _motions(broken: Break, length: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rigid motions of the upper and lower fragment: each turns about its own joint end, then they step apart."""
    above, below = max(broken.at, 1.0), max(length - broken.at, 1.0)
    total = broken.angle_deg
    upper_turn, lower_turn = total * below / (above + below), -total * above / (above + below)
    ratio = below / (above + below)  # the short fragment stays with its joint, the long one's end steps aside less
    step = broken.sideways
    upper = _turn(upper_turn, (0.0, 0.0), -step * (1 - ratio))
    lower = _turn(lower_turn, (0.0, length), step * ratio)
    return upper, lower


def _turn(degrees: float, centre: tuple[float, float], sideways: float) -> npt.NDArray[np.float64]:
    matrix = cast(npt.NDArray[np.float64], cv2.getRotationMatrix2D(centre, degrees, 1.0))
    matrix[0, 2] += sideways
    return matrix


def _hinged(
    bone: Map,
    s: Map,
    broken: Break,
    upper: npt.NDArray[np.float64],
    lower: npt.NDArray[np.float64],
    spacing_mm: float,
) -> list[tuple[Map, npt.NDArray[np.float64]]]:
    """Two halves that stay joined: the bent bone of a greenstick fracture."""
    share = np.clip(0.5 + (broken.at - s) / (1.2 * spacing_mm), 0, 1).astype(np.float32)
    return [(bone * share, upper), (bone * (1 - share), lower)]


def _butterfly(
    parts: list[tuple[Map, npt.NDArray[np.float64]]],
    s: Map,
    u: Map,
    broken: Break,
    half_width: float,
    spacing_mm: float,
) -> list[tuple[Map, npt.NDArray[np.float64]]]:
    """Take a wedge out of both fragments on one side and push it outwards."""
    side = broken.open_side
    outward = u * side / max(half_width, 1.0)
    extent = np.float32(1.5 * half_width) * np.clip(outward + 0.35, 0, 2)
    soft = np.float32(max(0.3, 0.4 * spacing_mm))
    wedge = np.clip(0.5 + (extent - np.abs(s - _line(u, broken))) / (2 * soft), 0, 1).astype(np.float32)
    rim = np.clip(0.5 + (extent + 0.9 - np.abs(s - _line(u, broken))) / (2 * soft), 0, 1).astype(np.float32)
    whole = parts[0][0] + parts[1][0]
    push = 1.5 + 0.6 * broken.fracture.displacement_mm
    motion = _turn(9.0 * side, (0.0, broken.at), side * push * 0.6)
    kept = [(values * (1 - rim), move) for values, move in parts]
    return [*kept, (whole * wedge, motion)]
