"""Images that teach nothing or leak: blank ones, equal ones, near-duplicates."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_BITS = 256
_LEAST_SIDE = 24  # pixels
_LEAST_RANGE = 12  # of 255, between the 1st and 99th percentile
_BANDS = 16
_BUCKET = 2000  # larger buckets hold one anatomy from one device, not copies; comparing them all would be quadratic


def fault(pixels: npt.NDArray[np.uint8]) -> tuple[str, str] | None:
    """Reason and remedy where the working image, uint8 [h, w], is not worth keeping; else None."""
    if min(pixels.shape) < _LEAST_SIDE:
        return "image_too_small", f"The image is less than {_LEAST_SIDE} pixels wide or high after its borders are cut."
    low, high = np.percentile(pixels, (1, 99))
    if high - low < _LEAST_RANGE:
        return "blank_image", "The image is of one shade; look at the exposure or the window of the original."
    return None


def digest(pixels: npt.NDArray[np.uint8]) -> str:
    """32 hex digits, equal for equal pixels of equal shape."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:32]


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """64 hex digits (256 bits) of the DCT hash; near-duplicates differ in few bits, whatever their size and aspect."""
    return str(imagehash.phash(Image.fromarray(pixels), hash_size=16))


def near_duplicates(hashes: Sequence[str], bits: int) -> list[tuple[int, int, int]]:
    """Pairs ``(first, second, distance)`` of indices whose hashes differ in at most ``bits`` bits, in order.

    Locality-sensitive: only hashes that agree in one of 16 bands of 16 bits are compared. A pair at 28 bits is found
    with a probability of about 94 %, one below 16 bits always.
    """
    if not hashes:
        return []
    codes = np.stack([np.frombuffer(bytes.fromhex(h), np.uint8) for h in hashes])
    bands = np.ascontiguousarray(codes).view(np.uint16)
    found: dict[tuple[int, int], int] = {}
    for band in range(_BANDS):
        for members in _buckets(bands[:, band]):
            for position, first in enumerate(members[:-1]):
                others = members[position + 1 :]
                distance = np.bitwise_count(codes[others] ^ codes[first]).sum(axis=1)
                near = distance <= bits
                found.update(((int(first), int(o)), int(d)) for o, d in zip(others[near], distance[near], strict=True))
    return sorted((a, b, d) for (a, b), d in found.items())


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


def _buckets(values: npt.NDArray[np.uint16]) -> Iterator[npt.NDArray[np.int64]]:
    by_value: dict[int, list[int]] = defaultdict(list)
    for index, value in enumerate(values.tolist()):
        by_value[value].append(index)
    return (np.array(members) for members in by_value.values() if 1 < len(members) <= _BUCKET)
