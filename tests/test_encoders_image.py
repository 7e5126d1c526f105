"""The image tower: shapes, masks, attention, other sizes and other families."""

from __future__ import annotations

import pytest
import torch

from anonymize.console import UserError
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.encoders.presets import CONV_PRESETS, PRESETS


def encoder(**values: object) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(ImageConfig.model_validate({"name": "vit_atto", "image_size": 32, **values})).eval()


@pytest.mark.parametrize("name", [*PRESETS, *CONV_PRESETS, "resnet10t", "vit_tiny_patch16_224"])
def test_every_family_gives_the_same_features(name: str) -> None:
    tower = encoder(name=name, image_size=64)
    features = tower(torch.randn(2, 1, 64, 64))
    rows, columns = features.grid
    assert features.pooled.shape == (2, tower.width)
    assert features.patches.shape == (2, rows * columns, tower.width)
    assert tower(torch.randn(1, 1, 96, 96)).patches.shape[1] > rows * columns


def test_normalise_takes_bytes_and_shares() -> None:
    tower = encoder(mean=0.5, std=0.25)
    values = tower.normalise(torch.tensor([0, 255], dtype=torch.uint8))
    assert values.tolist() == [-2.0, 2.0]
    assert torch.equal(values, tower.normalise(torch.tensor([0.0, 1.0])))


def test_a_masked_patch_is_not_seen() -> None:
    tower = encoder()
    image = torch.randn(1, 1, 32, 32)
    mask = torch.zeros(1, 4, dtype=torch.bool)
    assert torch.equal(tower(image).pooled, tower(image, mask).pooled)
    everything = torch.ones(1, 4, dtype=torch.bool)
    assert torch.allclose(tower(image, everything).pooled, tower(torch.randn(1, 1, 32, 32), everything).pooled)


def test_visible_patches_know_nothing_of_hidden_ones() -> None:
    tower = encoder()
    image, keep = torch.randn(1, 1, 32, 32), torch.tensor([[3, 0]])
    other = image.clone()
    other[..., :16, 16:] = 9.0  # patch 1 is hidden
    assert torch.equal(tower.visible(image, keep), tower.visible(other, keep))
    other[..., 16:, 16:] = 9.0  # patch 3 is not
    assert not torch.allclose(tower.visible(image, keep), tower.visible(other, keep))


def test_all_patches_visible_is_the_plain_encoder() -> None:
    tower = encoder()
    image = torch.randn(2, 1, 32, 32)
    tokens = tower.visible(image, torch.arange(4).expand(2, 4))
    torch.testing.assert_close(tokens[:, 1:], tower(image).patches)


def test_attention_is_the_softmax_of_the_last_block() -> None:
    tower = encoder(image_size=64)
    images = torch.randn(2, 1, 64, 64)
    seen = tower.attention(images)
    assert seen.shape == (2, 4, 4)
    assert torch.allclose(seen.sum(dim=(1, 2)), torch.ones(2))
    block = tower.backbone.blocks[-1]
    block.attn.fused_attn = False  # the slow path of timm materialises the weights
    weights = []
    block.attn.attn_drop.register_forward_hook(lambda module, inputs, output: weights.append(output))
    tower(images)
    wanted = weights[0][:, :, 0, 1:].mean(dim=1)
    torch.testing.assert_close(seen.flatten(1), wanted / wanted.sum(dim=1, keepdim=True))


def test_a_convolutional_preset_hides_patches_and_shows_where_its_maxima_lie() -> None:
    tower = encoder(name="conv_pico", image_size=64)
    image, mask = torch.randn(1, 1, 64, 64), torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 5] = True
    other = image.clone()
    other[..., 16:32, 16:32] = 9.0  # patch 5
    assert torch.equal(tower(image, mask).pooled, tower(other, mask).pooled)
    assert not torch.allclose(tower(image).pooled, tower(other).pooled)
    seen = tower.attention(image)
    assert seen.shape == (1, 4, 4)
    assert seen.sum().item() == pytest.approx(1.0)
    patches = tower(image).patches
    wanted = [(patches[0].argmax(dim=0) == cell).float().mean().item() for cell in range(16)]
    assert seen.flatten().tolist() == pytest.approx(wanted)
    pooled = patches.mean(dim=1) + patches.amax(dim=1)
    torch.testing.assert_close(tower(image).pooled, torch.nn.functional.layer_norm(pooled, (tower.width,)))


