"""Released backbones: the features of the source model come out of ours, gray, at its size and at others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from anonymize.console import UserError
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.released import layout_of
from vlp.encoders.weights import load_backbone, read_safetensors

SMALL = "vit_small_patch14_dinov2"
IMAGENET = (torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))


def tower(name: str, size: int, **values: Any) -> ImageEncoder:
    torch.manual_seed(1)
    return ImageEncoder(ImageConfig(name=name, image_size=size, **values)).eval()


def randomise(model: nn.Module) -> nn.Module:
    """Weights with which every part matters: released layer scales and biases are not constant."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.5))
            if parameter.dim() > 1 and parameter.shape[0] > 1:
                parameter.div_(parameter[0].numel() ** 0.5)
    return model.eval()


def transformers_model(registers: bool, size: int = 70) -> nn.Module:
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4}
    shape |= {"image_size": size, "patch_size": 14}
    if registers:
        return randomise(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**shape)))
    return randomise(Dinov2Model(Dinov2Config(**shape)))


def gray(size: int) -> Tensor:
    torch.manual_seed(2)
    return torch.rand(2, 1, size, size)


def colour(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """What the source model sees of gray pixels 0-1."""
    return (pixels.expand(-1, 3, -1, -1) - mean) / std


def same(encoder: ImageEncoder, pixels: Tensor, tokens: Tensor, tolerance: float = 1e-4) -> None:
    prefix = encoder.backbone.num_prefix_tokens
    found = encoder(encoder.normalise(pixels)).patches
    torch.testing.assert_close(found, tokens[:, prefix:], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("size", [70, 112, 42])
def test_a_transformers_folder_gives_the_features_of_the_source(registers: bool, size: int, tmp_path: Path) -> None:
    source = transformers_model(registers)
    source.save_pretrained(tmp_path)
    name = SMALL.replace("_dinov2", "_reg4_dinov2") if registers else SMALL
    encoder = tower(name, size)
    assert load_backbone(encoder, tmp_path) == 1.0
    with torch.no_grad():
        same(encoder, gray(size), source(colour(gray(size), *IMAGENET)).last_hidden_state)
    assert encoder.mask_token is not None
    torch.testing.assert_close(encoder.mask_token.flatten(), source.embeddings.mask_token.flatten())


def test_rad_dinos_normalisation_is_read_beside_the_weights(tmp_path: Path) -> None:
    source = transformers_model(False)
    source.save_pretrained(tmp_path)
    settings = {"image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    encoder = tower(SMALL, 70)
    load_backbone(encoder, tmp_path)
    mean, std = torch.tensor(0.5307), torch.tensor(0.2583)
    with torch.no_grad():
        same(encoder, gray(70), source(colour(gray(70), mean, std)).last_hidden_state)


def test_names_in_memory_and_under_a_prefix_are_known(tmp_path: Path) -> None:
    source = transformers_model(False)
    save_file({f"model.{k}": v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "a.safetensors")
    encoder = tower(SMALL, 70)
    assert load_backbone(encoder, tmp_path / "a.safetensors") == 1.0
    with torch.no_grad():
        same(encoder, gray(70), source(colour(gray(70), *IMAGENET)).last_hidden_state)


@pytest.mark.parametrize("registers", [False, True])
def test_dinov2s_own_names(registers: bool, tmp_path: Path) -> None:
    """The repository's files: as timm's, with mask_token, register_tokens and a position of the class token."""
    name = SMALL.replace("_dinov2", "_reg4_dinov2") if registers else SMALL
    source = timm.create_model(name, img_size=70, num_classes=0, dynamic_img_size=True)
    randomise(source)
    state = {k: v.clone() for k, v in source.state_dict().items()} | {"mask_token": torch.randn(1, 384)}
    if registers:
        first = torch.randn(1, 1, 384)
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([first, state["pos_embed"]], dim=1)
        state["cls_token"] = state["cls_token"] - first
    save_file(state, tmp_path / "dinov2.safetensors")
    assert layout_of(read_safetensors(tmp_path / "dinov2.safetensors")) == "dinov2"
    encoder = tower(name, 70)
    assert load_backbone(encoder, tmp_path / "dinov2.safetensors") == 1.0
    with torch.no_grad():
        same(encoder, gray(70), source.forward_features(colour(gray(70), *IMAGENET)))


def test_swiglu_of_the_giant(tmp_path: Path) -> None:
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer
    from transformers import Dinov2Config, Dinov2Model

    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 28, "patch_size": 14}
    source = randomise(Dinov2Model(Dinov2Config(**shape, use_swiglu_ffn=True)))
    source.save_pretrained(tmp_path)
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "memory.safetensors")
    wanted = source(colour(gray(28), *IMAGENET)).last_hidden_state
    for file in (tmp_path, tmp_path / "memory.safetensors"):
        encoder = tower("vit_tiny_patch16_224", 32)
        encoder.width = 48
        encoder.backbone = VisionTransformer(
            img_size=28,
            patch_size=14,
            in_chans=1,
            num_classes=0,
            embed_dim=48,
            depth=2,
            num_heads=3,
            init_values=1.0,
            mlp_ratio=256 / 48,
            mlp_layer=SwiGLUPacked,
            act_layer=nn.SiLU,
            dynamic_img_size=True,
        ).eval()
        assert load_backbone(encoder, file) == 1.0
        with torch.no_grad():
            same(encoder, gray(28), wanted)


def test_registers_can_be_added_to_weights_that_have_none(tmp_path: Path) -> None:
    source = timm.create_model(SMALL, img_size=70, num_classes=0, dynamic_img_size=True)
    randomise(source)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    encoder = tower(SMALL, 70, registers=4)
    assert 0.99 < load_backbone(encoder, tmp_path / "a.safetensors") < 1.0
    tokens = encoder._vit._pos_embed(encoder._embed(encoder.normalise(gray(70)))[0])
    kept = torch.cat([tokens[:, :1], tokens[:, 5:]], dim=1)  # without the fresh registers
    mean, std = (torch.tensor(source.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    wanted = source._pos_embed(source.patch_embed(colour(gray(70), mean, std)))
    torch.testing.assert_close(kept, wanted, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    with_registers = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28, num_classes=0)
    save_file(with_registers.state_dict(), tmp_path / "reg.safetensors")
    with pytest.raises(UserError, match=r"image\.registers=4"):
        load_backbone(tower(SMALL, 28), tmp_path / "reg.safetensors")
    deep = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0).state_dict()
    more = {k.replace("blocks.1.", "blocks.12."): v.clone() for k, v in deep.items()}
    save_file({**deep, **more}, tmp_path / "deep.safetensors")
    with pytest.raises(UserError, match=r"no place in the model, such as blocks\.12"):
        load_backbone(tower("vit_tiny_patch16_224", 32), tmp_path / "deep.safetensors")
    shallow = {k: v for k, v in deep.items() if not k.startswith("blocks.3.")}
    save_file(shallow, tmp_path / "shallow.safetensors")
    with pytest.raises(UserError, match=r"timm's layout.*blocks\.3\.attn"):
        load_backbone(tower("vit_tiny_patch16_224", 32), tmp_path / "shallow.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match=r"Pickled weights .* are refused"):
        load_backbone(tower("vit_tiny_patch16_224", 32), tmp_path / "pickle.pth")
