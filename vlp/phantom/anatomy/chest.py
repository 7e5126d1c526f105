"""The chest: body, findings, and the scene they make. Lateral films are made in ``chest_lateral``."""

from __future__ import annotations

import numpy as np

from vlp.phantom.anatomy import chest_body as body
from vlp.phantom.anatomy import chest_findings as findings
from vlp.phantom.anatomy.chest_lateral import lateral_scene
from vlp.phantom.facts import Chest, Exam, Scene, TrueObject, View
from vlp.phantom.outline import Film, Map, box_of, chord, inside_mm

_FILM_MM = (384.0, 404.0)  # width and height of the cassette in an adult


def scene(exam: Exam, view: View, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a chest film. Objects: lungs, heart, and each finding present, with masks.

    The anatomy is drawn from its own stream, so the same seed with and without a finding shows the same patient.
    """
    if view.projection == "LAT":
        return lateral_scene(exam, size, rng)
    facts = exam.chest or Chest()
    frame, organs, disease = rng.spawn(3)
    long_mm = _FILM_MM[1] * max(exam.body_scale, 0.3) * frame.uniform(0.96, 1.04)
    aspect = _FILM_MM[0] / _FILM_MM[1] * frame.uniform(0.86, 1.0)
    film = Film(size, round(size * aspect), long_mm / size)
    thorax = body.draw_thorax(exam, film, frame)
    depth = {side: body.lung_depth(film, thorax, side) for side in "RL"}
    tissue, airway = body.mediastinum(film, thorax, organs)
    heart_rim = inside_mm(
        thorax.on_film(body.heart_outline(thorax, facts.cardiothoracic_ratio, organs.uniform(-4, 8))),
        film.shape,
        film.spacing_mm,
    )
    heart = chord(heart_rim, 46.0)
    total = body.trunk(film, thorax, exam, organs)
    texture = body.lung_texture(film, organs)
    total *= 1 + 0.006 * texture[::-1, ::-1]
    fluffy = organs.uniform(0.015, 0.04)
    objects: list[TrueObject] = []
    for side, name in (("R", "lung_right"), ("L", "lung_left")):
        tree = body.vessels(film, thorax, side, organs)
        _note(objects, name, depth[side] > 4.0)
        # mediastinal organs take the lung's place
        room = 1 - np.clip((tissue + heart) / np.maximum(depth[side], 1.0), 0, 0.92)
        total -= room * _aerated(film, thorax, facts, side, depth[side], tree, texture * fluffy, disease, objects)
    total += 0.08 * (tissue + heart)
    total -= 0.9 * airway + 0.9 * body.abdomen_gas(film, thorax, organs)
    _note(objects, "heart", heart_rim > 0)
    bone = body.skeleton(film, thorax, organs)
    metal = np.zeros(film.shape, np.float32)
    for name in facts.device:
        layer = findings.device_layer(film, thorax, name, disease)
        metal = np.maximum(metal, layer)
        _note(objects, name, layer > 0.15)
    if "skin_fold" in exam.mimics:
        total += _skin_fold(film, thorax, disease)
    silhouette = total > 1.0
    bone *= silhouette
    return Scene(
        np.maximum(total, 0).astype(np.float32),
        bone.astype(np.float32),
        metal,
        film.plaster,
        film.spacing_mm,
        tuple(objects),
    )


def _aerated(
    film: Film,
    thorax: body.Thorax,
    facts: Chest,
    side: str,
    depth: Map,
    tree: Map,
    texture: Map,
    rng: np.random.Generator,
    objects: list[TrueObject],
) -> Map:
    """Air on one side in mm of water that it replaces; notes the side's findings."""
    air = depth * np.float32(body.AIR) * (1 + texture)
    air -= np.minimum(tree * np.float32(2.2), 0.6 * air)
    if facts.pneumothorax.get(side, 0) > 0:
        pleural, line = findings.pneumothorax(film, thorax, side, facts.pneumothorax[side], depth)
        collapse = 1 - 0.35 * facts.pneumothorax[side]
        air = pleural * 0.97 * depth + (1 - pleural) * air * collapse - 5.0 * line
        _note(objects, "pneumothorax", (pleural > 0.5) & (depth > 4.0))
    solid = np.zeros(film.shape, np.float32)
    for lobe in facts.consolidation:
        if lobe.startswith("right" if side == "R" else "left"):
            share = findings.consolidation(film, thorax, lobe, depth, rng)
            _note(objects, "consolidation", (share > 0.35) & (depth > 4.0))
            solid = np.maximum(solid, share)
    if facts.effusion.get(side, 0) > 0:
        share = findings.effusion(film, thorax, side, facts.effusion[side], depth, rng)
        _note(objects, "effusion", (share > 0.35) & (depth > 2.0))
        solid = np.maximum(solid, share)
    return air * (1 - solid)


def _skin_fold(film: Film, thorax: body.Thorax, rng: np.random.Generator) -> Map:
    """A fold of skin: one sharp edge along the chest wall that a reader may take for a visceral line."""
    x, y = thorax.coordinates(film)
    sign = rng.choice([-1.0, 1.0])
    edge = sign * x - (0.68 + rng.uniform(-0.08, 0.1)) * thorax.half_width - rng.uniform(0.05, 0.2) * (y - 200)
    within = 1 / (1 + np.exp(-(y - 110) / 12)) / (1 + np.exp((y - 290) / 18))
    return (rng.uniform(5, 9) * np.exp(edge / 22.0) * (edge < 0) * within).astype(np.float32)


def _note(objects: list[TrueObject], name: str, mask: np.ndarray) -> None:
    box = box_of(mask)
    if box is not None:
        objects.append(TrueObject(name, box, mask))
