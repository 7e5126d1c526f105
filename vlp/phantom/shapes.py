"""Chord-length primitives: bones, soft tissue and metal as paths along the ray, each added inside its own window only.

Complements :mod:`vlp.phantom.outline` (films, curves, noise). A body is drawn from its outline in its own coordinates
(``s`` along its axis, ``r`` across, millimetres) which a :class:`Frame` places on the film. The distance to the outline
gives the chord in closed form: with half-depth ``D`` and a rim that rounds off over ``w`` millimetres the chord at
distance ``d`` is ``2 D sqrt(1 - (1 - d / w)^2)``, and ``2 D`` further in. The body less its marrow space is cortex; the
marrow holds cancellous bone with band-pass texture. Outlines are filled on a grid finer than the film and averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from vlp.phantom.outline import Film, Map, Points, band_noise

Field = float | Callable[[Map, Map], Map]
"""A quantity over a body: one number, or a function of the local maps (s, r) in mm."""

_FINE_MM = 0.2  # pitch of the grid on which outlines are filled


@dataclass(frozen=True)
class Frame:
    """Where a body lies: ``x, y`` (film mm) of its origin, and the direction of its axis in radians.

    At angle 0 the axis points up the film and ``r`` to its right; positive angles turn the axis to the right.
    ``mirror`` -1 flips ``r``; ``scale`` multiplies lengths.
    """

    x: float
    y: float
    angle: float = 0.0
    mirror: float = 1.0
    scale: float = 1.0

    def place(self, points: npt.ArrayLike) -> Points:
        """Local (s, r) points [n, 2] in film mm (x, y)."""
        s, r = np.asarray(points, np.float64).T * self.scale
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        r = r * self.mirror
        return np.column_stack([self.x + s * sine + r * cosine, self.y - s * cosine + r * sine])

    def local(self, x: Map, y: Map) -> tuple[Map, Map]:
        """Film millimetres as local (s, r)."""
        sine, cosine = np.float32(np.sin(self.angle)), np.float32(np.cos(self.angle))
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        size = np.float32(self.scale)
        s, r = (dx * sine - dy * cosine) / size, (dx * cosine + dy * sine) / (np.float32(self.mirror) * size)
        return cast(Map, s), cast(Map, r)

    def at(self, point: tuple[float, float], turn: float = 0.0) -> Frame:
        """The frame with its origin at local (s, r), turned by ``turn`` radians towards +r."""
        x, y = self.place([point])[0]
        return Frame(float(x), float(y), self.angle + turn * self.mirror, self.mirror, self.scale)


class Texture:
    """Cancellous texture of unit variance, made once an image and read at each bone's own coordinates."""

    def __init__(
        self, spacing_mm: float, rng: np.random.Generator, fine_mm: float = 0.3, coarse_mm: float = 1.1
    ) -> None:
        self.pitch = max(0.15, 0.5 * spacing_mm)
        fine = max(fine_mm, 0.6 * spacing_mm)
        tile = band_noise((384, 384), fine / self.pitch, max(coarse_mm, 2.2 * fine) / self.pitch, rng, stretch=1.8)
        self._tile = tile

    def read(self, s: Map, r: Map, offset: tuple[float, float]) -> Map:
        """The texture at local coordinates (mm), stretched along ``s``; ``offset`` in tile pixels."""
        columns = (r / np.float32(self.pitch) + np.float32(offset[0])) % np.float32(383)
        rows = (s / np.float32(self.pitch) + np.float32(offset[1])) % np.float32(383)
        return cast(Map, cv2.remap(self._tile, columns, rows, cv2.INTER_LINEAR))


def rounded(distance_mm: npt.NDArray[np.floating], half_depth_mm: Map | float, rim_mm: Map | float) -> Map:
    """Chord in mm of a body of given half-depth whose rim rounds off over ``rim_mm``; 0 outside."""
    inward = np.clip(distance_mm / np.maximum(rim_mm, np.float32(1e-3)), 0, 1)
    return (2 * half_depth_mm * np.sqrt(inward * (2 - inward))).astype(np.float32)


