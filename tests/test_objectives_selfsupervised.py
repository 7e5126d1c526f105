"""DINO and MAE: crops, masks, the teacher, and what the losses compare."""

from __future__ import annotations

import pytest
import torch

from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment, crop, resize
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.objectives.dino import DinoConfig, DinoObjective, patch_loss, sinkhorn, view_loss
from vlp.objectives.mae import MaeConfig, MaeObjective

STILL = AugmentConfig(
    scale=(1.0, 1.0), ratio=1.0, rotation=0.0, brightness=0.0, contrast=0.0, gamma=0.0, noise=0.0, blur=0.0
)
SMALL = DinoConfig(outputs=32, hidden=32, bottleneck=16, local_crops=2, local_size=16)


def encoder(size: int = 32) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(ImageConfig(name="vit_atto", image_size=size, pooling="mean"))


def test_a_still_augmentation_is_the_image() -> None:
    images = torch.rand(3, 1, 24, 24).clamp(min=1e-3)
    torch.testing.assert_close(augment(images, 24, STILL), images, rtol=0, atol=1e-5)
    assert resize((images * 255).to(torch.uint8), 12).shape == (3, 1, 12, 12)


def test_nothing_is_mirrored_unless_asked() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32).contiguous()
    columns = augment(ramp, 32, AugmentConfig()).mean(dim=(1, 2))
    assert (columns[:, 20:28].mean(dim=1) > columns[:, 4:12].mean(dim=1)).all()
    mirrored = crop(ramp, 32, STILL.model_copy(update={"flip": 1.0}))
    torch.testing.assert_close(mirrored, ramp.flip(-1), rtol=0, atol=1e-5)


def test_crops_stay_within_the_image_and_differ() -> None:
    torch.manual_seed(0)
    config = STILL.model_copy(update={"scale": (0.2, 0.5)})
    found = crop(torch.full((32, 1, 64, 64), 0.7), 16, config)
    torch.testing.assert_close(found, torch.full_like(found, 0.7))  # no air from outside
    places = crop(torch.linspace(0, 1, 64).expand(32, 1, 64, 64).contiguous(), 16, config).mean(dim=(1, 2, 3))
    assert places.std() > 0.05


def test_losses_equal_lightlys() -> None:
    from lightly.loss import DINOLoss, IBOTPatchLoss

    torch.manual_seed(0)
    teacher, student = [torch.randn(5, 8) for _ in range(2)], [torch.randn(5, 8) for _ in range(4)]
    targets = [(view / 0.05).softmax(dim=-1) for view in teacher]  # lightly's centre starts at 0
    oracle = DINOLoss(output_dim=8, student_temp=0.1)(teacher, student, teacher_temp=0.05)
    assert view_loss(targets, student, 0.1).item() == pytest.approx(oracle.item(), rel=1e-5)

    mask = torch.rand(4, 9) < 0.4
    mask[:, 0] = True
    rows = int(mask.sum())
    wanted, given = torch.randn(rows, 8), torch.randn(rows, 8)
    oracle = IBOTPatchLoss(output_dim=8)(wanted, given, mask.unflatten(1, (3, 3)), teacher_temp=0.05)
    found = patch_loss((wanted / 0.05).softmax(dim=-1), given, mask, 0.1)
    assert found.item() == pytest.approx(oracle.item(), rel=1e-5)
    # an image without a mask is no image of this loss
    more = torch.cat([mask, torch.zeros(3, 9, dtype=torch.bool)])
    assert patch_loss((wanted / 0.05).softmax(dim=-1), given, more, 0.1).item() == pytest.approx(found.item())


def test_sinkhorn_uses_every_prototype_alike() -> None:
    torch.manual_seed(0)
    scores = torch.rand(48, 6)
    scores[:, 0] += 2.0  # without balance all would go to the first prototype
    shares = sinkhorn(scores.clamp(max=1), 0.1, iterations=50)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(48))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((6,), 8.0), rtol=0.02, atol=0.0)
    assert sinkhorn(torch.full((2, 4), -1.0), 0.04).isfinite().all()


