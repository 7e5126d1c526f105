"""From the facts of an exam to a finished film: scene, exposure, tone, collimation, markers, stored values."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom import markers, physics
from vlp.phantom.anatomy import builder
from vlp.phantom.devices import DEVICES, Device
from vlp.phantom.facts import Exam, Radiograph, Scene, TrueObject, View
from vlp.phantom.outline import box_of
from vlp.phantom.tone import tone_scale

Map = npt.NDArray[np.float32]
Corners = npt.NDArray[np.float64]

_LEAD_MM = 8.0  # titanium-equivalent path of a lead letter: nothing passes
_KVP = {"chest": 115.0, "knee": 66.0, "lower_leg": 62.0, "ankle": 60.0, "forearm": 56.0, "wrist": 54.0, "hand": 52.0}
_MEAN_TONE = {"chest": (0.38, 0.62)}  # of the anatomy's display values
_LIMB_TONE = (0.33, 0.48)


def render(exam: Exam, view: View, size: int, burned_in: tuple[str, ...] = ()) -> Radiograph:
    """One film of an exam. Equal arguments give equal pixels: everything random follows ``view.seed``.

    Args:
        size: long side in pixels of the film before collimation (128-2048).
        burned_in: identifying lines that the console draws into the pixels (stored as ASCII capitals).

    Returns:
        The film with its objects moved to its pixels; each burned-in line is an object named ``burned_in``.

    Raises:
        ValueError: unknown anatomy, device, foreign body or marker shape.
    """
    if exam.device not in DEVICES:
        raise ValueError(f"unknown device '{exam.device}'; there are {', '.join(DEVICES)}")
    device = DEVICES[exam.device]
    streams = np.random.default_rng(view.seed).spawn(6)
    strength = 1.0 if exam.level == "hard" else 0.45
    scene = builder(exam.anatomy)(exam, view, size, streams[0])
    scene = _lay_foreign_bodies(scene, exam, streams[1])
    edges, border = _collimator(scene, exam, device, streams[2], strength)
    scene, corners = _crop(scene, edges, border)
    field = _field_mask(scene.soft_mm.shape, corners)
    names = _marker_texts(exam, view, streams[3])
    lead, spots = _place_markers(scene, exam, names, field, streams[3])
    if device.marker == "lead":
        scene = replace(scene, metal_mm=np.maximum(scene.metal_mm, _LEAD_MM * lead))
    signal = physics.expose(
        scene,
        streams[4],
        kvp=_KVP[exam.anatomy] * streams[4].uniform(0.94, 1.06),
        quanta_per_mm2=_quanta(device, exam, streams[4], strength),
        scatter_ratio=streams[4].uniform(0.12, 0.12 + 0.33 * strength),
        blur_mm=device.blur_mm,
        readout_noise=2.0 + 4.0 * strength,
    )
    if device.grid_visible and exam.level == "hard":
        signal += _grid_lines(signal.shape, streams[5])
    anatomy = (scene.soft_mm > 3.0) & (scene.metal_mm < 0.3) & (field > 0.9)
    mean = _MEAN_TONE.get(exam.anatomy, _LIMB_TONE)
    shown = tone_scale(
        signal,
        anatomy,
        device,
        scene.spacing_mm,
        streams[5],
        mean=mean,
        contrast=exam.contrast,
        strength=strength,
    )
    shown = _draw_border(shown, field, device, streams[5])
    if device.marker == "digital":
        shown = np.maximum(shown, 1.05 * lead)
    shown, lines = _burn(shown, tuple(markers.plain_ascii(line) for line in burned_in), streams[5])
    pixels, window = _store(shown, device, streams[5], exam.level == "hard")
    objects = (*_on_film(scene.objects, shown.shape), *spots, *lines)
    texts = tuple(markers.plain_ascii(line) for line in burned_in)
    return Radiograph(pixels, device.bits, scene.spacing_mm, window, objects, texts, names)


def _quanta(device: Device, exam: Exam, rng: np.random.Generator, strength: float) -> float:
    exposure = float(np.exp(rng.normal(0.0, 0.55 * strength)))
    return device.quanta_per_mm2 * exposure * exam.contrast**2 * (1.6 if exam.level == "easy" else 0.8)


def _lay_foreign_bodies(scene: Scene, exam: Exam, rng: np.random.Generator) -> Scene:
    if not exam.foreign_bodies:
        return scene
    metal, objects = scene.metal_mm.copy(), list(scene.objects)
    height, width = metal.shape
    for kind in exam.foreign_bodies:
        stamp, thickness = markers.foreign_body(kind, scene.spacing_mm, rng)
        if kind == "necklace":
            x, y, angle = width * rng.uniform(0.47, 0.53), height * rng.uniform(0.12, 0.17), rng.uniform(-5, 5)
        else:
            on_bone = kind == "ring"
            candidates = np.argwhere((scene.bone_mm > 2.0) if on_bone else (scene.soft_mm > 5.0))
            if not len(candidates):
                continue
            y, x = candidates[rng.integers(len(candidates))]
            angle = rng.uniform(-25, 25) if on_bone else rng.uniform(0, 360)
        layer = np.zeros_like(metal)
        box = markers.paste(layer, stamp, float(x), float(y), float(angle), thickness)
        metal += layer
        if box[2] > box[0]:
            objects.append(TrueObject("foreign_body", box))
    return replace(scene, metal_mm=metal, objects=tuple(objects))


def _collimator(
    scene: Scene, exam: Exam, device: Device, rng: np.random.Generator, strength: float
) -> tuple[tuple[float, float, float, float, float], float]:
    """Field edges (x0, y0, x1, y1, tilt in degrees) from the limb's silhouette, and the border's width in pixels."""
    height, width = scene.soft_mm.shape
    columns = np.flatnonzero((scene.soft_mm > 3.0).mean(0) > 0.05)
    left, right = (float(columns[0]), float(columns[-1] + 1)) if len(columns) else (0.0, float(width))
    if exam.anatomy == "chest":  # arms and shoulders may be cut, lungs may not
        x0, x1 = rng.uniform(0.0, 0.05 * strength + 0.02) * width, width * (1 - rng.uniform(0, 0.05 * strength + 0.02))
    else:
        room = np.clip(rng.normal(0.12, 0.10 * strength, 2), -0.01, 0.35) * (right - left)
        x0, x1 = max(0.0, left - room[0]), min(float(width), right + room[1])
    y0, y1 = height * rng.uniform(0.0, 0.05 * strength), height * (1 - rng.uniform(0.0, 0.05 * strength))
    tilt = rng.normal(0.0, 0.9 * strength)
    border = 0.0
    if device.border != "none" and rng.random() < 0.6:
        border = rng.uniform(0.01, 0.07) * max(height, width)
    return (x0, y0, x1, y1, tilt), border


def _crop(scene: Scene, edges: tuple[float, float, float, float, float], border: float) -> tuple[Scene, Corners]:
    """The scene inside the field plus its border, and the field's four corners in the new pixels."""
    height, width = scene.soft_mm.shape
    x0, y0, x1, y1, tilt = edges
    left, top = max(0, int(x0 - border)), max(0, int(y0 - border))
    right, bottom = min(width, int(np.ceil(x1 + border))), min(height, int(np.ceil(y1 + border)))
    part = np.s_[top:bottom, left:right]
    objects = []
    for item in scene.objects:
        box = (item.box[0] - left, item.box[1] - top, item.box[2] - left, item.box[3] - top)
        mask = None if item.mask is None else item.mask[part]
        objects.append(TrueObject(item.name, box, mask))
    cropped = Scene(
        scene.soft_mm[part],
        scene.bone_mm[part],
        scene.metal_mm[part],
        scene.plaster_mm[part],
        scene.spacing_mm,
        tuple(objects),
    )
    if border == 0:
        h, w = bottom - top, right - left
        return cropped, np.array([(-9, -9), (w + 9, -9), (w + 9, h + 9), (-9, h + 9)], np.float64)
    centre = np.array([(x0 + x1) / 2 - left, (y0 + y1) / 2 - top])
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64) - (left, top) - centre
    angle = np.deg2rad(tilt)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return cropped, corners @ turn.T + centre


