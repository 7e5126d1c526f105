"""How far phantom films are from real ones: transfer both ways, real against phantom, power spectra.

    python benchmarks/faithfulness.py --real /path/to/xray_open --out runs/faithfulness

Hands: the RSNA part with bone age; knees: the OAI part with KL grades (joints cut out of the phantoms likewise). Features are
HOG (Dalal & Triggs 2005) of contrast-normalised films; models are ridge regressions. Writes ``faithfulness.json`` and two
contact sheets. Real films are never copied into the output other than in the sheets.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anonymize.files import write_json
from vlp.corpus.frame import Square, to_square
from vlp.phantom.config import PhantomConfig, Shares
from vlp.phantom.population import make_patient
from vlp.phantom.render import render

SIDE = 96
RESAMPLES = 1000


def real_films(folder: Path, part: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Films [n, SIDE, SIDE] uint8 of a part of the real collection, and their label."""
    films, values = [], []
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            value = json.loads(row["labels"] or "{}").get(label)
            if row["part"] == part and value is not None:
                pixels = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
                films.append(normalised(to_square(pixels, Square(SIDE, "squash"))))
                values.append(float(value))
    if not films:
        raise SystemExit(f"{folder}: no film of part {part} with the label {label}")
    return np.stack(films), np.array(values)


def phantom_films(anatomy: str, count: int, level: str) -> tuple[np.ndarray, np.ndarray]:
    """``count`` phantom films of hands (bone age in months) or of single knee joints (KL)."""
    shares = Shares(**(dict.fromkeys(Shares().model_dump(), 0.0) | {anatomy: 1.0}))
    config = PhantomConfig(patients=10 * count, seed=101, level=level, shares=shares)
    films, values, index = [], [], 0
    while len(films) < count:
        exam = make_patient(config, index).visits[0].exam
        index += 1
        film = render(exam, exam.views[0], 256)
        pixels = (film.pixels / (2.0**film.bits - 1) * 255).astype(np.uint8)
        if anatomy == "hand":
            films.append(normalised(to_square(pixels, Square(SIDE, "squash"))))
            values.append(float(exam.bone_age_months or exam.age_months))
            continue
        for item in film.objects:
            side = {"knee_right": "R", "knee_left": "L"}.get(item.name)
            if side in exam.knees and not exam.knees[side].prosthesis:
                films.append(normalised(_joint(pixels, item.box)))
                values.append(float(exam.knees[side].kl))
    return np.stack(films[:count]), np.array(values[:count])


def _joint(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The joint as the real part shows it: a square as wide as knee and fibula, the joint line at 60 % of its height."""
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 0.5 * (box[2] - box[0])
    top, left = max(0, round(y - 1.2 * half)), max(0, round(x - half))
    cut = np.ascontiguousarray(pixels[top : round(y + 0.8 * half), left : round(x + half)])
    return to_square(cut, Square(SIDE, "squash"))


def normalised(film: np.ndarray) -> np.ndarray:
    """Stretched to its 1st and 99th percentile."""
    low, high = np.percentile(film, [1, 99])
    return (np.clip((film - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)


def features(films: np.ndarray) -> np.ndarray:
    """HOG of each film."""
    return np.stack([hog(film, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2)) for film in films])


def transfer(train: tuple, test: tuple, ordinal: bool) -> dict[str, float]:
    """Fit on one world, measure in the other: rank correlation with its interval, and error or kappa beside chance."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 6, 11))).fit(features(train[0]), train[1])
    guess, wanted = model.predict(features(test[0])), test[1]
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(wanted), size=len(wanted)) for _ in range(RESAMPLES)]
    ranks = [spearmanr(guess[d], wanted[d])[0] for d in draws]
    found = {
        "n_train": len(train[1]),
        "n_test": len(wanted),
        "spearman": float(spearmanr(guess, wanted)[0]),
        "spearman_low": float(np.percentile(ranks, 2.5)),
        "spearman_high": float(np.percentile(ranks, 97.5)),
    }
    if ordinal:
        found["quadratic_kappa"] = float(
            cohen_kappa_score(np.clip(np.round(guess), 0, 4).astype(int), wanted.astype(int), weights="quadratic")
        )
    else:
        found["mad_months"] = float(np.abs(guess - wanted).mean())
        found["mad_months_constant"] = float(np.abs(np.median(train[1]) - wanted).mean())
    return found


def told_apart(real: np.ndarray, phantom: np.ndarray) -> float:
    """Cross-validated AUROC of a classifier of real against phantom; 0.5 would be a perfect phantom."""
    x = np.concatenate([features(real), features(phantom)])
    y = np.r_[np.ones(len(real)), np.zeros(len(phantom))]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
    return float(roc_auc_score(y, cross_val_predict(model, x, y, cv=5, method="predict_proba")[:, 1]))


def spectrum(films: np.ndarray) -> np.ndarray:
    """Mean radial log power (natural logarithm) by spatial frequency, of Hann-windowed films of unit variance."""
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    yy, xx = np.indices((SIDE, SIDE)) - SIDE // 2
    radius = np.hypot(yy, xx).astype(int)
    rows = []
    for film in films.astype(float):
        scaled = (film - film.mean()) / max(film.std(), 1e-6)
        power = np.abs(np.fft.fftshift(np.fft.fft2(scaled * window))) ** 2
        total, count = np.bincount(radius.ravel(), power.ravel()), np.bincount(radius.ravel())
        rows.append(np.log(total[1 : SIDE // 2] / count[1 : SIDE // 2] + 1e-9))
    return np.mean(rows, axis=0)


def spectrum_distance(real: np.ndarray, phantom: np.ndarray) -> dict[str, float]:
    """Root mean square difference of the spectra, beside that of two halves of the real films."""
    order = np.random.default_rng(0).permutation(len(real))
    half = [spectrum(real[order[i::2]]) for i in range(2)]
    return {
        "real_phantom": float(np.sqrt(np.mean((spectrum(real) - spectrum(phantom)) ** 2))),
        "real_real": float(np.sqrt(np.mean((half[0] - half[1]) ** 2))),
    }


def sheet(path: Path, real: np.ndarray, phantom: np.ndarray) -> None:
    """Two rows of real films over two of phantoms."""
    rows = [np.hstack(list(films[i : i + 12])) for films in (real, phantom) for i in (0, 12)]
    cv2.imwrite(str(path), np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder with metadata.csv and the films")
    parser.add_argument("--out", type=Path, default=Path("runs/faithfulness"))
    parser.add_argument("--films", type=int, default=450, help="phantom films of each anatomy")
    parser.add_argument("--level", choices=("easy", "hard"), default="hard")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {"level": options.level}
    for anatomy, part, label in (
        ("hand", "hand_rsna_lo", "bone_age_months"),
        ("knee", "knee_oai", "KL"),
    ):
        real = real_films(options.real, part, label)
        phantom = phantom_films(anatomy, options.films, options.level)
        found[anatomy] = {
            "phantom_to_real": transfer(phantom, real, anatomy == "knee"),
            "real_to_phantom": transfer(real, phantom, anatomy == "knee"),
            "real_against_phantom_auroc": told_apart(real[0], phantom[0]),
            "power_spectrum_rms": spectrum_distance(real[0], phantom[0]),
        }
        sheet(options.out / f"{anatomy}.png", real[0], phantom[0])
        print(anatomy, json.dumps(found[anatomy], indent=2))
    write_json(options.out / "faithfulness.json", found)


if __name__ == "__main__":
    main()
