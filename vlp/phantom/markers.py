"""What is laid on the film or drawn into it: side letters, planted shapes, jewellery, burned-in lines."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Mask = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

SHAPES = ("ring", "circle", "square", "triangle", "diamond", "cross")


def text_mask(text: str, height_px: float) -> Mask:
    """Text as coverage, [h, w] float32 in 0-1, capital letters about ``height_px`` high, cropped to the ink."""
    font = ImageFont.load_default(max(6.0, 1.35 * height_px))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (max(1, int(right - left) + 2), max(1, int(bottom - top) + 2)), 0)
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, font=font, fill=255)
    return np.asarray(image, np.float32) / 255.0


def shape_mask(shape: str, side_px: int) -> Mask:
    """A planted marker's shape as coverage, [side, side] float32 in 0-1. Unknown names raise ``ValueError``."""
    if shape not in SHAPES:
        raise ValueError(f"unknown marker shape '{shape}'; there are {', '.join(SHAPES)}")
    side = max(5, side_px)
    canvas = np.zeros((side, side), np.uint8)
    middle, last = side // 2, side - 2
    corners = {
        "square": [(1, 1), (last, 1), (last, last), (1, last)],
        "triangle": [(middle, 1), (last, last), (1, last)],
        "diamond": [(middle, 1), (last, middle), (middle, last), (1, middle)],
    }
    if shape == "circle":
        cv2.circle(canvas, (middle, middle), middle - 1, 255, -1, cv2.LINE_AA)
    elif shape == "ring":
        width = max(1, side // 6)
        cv2.circle(canvas, (middle, middle), middle - 1 - width // 2, 255, width, cv2.LINE_AA)
    elif shape == "cross":
        width = max(1, side // 4)
        cv2.line(canvas, (middle, 1), (middle, last), 255, width, cv2.LINE_AA)
        cv2.line(canvas, (1, middle), (last, middle), 255, width, cv2.LINE_AA)
    else:
        cv2.fillPoly(canvas, [np.array(corners[shape], np.int32)], 255, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255.0


def paste(target: npt.NDArray[np.float32], stamp: Mask, x: float, y: float, angle_deg: float, value: float) -> Box:
    """Raise ``target`` [H, W] to at least ``value`` × coverage, centred on (x, y), turned; returns the box covered."""
    height, width = stamp.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1.0)
    reach = int(np.ceil(np.hypot(width, height))) + 2
    turn[:, 2] += (reach - width) / 2, (reach - height) / 2
    turned = cv2.warpAffine(stamp, turn, (reach, reach), flags=cv2.INTER_LINEAR)
    left, top = round(x - reach / 2), round(y - reach / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(target.shape[1], left + reach), min(target.shape[0], top + reach)
    if x1 <= x0 or y1 <= y0:
        return (0.0, 0.0, 0.0, 0.0)
    part = turned[y0 - top : y1 - top, x0 - left : x1 - left]
    window = target[y0:y1, x0:x1]
    np.maximum(window, part * np.float32(value), out=window)
    rows, columns = np.flatnonzero(part.max(1) > 0.3), np.flatnonzero(part.max(0) > 0.3)
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    return (float(x0 + columns[0]), float(y0 + rows[0]), float(x0 + columns[-1] + 1), float(y0 + rows[-1] + 1))


def foreign_body(kind: str, spacing_mm: float, rng: np.random.Generator) -> tuple[Mask, float]:
    """A foreign body as coverage and its metal thickness in mm: ring, button, coin, electrode, necklace.

    Unknown names raise ``ValueError``.
    """
    if kind == "necklace":
        return _necklace(spacing_mm, rng)
    sizes = {"ring": (17.0, 2.2), "button": (13.0, 0.25), "coin": (23.0, 2.0), "electrode": (17.0, 0.12)}
    if kind not in sizes:
        raise ValueError(f"unknown foreign body '{kind}'; there are {', '.join([*sizes, 'necklace'])}")
    diameter, metal_mm = sizes[kind]
    side = max(6, round(diameter * rng.uniform(0.85, 1.15) / spacing_mm))
    canvas = np.zeros((side + 2, side + 2), np.uint8)
    middle, radius = (side + 2) // 2, side // 2
    if kind == "ring":  # seen from its edge on a finger, as a short band
        band = max(1, round(3.5 / spacing_mm))
        cv2.rectangle(canvas, (0, middle - band // 2), (side, middle - band // 2 + band), 255, -1)
    elif kind == "coin":
        cv2.circle(canvas, (middle, middle), radius, 255, -1, cv2.LINE_AA)
    elif kind == "button":
        cv2.circle(canvas, (middle, middle), radius, 160, -1, cv2.LINE_AA)
        cv2.circle(canvas, (middle, middle), radius, 255, max(1, side // 9), cv2.LINE_AA)
        for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            hole = (middle + dx * radius // 3, middle + dy * radius // 3)
            cv2.circle(canvas, hole, max(1, radius // 6), 0, -1, cv2.LINE_AA)
    else:
        cv2.circle(canvas, (middle, middle), radius, 90, -1, cv2.LINE_AA)
        cv2.circle(canvas, (middle, middle), max(1, radius // 3), 255, -1, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255.0, metal_mm


def _necklace(spacing_mm: float, rng: np.random.Generator) -> tuple[Mask, float]:
    width, drop = int(150 / spacing_mm), int(rng.uniform(60, 130) / spacing_mm)
    canvas = np.zeros((drop + 8, width + 8), np.uint8)
    across = np.linspace(-1, 1, 60)
    along = np.cosh(2.2 * across)
    points = np.stack([(across + 1) / 2 * width + 4, drop * (1 - (along - 1) / (along[0] - 1)) + 4], 1)
    cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False, 200, 1, cv2.LINE_AA, 4)
    cv2.circle(canvas, (width // 2 + 4, drop + 2), max(1, int(4 / spacing_mm)), 255, -1, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255.0, 0.8


def plain_ascii(text: str) -> str:
    """Text as an image console draws it: ASCII capitals, without accents."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return folded.upper()
