"""Equal images and near-duplicates: hashes to find candidates, correlation after alignment to confirm them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_BITS = 256
ALIKE = 0.92  # correlation from which two images are copies; docs/prepare.md, "Measured", has both distributions
_BUCKET = 2000  # larger buckets hold one anatomy from one device, not copies; comparing them all would be quadratic
_SIDE = 128  # pixels at which two images are compared
_GRAIN, _LOCAL = (
    6.0,
    12.0,
)  # pixels: structures coarser than the first do not count, contrast is equalised over the second
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-3)


def digest(pixels: npt.NDArray[np.uint8]) -> str:
    """32 hex digits, equal for equal pixels of equal shape."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:32]


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """64 hex digits (256 bits) of the DCT hash; near-duplicates differ in few bits, whatever their size and aspect."""
    return str(imagehash.phash(Image.fromarray(pixels), hash_size=16))


def near_duplicates(hashes: Sequence[str], bits: int) -> list[tuple[int, int, int]]:
    """Pairs ``(first, second, distance)`` of indices whose hashes differ in at most ``bits`` bits, in order.

    Locality-sensitive: only hashes that agree in one of 64 bands of 16 bits are compared: the bits in four orders, 16
    bands each. A pair at 40 bits is found with a probability of about 98 %, one at 28 bits practically always, one
    below 16 bits always.
    """
    if not hashes:
        return []
    codes = np.stack([np.frombuffer(bytes.fromhex(h), np.uint8) for h in hashes])
    single = np.unpackbits(codes, axis=1)
    found: dict[tuple[int, int], int] = {}
    for order in _orders():
        bands = np.ascontiguousarray(np.packbits(single[:, order], axis=1)).view(np.uint16)
        for band in bands.T:
            for members in _buckets(band):
                for position, first in enumerate(members[:-1]):
                    others = members[position + 1 :]
                    distance = np.bitwise_count(codes[others] ^ codes[first]).sum(axis=1)
                    near = distance <= bits
                    found.update(
                        ((int(first), int(o)), int(d)) for o, d in zip(others[near], distance[near], strict=True)
                    )
    return sorted((a, b, d) for (a, b), d in found.items())


def likeness(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Correlation of two images after the best affine alignment, about 1 for copies; -1 where none is found.

    Coarse shades are taken out and local contrast equalised first, so that a body part's outline, which all patients
    share, counts less than its details (ECC: Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113).
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # sums in one order
    try:
        shift = np.eye(2, 3, dtype=np.float32)
        images = _details(first), _details(second)
        found, _ = cv2.findTransformECC(*images, shift, cv2.MOTION_AFFINE, _STEPS, None, 5)  # pyright: ignore
    except cv2.error:  # does not converge
        return -1.0
    finally:
        cv2.setNumThreads(threads)
    return float(found)


def groups(size: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of ``size`` items the smallest item it is connected with by ``pairs`` (union-find)."""
    parent = list(range(size))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in pairs:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(size)]


def _orders() -> list[npt.NDArray[np.int64]]:
    """The bits as they are (rows of the DCT), by columns, and twice shuffled."""
    plain = np.arange(HASH_BITS)
    shuffled = [np.random.default_rng(seed).permutation(HASH_BITS) for seed in (0, 1)]
    return [plain, plain.reshape(16, 16).T.ravel(), *shuffled]


def _buckets(values: npt.NDArray[np.uint16]) -> Iterator[npt.NDArray[np.int64]]:
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order])) + 1
    return (members for members in np.split(order, ends) if 1 < len(members) <= _BUCKET)


def _details(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = np.asarray(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), _GRAIN)
    contrast = np.sqrt(cv2.GaussianBlur(small * small, (0, 0), _LOCAL)) + 2
    return np.asarray(small / contrast, np.float32)
