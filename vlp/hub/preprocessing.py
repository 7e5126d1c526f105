"""preprocessor_config.json: what is done to a radiograph before the image tower sees it."""

from __future__ import annotations

from typing import Any

from vlp.encoders.image import ImageConfig


def preprocessor(image: ImageConfig, channels: int = 1) -> dict[str, Any]:
    """The settings, in the words of transformers' image processors.

    A gray image, 0-255, is brought to a square of ``size`` pixels (``framing``: "squash" cuts to the body and stretches,
    "pad" keeps the aspect), divided by 255, and normalised.
    """
    side = image.image_size
    return {
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [image.mean] * channels,
        "image_std": [image.std] * channels,
        "channels": channels,
        "framing": image.framing,
    }
