"""A miniature corpus on disk for tests, in the real format: the images show what the labels and the text say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from anonymize.files import fingerprint, write_json, write_table, write_text_atomic
from vlp.corpus.codec import encode
from vlp.corpus.shards import shard_path, write_shard
from vlp.study import MANIFEST_SCHEMA, ImageRef, Study

ANATOMIES = ("hand", "knee", "forearm", "chest")
TEXTS = {
    ("hand", 0): ("Main gauche de face.", "Âge osseux estimé à {years} ans selon Greulich et Pyle."),
    ("hand", 1): ("Main gauche de face.", "Âge osseux estimé à {years} ans, avancé."),
    ("knee", 0): (
        "Genou de face en charge.",
        "Interligne conservé, pas d'ostéophyte. Stade {kl} de Kellgren et Lawrence.",
    ),
    ("knee", 1): (
        "Genou de face en charge.",
        "Pincement de l'interligne, ostéophytes. Stade {kl} de Kellgren et Lawrence.",
    ),
    ("forearm", 0): ("Avant-bras de face.", "Pas de fracture visible."),
    ("forearm", 1): ("Avant-bras de face.", "Fracture du radius."),
    ("chest", 0): ("Thorax de face.", "Pas d'épanchement pleural."),
    ("chest", 1): ("Thorax de face.", "Épanchement pleural droit."),
}


def make_corpus(folder: Path, studies: int = 24, size: int = 32, seed: int = 0, studies_per_patient: int = 2) -> Path:
    """Write a corpus of ``studies`` studies (1 or 2 images each) into ``folder`` and return it.

    Anatomies take turns: hand (bone_age_months), knee (kl_grade), forearm (fracture), chest (effusion). Half of the
    patients of each anatomy are positive. Patients are split about 60/20/20; every fifth study has no report.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, bytes]] = []
    made: list[Study] = []
    for number in range(studies):
        patient = number // studies_per_patient
        anatomy = ANATOMIES[patient % 4]
        positive = (patient // 4) % 2
        labels = _labels(anatomy, positive, rng)
        refs = []
        for image in range(1 + number % 2):
            pixels = _draw(anatomy, labels, size, rng)
            image_id = f"I{number:05d}{image}"
            height, width = pixels.shape
            refs.append(ImageRef(image_id, 0, len(rows), height, width, ("PA", "LAT")[image], "L", 1.0))
            rows.append((image_id, encode(pixels)))
        title, finding = TEXTS[anatomy, positive]
        finding = finding.format(years=int(labels.get("bone_age_months", 0)) // 12, kl=int(labels.get("kl_grade", 0)))
        reported = number % 5 != 4
        report = f"{title}\n{finding} Examen {number}." if reported else ""
        made.append(
            Study(
                study_id=f"S{number:05d}",
                patient_id=f"P{patient:05d}",
                split=("train", "train", "train", "validation", "test")[(patient // 4) % 5],
                anatomy=anatomy,
                date=f"2020-01-{1 + number % 28:02d}",
                age_months=int(rng.integers(12, 900)),
                sex="FM"[patient % 2],
                language="fr" if reported else "",
                images=tuple(refs),
                indication="Douleur." if reported else "",
                technique=title if reported else "",
                comparison="",
                results=f"{finding} Examen {number}." if reported else "",
                conclusion=finding if reported else "",
                report=report,
                report_hash=fingerprint(report) if reported else "",
                report_source="report" if reported else "",
                site="factory",
                labels=labels,
            )
        )
    mark = fingerprint([s.row() for s in made], [r[0] for r in rows])
    write_shard(shard_path(folder, 0), rows, mark)
    write_table(folder / "manifest.parquet", [s.row() for s in made], MANIFEST_SCHEMA)
    write_text_atomic(folder / "card.md", "# Miniature corpus for tests\n")
    write_json(folder / "corpus.json", {"fingerprint": mark, "size": size, "studies": len(made), "images": len(rows)})
    return folder


def _labels(anatomy: str, positive: int, rng: np.random.Generator) -> dict[str, float]:
    if anatomy == "hand":
        return {"bone_age_months": float(rng.integers(24, 200))}
    if anatomy == "knee":
        return {"kl_grade": float(rng.integers(2, 5) if positive else rng.integers(0, 2))}
    return {"fracture" if anatomy == "forearm" else "effusion": float(positive)}


def _draw(anatomy: str, labels: dict[str, float], size: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [size, about 3/4 size]: soft tissue and bone, with the finding that the labels name."""
    height, width = size, max(8, size * int(rng.integers(70, 90)) // 100)
    image = np.zeros((height, width), np.float32)
    middle = width // 2 + int(rng.integers(-1, 2))
    cv2.rectangle(image, (width // 6, 0), (width - width // 6, height), 60, -1)
    if anatomy == "hand":
        for finger in range(5):
            x = width // 6 + finger * (width * 2 // 3) // 4
            length = int(height * (0.3 + 0.5 * labels["bone_age_months"] / 216))
            cv2.line(image, (x, height - 2), (x, height - 2 - length), 190, max(1, size // 24))
    elif anatomy == "knee":
        gap = max(1, round(size * (0.14 - 0.03 * labels["kl_grade"])))
        cv2.rectangle(image, (width // 4, 0), (3 * width // 4, height // 2 - gap), 180, -1)
        cv2.rectangle(image, (width // 4, height // 2 + gap), (3 * width // 4, height), 180, -1)
    elif anatomy == "forearm":
        cv2.line(image, (middle, 0), (middle, height), 200, max(2, size // 8))
        if labels["fracture"]:
            y = int(rng.integers(height // 3, 2 * height // 3))
            cv2.line(image, (0, y), (width, y + size // 8), 20, max(1, size // 16))
    else:
        for x in (width // 3, 2 * width // 3):
            cv2.ellipse(image, (x, height // 2), (width // 7, height // 3), 0, 0, 360, 15, -1)
        if labels["effusion"]:
            cv2.rectangle(image, (width // 6, height * 6 // 10), (width // 2, height), 150, -1)
    image += rng.normal(0, 6, image.shape).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)
