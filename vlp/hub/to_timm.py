"""The image tower as timm's folder, which transformers reads too (TimmWrapperModel)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save

from anonymize.files import write_bytes_atomic, write_json
from vlp.encoders.image import ImageEncoder
from vlp.encoders.weights import plain_state
from vlp.hub.rgb import rgb_backbone, same_size_options


def write_timm(image: ImageEncoder, folder: Path, licence: str) -> list[str]:
    """Write config.json and model.safetensors for ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Returns:
        Remarks for the card. Poolings that timm lacks (class token and mean together, maximum) leave the pooling to the
        reader: the module then answers with all tokens.

    Raises:
        UserError: a tower that timm does not have.
    """
    pooling, options = timm_pooling(image)
    options = {**same_size_options(image), **options}
    twin: Any = rgb_backbone(image, options)
    config, side = image.config, image.image_size
    description = {
        "architecture": config.name,
        "num_classes": 0,
        "num_features": image.width,
        "global_pool": options.get("global_pool", "avg"),
        "model_args": options,
        "pretrained_cfg": {
            "tag": "vlp",
            "custom_load": False,
            "input_size": [3, side, side],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": [config.mean] * 3,
            "std": [config.std] * 3,
            "num_classes": 0,
            "pool_size": twin.pretrained_cfg.get("pool_size"),
            "first_conv": twin.pretrained_cfg.get("first_conv"),
            "classifier": twin.pretrained_cfg.get("classifier"),
            "license": licence,
        },
    }
    write_bytes_atomic(folder / "model.safetensors", save(plain_state(twin.state_dict())))
    write_json(folder / "config.json", description)
    return [f'timm.create_model("local-dir:{folder}", pretrained=True)', pooling]


def timm_pooling(image: ImageEncoder) -> tuple[str, dict[str, Any]]:
    """How ``image`` pools, in words, and the options with which timm pools so; all tokens where it cannot."""
    if image.is_vit and image.pooling == "cls":
        return "the module answers with the class token, as here", {"global_pool": "token"}
    if image.is_vit and image.pooling == "mean":
        return "the module answers with the mean of the patches, as here", {"global_pool": "avg", "fc_norm": False}
    how = {
        "cls_mean": "add the class token (the first) and the mean of the patches (the others)",
        "mean_max": "add the mean and the maximum over the patches; their normalisation (pool_norm) is not in this file",
        "mean": "take the mean over the places of the last map",
        "cls": "take the first token",
    }[image.pooling]
    return f"the module answers with all tokens; to pool as here, {how}", {"global_pool": ""}