def test_teacher_follows_the_student_and_has_no_gradient() -> None:
    objective = DinoObjective(encoder(), SMALL, steps=10).train()
    assert not objective.teacher.training
    loss, logs = objective({"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}, 0)
    loss.backward()
    assert set(logs) == {"dino", "koleo", "ibot"}
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert all(p.grad is not None for n, p in objective.student.named_parameters()), "a parameter is not trained"
    before = objective.teacher["head"].prototypes.clone()
    with torch.no_grad():
        objective.student["head"].prototypes.add_(1.0)
    objective.after_step(0)
    torch.testing.assert_close(objective.teacher["head"].prototypes, before + 0.01, rtol=0, atol=1e-5)
    objective.after_step(10)  # at the end the teacher stands still
    torch.testing.assert_close(objective.teacher["head"].prototypes, before + 0.01, rtol=0, atol=1e-5)


def test_masks_have_the_asked_share() -> None:
    objective = DinoObjective(encoder(64), SMALL.model_copy(update={"mask": (0.25, 0.5)}), steps=10)
    mask = objective._mask(40, objective.encoder, torch.device("cpu"))
    assert mask.shape == (40, 16)
    counts = mask.sum(dim=1)
    assert (counts[1::2] == 0).all()
    assert ((counts[0::2] >= 4) & (counts[0::2] <= 8)).all()


def test_what_cannot_be_is_refused() -> None:
    convolutional = ImageEncoder(ImageConfig(name="resnet10t", image_size=32))
    with pytest.raises(UserError, match=r"dino\.ibot=0"):
        DinoObjective(convolutional, SMALL, 10)
    with pytest.raises(UserError, match="multiple of the patch"):
        DinoObjective(encoder(), SMALL.model_copy(update={"local_size": 20}), 10)
    with pytest.raises(UserError, match="vit_ or conv_"):
        MaeObjective(convolutional, MaeConfig())


@pytest.mark.parametrize("name", ["vit_atto", "conv_pico"])
def test_mae_draws_hidden_patches_from_visible_ones_only(name: str) -> None:
    torch.manual_seed(0)
    tower = ImageEncoder(ImageConfig(name=name, image_size=64))
    objective = MaeObjective(tower, MaeConfig(width=16)).eval()
    images, keep = torch.randn(1, 1, 64, 64), torch.tensor([[0, 6, 15]])
    other = images.clone()
    other[..., :16, 16:32] = 5.0  # patch 1 is hidden
    assert torch.equal(objective._canvas(images, keep, 16), objective._canvas(other, keep, 16))
    other[..., :16, :16] = 5.0  # patch 0 is not
    assert not torch.allclose(objective._canvas(images, keep, 16), objective._canvas(other, keep, 16))


def test_mae_compares_hidden_patches_with_their_own_pixels() -> None:
    objective = MaeObjective(encoder(), MaeConfig(width=16, normalise_patches=False, mask=0.5, augment=STILL)).eval()
    images = torch.rand(2, 1, 32, 32).clamp(min=1e-3)
    patches = objective.patches(images)
    assert torch.equal(patches[0, 1].view(16, 16), images[0, 0, :16, 16:])
    with torch.no_grad():
        objective.draw.weight.zero_()
        objective.draw.bias.zero_()
    torch.manual_seed(5)
    loss, _ = objective({"images": images}, 0)
    torch.manual_seed(5)
    pixels = objective.encoder.normalise(augment(images, 32, STILL))  # the same draws
    order = torch.rand(2, 4).argsort(dim=1)
    hidden = objective.patches(pixels).gather(1, order[:, 2:].unsqueeze(-1).expand(-1, -1, 256))
    assert loss.item() == pytest.approx(hidden.square().mean().item(), rel=1e-5)