def test_what_only_transformers_can_is_refused_for_others() -> None:
    tower = encoder(name="resnet10t", image_size=64)
    with pytest.raises(ValueError, match="attention"):
        tower.attention(torch.randn(1, 1, 64, 64))
    with pytest.raises(ValueError, match="mask"):
        tower(torch.randn(1, 1, 64, 64), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(UserError, match="vit_pico"):
        encoder(name="vit_nothing")


def test_registers_take_part_but_are_neither_patches_nor_pooled() -> None:
    for name in ("vit_atto", "vit_tiny_patch16_224"):
        plain, more = encoder(name=name, image_size=64), encoder(name=name, image_size=64, registers=4)
        assert more.backbone.num_prefix_tokens == plain.backbone.num_prefix_tokens + 4
        images = torch.randn(2, 1, 64, 64)
        features = more(images)
        assert features.patches.shape == plain(images).patches.shape == (2, 16, more.width)
        tokens = more._blocks(more._vit._pos_embed(more._embed(images)[0]))
        torch.testing.assert_close(features.pooled, tokens[:, 0] + tokens[:, 5:].mean(dim=1))
        torch.testing.assert_close(features.patches, tokens[:, 5:])
        assert more.attention(images).shape == (2, 4, 4)
        assert more.visible(images, torch.tensor([[1, 2], [5, 0]])).shape == (2, 5 + 2, more.width)
        with torch.no_grad():
            more.backbone.reg_token.add_(torch.randn_like(more.backbone.reg_token))
        assert not torch.allclose(more(images).pooled, features.pooled), "patches attend to registers"
    with pytest.raises(UserError, match=r"image\.registers=2 needs a vision transformer"):
        encoder(name="resnet10t", registers=2)
    with pytest.raises(UserError, match=r"image\.registers=2 needs a vision transformer"):
        encoder(name="conv_pico", registers=2)


def test_patch_dropout_leaves_out_patches_in_training_only() -> None:
    tower = encoder(image_size=64, patch_dropout=0.75)
    images = torch.randn(3, 1, 64, 64)
    whole = tower(images)
    assert whole.kept is None
    assert whole.patches.shape == (3, 16, tower.width)
    tower.train()
    dropped = tower(images)
    assert dropped.kept is not None
    assert dropped.kept.shape == (3, 4)
    assert (dropped.kept.diff(dim=1) > 0).all(), "in row order, none twice"
    assert dropped.patches.shape == (3, 4, tower.width)
    # what is left is what the network says of these patches alone; the stem still saw the whole image
    tokens = tower._vit._pos_embed(tower._embed(images)[0])
    index = dropped.kept.unsqueeze(-1).expand(-1, -1, tower.width)
    alone = tower._blocks(torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, index)], dim=1))
    torch.testing.assert_close(dropped.patches, alone[:, 1:])
    mask = torch.zeros(3, 16, dtype=torch.bool)
    assert tower(images, mask).patches.shape == (3, 16, tower.width)
    assert tower.visible(images, torch.arange(16).expand(3, 16)).shape == (3, 17, tower.width)
    assert tower.attention(images).shape == (3, 4, 4)
    with pytest.raises(UserError, match=r"image\.patch_dropout"):
        encoder(name="conv_pico", patch_dropout=0.5)


@pytest.mark.parametrize("way", ["forward", "visible"])
def test_recomputed_activations_give_the_same_gradients(way: str) -> None:
    gradients = []
    images, keep = torch.randn(2, 1, 64, 64), torch.tensor([[3, 0, 9], [15, 2, 1]])
    for checkpointing in (False, True):
        tower = encoder(image_size=64, gradient_checkpointing=checkpointing, registers=2).train()
        calls: list[int] = []
        tower.backbone.blocks[0].register_forward_pre_hook(lambda *_, seen=calls: seen.append(1))
        (tower(images).pooled if way == "forward" else tower.visible(images, keep)).square().sum().backward()
        assert len(calls) == 1 + checkpointing, "a block is computed again in the backward pass"
        gradients.append({n: p.grad for n, p in tower.named_parameters() if p.grad is not None})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "pooling"), [("conv_pico", "mean_max"), ("conv_pico", "mean"), ("vit_atto", "mean")])
def test_a_patch_is_read_as_an_image_of_nothing_else(name: str, pooling: str) -> None:
    """What was trained on pooled features sees patches in their space: normalised where they are."""
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageConfig(name=name, image_size=32, pooling=pooling))
    for parameter in encoder.pool_norm.parameters():
        torch.nn.init.normal_(parameter)
    patches = torch.randn(3, 4, encoder.width) * 5
    alone = torch.stack([encoder.pool(patches[:, i : i + 1], 0) for i in range(4)], dim=1)
    assert torch.allclose(encoder.as_pooled(patches), alone, atol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_atto"])
def test_the_patch_embedding_says_what_timms_says(name: str) -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageConfig(name=name, image_size=64))
    images = torch.randn(2, 1, 64, 96)
    wanted = encoder.backbone.patch_embed(images)
    torch.testing.assert_close(encoder._patches_of(images), wanted, rtol=1e-5, atol=1e-5)
    if name != "vit_atto":  # a stem takes any size; timm refuses what is no whole number of patches, and so it stays
        with pytest.raises(AssertionError):
            encoder._patches_of(torch.randn(1, 1, 64, 70))