def _field_mask(shape: tuple[int, ...], corners: Corners) -> Map:
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    return cast(Map, cv2.GaussianBlur(mask.astype(np.float32) / 255.0, (0, 0), 0.7))


def _on_film(objects: tuple[TrueObject, ...], shape: tuple[int, ...]) -> tuple[TrueObject, ...]:
    """Objects that the film still shows; boxes are cut at its edges and hold their mask."""
    kept = []
    for item in objects:
        x0, y0, x1, y1 = item.box
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(shape[1])), min(y1, float(shape[0])))
        if item.mask is not None:
            box = box_of(item.mask) or (0.0, 0.0, 0.0, 0.0)
        if box[2] > box[0] and box[3] > box[1]:
            kept.append(TrueObject(item.name, box, item.mask))
    return tuple(kept)


def _marker_texts(exam: Exam, view: View, rng: np.random.Generator) -> tuple[str, ...]:
    if view.side == "B":
        return ("R", "L")
    side = view.side or ("R", "L")[int(rng.integers(2))]
    return (side, view.projection) if rng.random() < 0.25 else (side,)


def _place_markers(
    scene: Scene, exam: Exam, names: tuple[str, ...], field: Map, rng: np.random.Generator
) -> tuple[Map, tuple[TrueObject, ...]]:
    """Marker coverage, [H, W] float32 in 0-1, laid where there is least tissue; each mark is an object ``marker``."""
    height, width = field.shape
    lead = np.zeros((height, width), np.float32)
    letter = max(6.0, min(rng.uniform(9, 14) / scene.spacing_mm, rng.uniform(0.028, 0.042) * max(height, width)))
    objects = []
    taken = np.zeros((height, width), np.float32)
    stamps = [(name, markers.text_mask(name, letter)) for name in names]
    if exam.planted_marker:
        stamps.append(("planted", markers.shape_mask(exam.planted_marker, int(1.3 * letter))))
    for name, stamp in stamps:
        x, y = _free_spot(scene, exam, name, field, taken, stamp.shape, rng)
        angle = rng.normal(0, 4) + (float(rng.choice([-90, 90])) if rng.random() < 0.08 else 0.0)
        box = markers.paste(lead, stamp, x, y, angle, 1.0)
        if box[2] > box[0]:
            taken[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 1e3
            objects.append(TrueObject("marker", box))
    return lead, tuple(objects)


def _free_spot(
    scene: Scene,
    exam: Exam,
    name: str,
    field: Map,
    taken: Map,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[float, float]:
    height, width = field.shape
    left, right = (0.04, 0.96)
    if exam.side == "B" or exam.anatomy == "chest":  # the patient's right is on the left of the film
        left, right = {"R": (0.04, 0.45), "L": (0.55, 0.96)}.get(name, (left, right))
    best, where = np.inf, (width / 2, height / 2)
    half_y, half_x = shape[0] // 2 + 2, shape[1] // 2 + 2
    for _ in range(24):
        x = rng.uniform(max(left * width, half_x + 1), max(right * width - half_x, half_x + 2))
        y = rng.uniform(0.03 * height + half_y, 0.97 * height - half_y)
        if exam.anatomy == "chest":
            y = rng.uniform(0.02 * height + half_y, 0.22 * height)
        patch = np.s_[max(0, int(y) - half_y) : int(y) + half_y, max(0, int(x) - half_x) : int(x) + half_x]
        cost = float(scene.soft_mm[patch].mean() + taken[patch].mean() + 300 * (1 - field[patch].mean()))
        if cost < best:
            best, where = cost, (x, y)
    return where


def _grid_lines(shape: tuple[int, ...], rng: np.random.Generator) -> Map:
    """Aliased lines of a stationary grid: a faint sine across the film."""
    position = np.arange(shape[1], dtype=np.float32)
    period = rng.uniform(2.3, 5.0)
    return (np.float32(rng.uniform(0.002, 0.007)) * np.sin(2 * np.pi * position / period))[None, :].astype(np.float32)


def _draw_border(shown: Map, field: Map, device: Device, rng: np.random.Generator) -> Map:
    value = np.float32(1.02 if device.border == "white" else 0.0)
    edge = rng.normal(0, 0.004, shown.shape).astype(np.float32)
    return cast(Map, shown * field + (value + edge) * (1 - field))


def _burn(shown: Map, lines: tuple[str, ...], rng: np.random.Generator) -> tuple[Map, tuple[TrueObject, ...]]:
    """Draw identifying lines one under another into a corner, white with a dark rim."""
    if not lines:
        return shown, ()
    height, width = shown.shape
    letter = max(6.0, 0.017 * max(height, width))
    stamps = [markers.text_mask(line, letter) for line in lines if line.strip()]
    widest = max((stamp.shape[1] for stamp in stamps), default=1)
    if widest > 0.94 * width:
        letter *= 0.94 * width / widest
        stamps = [markers.text_mask(line, letter) for line in lines if line.strip()]
        widest = max(stamp.shape[1] for stamp in stamps)
    pitch = int(np.ceil(1.75 * letter))
    at_right, at_bottom = rng.random() < 0.4, rng.random() < 0.35
    y = height - 3 - pitch * len(stamps) if at_bottom else 3
    objects, shown = [], shown.copy()
    for stamp in stamps:
        h, w = stamp.shape
        x = width - 3 - w if at_right else 3
        x, top = max(0, x), max(0, min(y, height - h))
        target = shown[top : top + h, x : x + w]
        part = stamp[: target.shape[0], : target.shape[1]]
        rim = cv2.dilate(part, np.ones((3, 3), np.uint8))
        target[:] = target * (1 - rim) + np.float32(1.1) * part
        objects.append(TrueObject("burned_in", (float(x), float(top), float(x + w), float(top + h))))
        y += pitch
    return shown, tuple(objects)


def _store(
    shown: Map, device: Device, rng: np.random.Generator, hard: bool
) -> tuple[npt.NDArray[np.uint16], tuple[float, float]]:
    """Stored values in the device's bits, and a window that shows them."""
    top = 2**device.bits - 1
    low, high = device.used
    stored = np.round((low + shown * (high - low)) * top).clip(0, top).astype(np.uint16)
    shift, stretch = (rng.normal(0, 0.02), rng.uniform(0.92, 1.12)) if hard else (0.0, 1.0)
    centre = (low + (high - low) * (0.5 + shift)) * top
    return stored, (float(centre), float((high - low) * stretch * top))
