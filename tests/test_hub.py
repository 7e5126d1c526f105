"""Model folders: what is saved comes back, and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from anonymize.console import UserError
from vlp.encoders.dual import DualConfig, DualEncoder
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.text import TextConfig, TextEncoder
from vlp.encoders.tokenizer import Tokenizer
from vlp.encoders.weights import load_backbone, load_weights
from vlp.hub import load_dual, load_image_encoder, read_config, save_model

IMAGES = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
TEXTS = ["Fracture du radius.", "Pas d'épanchement pleural."]


def image_encoder() -> ImageEncoder:
    return ImageEncoder(ImageConfig(name="vit_atto", image_size=32)).eval()


def dual_encoder() -> DualEncoder:
    tokenizer = Tokenizer.train(TEXTS * 3, 300, 16)
    return DualEncoder(
        image_encoder(), TextEncoder(TextConfig(width=32, layers=1, max_length=16), tokenizer), DualConfig(width=8)
    ).eval()


class Graded(nn.Module):
    """A task model as fine-tuning saves it."""

    def __init__(self) -> None:
        super().__init__()
        self.image = image_encoder()
        self.head = nn.Linear(self.image.width, 3)


def test_image_encoder_round_trip(tmp_path: Path) -> None:
    model = image_encoder()
    save_model(tmp_path, model, {"licence": "cc-by-4.0", "fingerprints": {"corpus": "abc"}, "summary": "A test."})
    torch.testing.assert_close(load_image_encoder(tmp_path)(IMAGES).pooled, model(IMAGES).pooled, rtol=0, atol=1e-6)
    config = read_config(tmp_path)
    assert (config["kind"], config["licence"], config["fingerprints"]) == ("image", "cc-by-4.0", {"corpus": "abc"})
    assert "license: cc-by-4.0" in (tmp_path / "README.md").read_text()
    with pytest.raises(UserError, match="vlp align"):
        load_dual(tmp_path)


def test_dual_encoder_round_trip_and_its_image_tower(tmp_path: Path) -> None:
    model = dual_encoder()
    save_model(tmp_path, model, {})
    found = load_dual(tmp_path)
    torch.testing.assert_close(found.encode_texts(TEXTS), model.encode_texts(TEXTS), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.encode_images(IMAGES), model.encode_images(IMAGES), rtol=0, atol=1e-6)
    pooled = load_image_encoder(tmp_path)(IMAGES).pooled
    torch.testing.assert_close(pooled, model.image(IMAGES).pooled, rtol=0, atol=1e-6)
    assert read_config(tmp_path)["licence"] == "unspecified"


def test_a_task_model_gives_its_image_tower_and_its_configuration(tmp_path: Path) -> None:
    model = Graded().eval()
    save_model(tmp_path, model, {"kind": "osteoarthritis"}, {"grades": 3})
    assert read_config(tmp_path)["task"] == {"grades": 3}
    assert read_config(tmp_path)["kind"] == "osteoarthritis"
    pooled = load_image_encoder(tmp_path)(IMAGES).pooled
    torch.testing.assert_close(pooled, model.image(IMAGES).pooled, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="ImageEncoder"):
        save_model(tmp_path, nn.Linear(2, 2), {})


def test_missing_weights_are_an_error_and_never_silence(tmp_path: Path) -> None:
    save_model(tmp_path, image_encoder(), {})
    state = load_file(tmp_path / "model.safetensors")
    state.pop("image.backbone.pos_embed")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="pos_embed"):
        load_image_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match=r"Pickled weights .* are refused"):
        load_image_encoder(tmp_path)
    with pytest.raises(UserError, match="not a model folder"):
        load_image_encoder(tmp_path / "nowhere")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        load_image_encoder(tmp_path)


def test_coverage_is_counted_in_numbers() -> None:
    module = nn.Sequential(nn.Linear(10, 9), nn.Linear(1, 1, bias=False))  # 99 + 1 numbers
    whole = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    assert load_weights(module, {k: v for k, v in whole.items() if k != "1.weight"}, "file") == pytest.approx(0.99)
    with pytest.raises(UserError, match=r"only 90\.0%"):
        load_weights(module, {k: v for k, v in whole.items() if k == "0.weight"} | {"0.bias": torch.ones(3)}, "file")


def test_weights_of_timm_enter_a_one_channel_tower_of_another_size(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    source = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    save_file(source.state_dict(), tmp_path / "timm.safetensors")
    encoder = ImageEncoder(ImageConfig(name="vit_tiny_patch16_224", image_size=96)).eval()
    assert load_backbone(encoder, tmp_path / "timm.safetensors") > 0.99
    gray = torch.rand(1, 1, 64, 64)
    mean, std = (torch.tensor(source.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    wanted = source.eval().forward_features((gray.expand(-1, 3, -1, -1) - mean) / std)[:, 1:]
    encoder64 = ImageEncoder(ImageConfig(name="vit_tiny_patch16_224", image_size=64)).eval()
    load_backbone(encoder64, tmp_path / "timm.safetensors")
    torch.testing.assert_close(encoder64(encoder64.normalise(gray)).patches, wanted, rtol=1e-4, atol=1e-4)
    save_file({"unrelated": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="only 0"):
        load_backbone(encoder, tmp_path / "other.safetensors")