def rim_distance(
    curves: Sequence[Points], shape: tuple[int, int], pitch_mm: float, origin: tuple[float, float], refine: int = 1
) -> Map:
    """Distance to the rim of the union of closed curves, [H, W] float32 in mm, 0 outside, right to a quarter of a
    pixel.

    OpenCV's fill takes every pixel that a curve touches, so it is half a pixel too wide; a pixel's distance is
    therefore
    0.9 less than to the nearest pixel outside (1 for rims along the raster, 0.75 on the diagonal). ``curves`` are
    [n, 2]
    (x, y) in mm; pixel (row, column) lies at ``origin + pitch * (column, row)``; ``refine`` > 1 fills a finer grid and
    averages it. The map's edge is no rim.
    """
    pad = 2
    canvas = np.zeros(((shape[0] + 2 * pad) * refine, (shape[1] + 2 * pad) * refine), np.uint8)
    for curve in curves:
        pixels = ((curve - np.asarray(origin)) / pitch_mm + pad + 0.5) * refine - 0.5
        cv2.fillPoly(canvas, [np.round(pixels * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    # DIST_MASK_PRECISE differs from run to run in the last bit, and equal seeds must give equal pixels
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_5)
    distance = np.maximum(distance - np.float32(0.9), 0) * np.float32(pitch_mm / refine)
    if refine > 1:
        distance = cv2.resize(distance, (shape[1] + 2 * pad, shape[0] + 2 * pad), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cast(Map, distance)[pad:-pad, pad:-pad])


@dataclass(frozen=True)
class Patch:
    """Where on the film a body was drawn: its window and the body's chord there, [h, w] mm."""

    rows: slice
    columns: slice
    chord: Map

    def mask(self, shape: tuple[int, int], above_mm: float = 0.3) -> npt.NDArray[np.bool_]:
        """The body's silhouette on a film of ``shape``."""
        mask = np.zeros(shape, bool)
        mask[self.rows, self.columns] = self.chord > above_mm
        return mask


class Grid:
    """A window of a film, refined: its outlines' distance map and coordinates, and the way back to film pixels."""

    def __init__(self, film: Film, curves: Sequence[Points]) -> None:
        corners = np.vstack(curves) / film.spacing_mm
        low, high = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 2
        x0, y0 = np.clip(low, 0, (film.width, film.height))
        x1, y1 = np.clip(high, 0, (film.width, film.height))
        self.rows, self.columns = slice(int(y0), int(y1)), slice(int(x0), int(x1))
        self.empty = x1 <= x0 or y1 <= y0
        self.factor = int(np.clip(np.ceil(film.spacing_mm / _FINE_MM), 1, 4))
        self.pitch = film.spacing_mm / self.factor
        self.curves, self.spacing, self.corner = curves, film.spacing_mm, (int(x0), int(y0))
        self.shape = ((int(y1) - int(y0)) * self.factor, (int(x1) - int(x0)) * self.factor)

    def distance(self) -> Map:
        """Distance to the rim of the union of the curves, mm, 0 outside (fine grid). The film's edge is no rim."""
        origin = (np.asarray(self.corner) - 0.5 + 0.5 / self.factor) * self.spacing
        return rim_distance(self.curves, self.shape, self.pitch, (float(origin[0]), float(origin[1])))

    def coordinates(self, frame: Frame) -> tuple[Map, Map]:
        """Local (s, r) of each fine pixel."""
        start = -0.5 + 0.5 / self.factor
        x = (self.corner[0] + start + np.arange(self.shape[1], dtype=np.float32) / self.factor) * self.spacing
        y = (self.corner[1] + start + np.arange(self.shape[0], dtype=np.float32) / self.factor) * self.spacing
        return frame.local(x[None, :].astype(np.float32), y[:, None].astype(np.float32))

    def film(self, values: Map) -> Map:
        """A fine map averaged to film pixels."""
        if self.factor == 1:
            return values
        size = (self.shape[1] // self.factor, self.shape[0] // self.factor)
        return cast(Map, cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def add_bone(
    film: Film,
    frame: Frame,
    outline: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    half_depth: Field,
    rim: Field,
    cortex: Field,
    marrow: Field,
    texture: Texture | None = None,
    roughness: Field = 0.3,
    weight: float = 1.0,
    seed: float = 0.0,
) -> Patch | None:
    """Adds a hollow bone to ``film.bone``; returns where, or None where it lies off the film.

    Args:
        outline: closed polygon [n, 2] of local (s, r) in mm, or several that are united.
        half_depth: half the body's extent along the ray, mm.
        rim: distance over which the rim rounds off, mm (the half-width for a tube).
        cortex: thickness of cortical bone, mm.
        marrow: density of the cancellous bone within, 0-1 of cortical bone.
        roughness: amplitude of the texture relative to ``marrow``.
        weight: share of the body that is ossified (0-1), for centres that fade in.
        seed: offset into the texture, so that no two bones look alike.
    """
    outlines = _as_outlines(outline)
    grid = Grid(film, [frame.place(points) for points in outlines])
    if grid.empty or weight <= 0:
        return None
    distance = grid.distance()
    s, r = grid.coordinates(frame)

    def value(field: Field) -> Map | float:
        return field(s, r) if callable(field) else field

    size = frame.scale
    depth, edge, thick = value(half_depth), value(rim), value(cortex)
    depth, edge, thick = (np.asarray(v, np.float32) * np.float32(size) for v in (depth, edge, thick))
    density = np.asarray(value(marrow), np.float32)
    outer = rounded(distance, depth, edge)
    inner = rounded(distance - thick, np.maximum(depth - thick, 0), np.maximum(edge - thick, 0.3))
    inner = np.minimum(inner, outer)
    if texture is not None:
        grain = texture.read(s * np.float32(size), r * np.float32(size), (37.0 * seed, 91.0 * seed))
        density = density * np.maximum(1 + np.asarray(value(roughness), np.float32) * grain, 0.05)
    bone = grid.film(outer - inner * (1 - density))
    film.bone[grid.rows, grid.columns] += np.float32(weight) * bone
    return Patch(grid.rows, grid.columns, grid.film(outer))


def add_ridge(
    film: Film, frame: Frame, line: npt.ArrayLike, height_mm: float, sigma_mm: float, fade: float = 0.0
) -> None:
    """Adds the crest of a curved plate seen on edge: a bright stroke along ``line`` [n, 2] (s, r) to ``film.bone``.

    The stroke has a Gaussian section of ``sigma_mm`` and peaks at ``height_mm`` of bone; its ends taper off over the
    share ``fade`` of its length.
    """
    points = frame.place(line)
    margin = 3 * sigma_mm + film.spacing_mm
    grid = Grid(film, [points - margin, points + margin])
    if grid.empty:
        return
    canvas = np.zeros(grid.shape, np.float32)
    pixels = np.round(
        ((points / grid.spacing - (np.asarray(grid.corner) - 0.5 + 0.5 / grid.factor)) * grid.factor) * 16
    ).astype(np.int32)
    steps = len(pixels) - 1
    for n in range(steps):
        ends = min(n + 0.5, steps - n - 0.5) / max(steps, 1)
        value = 1.0 if fade <= 0 else min(1.0, ends / fade)
        cv2.line(canvas, pixels[n].tolist(), pixels[n + 1].tolist(), value, 1, cv2.LINE_8, 4)
    sigma = max(sigma_mm / grid.pitch, 0.7)
    blurred = cv2.GaussianBlur(canvas, (0, 0), sigma) * np.float32(sigma * np.sqrt(2 * np.pi))
    film.bone[grid.rows, grid.columns] += np.float32(height_mm) * grid.film(blurred)


def add_capsule(
    film: Film,
    target: Map,
    start: tuple[float, float],
    end: tuple[float, float],
    r0: float,
    r1: float,
    depth: float = 1.0,
) -> None:
    """Raises ``target`` to the chord of a tapered limb segment from ``start`` to ``end`` (film mm), radii ``r0``,
    ``r1``.

    Segments join without a seam: chords combine by a smooth maximum (the 6-norm). ``depth`` is depth over width.
    """
    biggest = max(r0, r1)
    window = Grid(film, [np.array([start, end]) - biggest, np.array([start, end]) + biggest])
    if window.empty:
        return
    x = film.x[:, window.columns] - np.float32(start[0])
    y = film.y[window.rows, :] - np.float32(start[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(float(np.hypot(dx, dy)), 1e-3)
    along = (x * np.float32(dx) + y * np.float32(dy)) / np.float32(length)
    share = np.clip(along / np.float32(length), 0, 1)
    radius = np.float32(r0) + np.float32(r1 - r0) * share
    off2 = (x - share * np.float32(dx)) ** 2 + (y - share * np.float32(dy)) ** 2
    chord = 2 * np.float32(depth) * np.sqrt(np.maximum(radius**2 - off2, 0))
    part = target[window.rows, window.columns]
    np.copyto(part, (part**6 + chord**6) ** np.float32(1 / 6))


def shaft(
    width: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    start: float,
    end: float,
    *,
    caps: tuple[float, float] = (1.0, 1.0),
    squareness: tuple[float, float] = (3.0, 3.0),
    dents: tuple[float, float] = (0.0, 0.0),
    skew: float = 0.0,
) -> Points:
    """Outline [n, 2] of (s, r) of a flared shaft from ``start`` to ``end`` along its axis, mm.

    Args:
        width: half-width in mm as a function of ``s``.
        caps: how far each end rounds off along the axis, mm.
        squareness: exponent of each end's super-ellipse; 2 is round, above is flatter with tighter corners.
        dents: depth of a hollow in the middle of each end (the waist between two condyles), mm.
        skew: shift of one side's profile along the axis, mm, so that sides differ.
    """
    inner = np.linspace(start + caps[0], end - caps[1], 24)
    turn = np.linspace(np.pi / 2, 0, 9)[1:]

    def cap(at: float, reach: float, power: float, dent: float, sign: float) -> Points:
        half = float(width(np.array([at]))[0])
        r = half * np.sin(turn) ** (2 / power)
        s = reach * np.cos(turn) ** (2 / power) - dent * np.exp(-((r / (0.45 * half)) ** 2))
        return np.column_stack([at + sign * s, r])

    top, bottom = (
        cap(inner[-1], caps[1], squareness[1], dents[1], 1),
        cap(inner[0], caps[0], squareness[0], dents[0], -1),
    )
    right = np.vstack([bottom[::-1], np.column_stack([inner, width(inner)]), top])
    left = np.vstack([bottom[::-1], np.column_stack([inner, width(inner + skew)]), top])[::-1] * (1, -1)
    return np.vstack([right, left])


def blob(radii: Sequence[float] | npt.NDArray[np.float64], samples: int = 48) -> Points:
    """A smooth closed outline [samples, 2] of (s, r) from radii (mm) at equal angles, the first along +s."""
    values = np.asarray(radii, np.float64)
    angle = np.linspace(0, 2 * np.pi, samples, endpoint=False)
    spectrum = np.fft.rfft(values) / len(values)  # the band-limited curve through the radii
    total = np.full(samples, spectrum[0].real)
    for k in range(1, len(spectrum)):
        gain = 1.0 if 2 * k == len(values) else 2.0
        total += gain * (spectrum[k] * np.exp(1j * k * angle)).real
    return np.column_stack([total * np.cos(angle), total * np.sin(angle)])


def grow(outline: Points, width: float, height: float, squareness: float = 2.0) -> Points:
    """An ossification centre inside its cartilage model ``outline`` [n, 2] (s, r): a dot first, the model's shape last.

    ``width`` and ``height`` are the centre's extents across and along the axis over the model's, 0-1 or a little more.
    """
    low, high = outline.min(0), outline.max(0)
    centre, half = (low + high) / 2, (high - low) / 2
    angle = np.arctan2((outline[:, 1] - centre[1]) / half[1], (outline[:, 0] - centre[0]) / half[0])
    power = 2 / squareness
    cosine, sine = np.cos(angle), np.sin(angle)
    oval = np.column_stack([np.sign(cosine) * np.abs(cosine) ** power, np.sign(sine) * np.abs(sine) ** power]) * half
    model = outline - centre
    share = float(np.clip((min(width, height) - 0.42) / 0.45, 0, 1))
    return centre + ((1 - share) * oval + share * model) * (height, width)


def cut(outline: Points, level: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], above: bool) -> Points:
    """The part of an outline [n, 2] (s, r) above or below the line ``s = level(r)``."""
    dense = resample(outline, 0.4)
    line = level(dense[:, 1])
    side = dense[:, 0] > line if above else dense[:, 0] < line
    return dense[side]


def resample(outline: Points, step_mm: float) -> Points:
    """A closed polygon with vertices every ``step_mm``."""
    closed = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, length[-1], max(12, int(length[-1] / step_mm)), endpoint=False)
    return np.column_stack([np.interp(at, length, closed[:, k]) for k in (0, 1)])


def soften(outline: Points, radius_mm: float) -> Points:
    """The closed polygon with its corners rounded off over about ``radius_mm``."""
    kernel = np.hanning(9)[1:-1]
    # not np.convolve: its sums depend on where memory lies, in the last bit
    return convolve1d(resample(outline, 0.25 * radius_mm), kernel / kernel.sum(), axis=0, mode="wrap")


def _as_outlines(outline: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[Points]:
    if isinstance(outline, list) and len(outline) and isinstance(outline[0], np.ndarray):
        return [np.asarray(part, np.float64) for part in outline]
    return [np.asarray(outline, np.float64)]
