"""DINO and MAE: crops, masks, the teacher, and what the losses compare."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from anonymize.console import UserError
from vlp.corpus.augment import AugmentConfig, augment, augment_with, crop, resize
from vlp.corpus.body import body_masks
from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.objectives.centring import Targets, sinkhorn
from vlp.objectives.dino import DinoConfig, DinoObjective
from vlp.objectives.dino_losses import entropy_share, koleo, mean_entropy, patch_loss, view_loss
from vlp.objectives.mae import MaeConfig, MaeObjective, choose

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # its import asks a server for news otherwise

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
    from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss

    torch.manual_seed(0)
    spread = torch.randn(7, 5)
    assert koleo(spread).item() == pytest.approx(KoLeoLoss()(spread).item(), rel=1e-5)
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


def test_sinkhorn_is_the_published_loop() -> None:
    torch.manual_seed(0)
    scores = torch.rand(12, 7) * 2 - 1
    table = (scores.double() / 0.04).exp()
    table /= table.sum()
    for _ in range(3):
        table /= table.sum(dim=0, keepdim=True) * 7
        table /= table.sum(dim=1, keepdim=True) * 12
    torch.testing.assert_close(sinkhorn(scores, 0.04), (table * 12).float(), rtol=1e-4, atol=1e-7)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sinkhorn(scores, 0.04), (table * 12).float(), rtol=1e-4, atol=1e-7)


def test_teacher_follows_the_student_and_has_no_gradient() -> None:
    objective = DinoObjective(encoder(), SMALL, steps=10).train()
    assert not objective.teacher.training
    loss, logs = objective({"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}, 0)
    loss.backward()
    assert set(logs) == {"dino", "koleo", "ibot", "teacher_entropy", "teacher_student_kl"}
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
    mask = objective._mask(40, objective.encoder)
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

    def canvas(pixels: torch.Tensor) -> torch.Tensor:
        return objective._canvas(objective._seen(pixels, keep), keep)

    other = images.clone()
    other[..., :16, 16:32] = 5.0  # patch 1 is hidden
    assert canvas(images).shape == (1, 16, 16)
    assert torch.equal(canvas(images), canvas(other))
    other[..., :16, :16] = 5.0  # patch 0 is not
    assert not torch.allclose(canvas(images), canvas(other))


@pytest.mark.parametrize("body", [0.0, 0.5])
def test_mae_compares_hidden_patches_of_the_body_with_their_own_pixels(body: float) -> None:
    config = MaeConfig(width=16, normalise_patches=False, mask=0.5, augment=STILL, body=body)
    objective = MaeObjective(encoder(64), config).eval()
    images = torch.rand(2, 1, 64, 64) * 0.4 + 0.5
    images[:, :, :, :32] = 0.0  # air
    patches = objective.patches(images)
    assert torch.equal(patches[0, 3].view(16, 16), images[0, 0, :16, 48:])
    with torch.no_grad():
        objective.draw.weight.zero_()
        objective.draw.bias.zero_()
    torch.manual_seed(5)
    loss, logs = objective({"images": images}, 0)
    torch.manual_seed(5)
    pixels = augment(images, 64, STILL)  # the same draws
    shows_body = torch.tensor([False, False, True, True] * 4).expand(2, 16) if body else torch.ones(2, 16).bool()
    assert float(logs["body"]) == shows_body.float().mean()
    _, hide = choose(shows_body, 0.5)
    wanted = [
        objective.patches(objective.encoder.normalise(pixels))[image, patch].square().mean()
        for image in range(2)
        for patch in hide[image]
        if shows_body[image, patch]
    ]
    assert len(wanted) == (8 if body else 16)
    assert loss.item() == pytest.approx(torch.stack(wanted).mean().item(), rel=1e-5)


def test_the_same_share_of_body_and_air_is_shown() -> None:
    torch.manual_seed(0)
    body = torch.zeros(5, 100, dtype=torch.bool)
    for image, count in enumerate((4, 10, 50, 97, 100)):
        body[image, torch.randperm(100)[:count]] = True
    seen = torch.zeros(5, 100)
    for _ in range(200):
        keep, hide = choose(body, 0.7)
        assert keep.shape == (5, 30)
        assert torch.equal(torch.cat([keep, hide], dim=1).sort(dim=1).values, torch.arange(100).expand(5, 100))
        seen.scatter_add_(1, keep, torch.ones(5, 30))
        assert body.gather(1, keep).sum(dim=1).tolist() == [1, 3, 15, 29, 30]
    share = seen / 200
    assert (share[2:] > 0.15).all(), "every patch is shown now and then"
    assert (share[2:] < 0.45).all()
    keep, hide = choose(body, 0.02)  # hardly anything is hidden, but some of every body is
    assert keep.shape == (5, 98)
    assert (body.gather(1, hide).sum(dim=1) >= 1).all()


def test_every_image_has_body() -> None:
    objective = MaeObjective(encoder(64), MaeConfig(width=16))
    blank = torch.zeros(1, 1, 64, 64)
    assert body_masks(blank).all()
    assert body_masks(torch.ones_like(blank)).all()
    assert body_masks(torch.rand(1, 1, 64, 64) * 0.5 + 0.4).all(), "the body fills the film"
    assert objective.body(blank).all(), "a crop beside the body"
    limb = torch.zeros(1, 1, 64, 64)
    limb[..., 16:48] = 0.6
    found = objective.body(body_masks(limb).float()).view(4, 4)
    assert found.tolist() == [[False, True, True, False]] * 4
    assert objective.body(body_masks(limb.transpose(2, 3)).float()).view(4, 4).T.tolist() == found.tolist()
    loss, _ = objective({"images": torch.cat([blank, limb])}, 0)
    assert loss.isfinite()


def test_the_contour_is_cut_and_turned_with_its_image() -> None:
    torch.manual_seed(0)
    films = torch.zeros(8, 1, 512, 512)
    films[..., 130:380, 160:300] = 0.7
    masks = body_masks((films * 255).to(torch.uint8))
    assert masks.shape == (8, 1, 64, 64)
    pixels, cut = augment_with(films, masks, 128, STILL.model_copy(update={"scale": (0.2, 0.8), "rotation": 30.0}))
    assert ((pixels > 0.35) == (cut > 0.5)).float().mean() > 0.98
    assert 0.05 < cut.mean() < 0.95
    assert body_masks(torch.rand(1, 1, 2048, 2048)).shape == (1, 1, 128, 128)


def test_large_films_are_masked_behind_a_convolution_stem() -> None:
    torch.manual_seed(0)
    tower = ImageEncoder(ImageConfig(name="vit_atto", image_size=512))
    objective = MaeObjective(tower, MaeConfig(width=16, mask=0.9)).train()
    lengths: list[int] = []
    tower.backbone.blocks[0].register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))
    loss, _ = objective({"images": torch.randint(0, 255, (1, 1, 512, 512), dtype=torch.uint8)}, 0)
    loss.backward()
    assert lengths == [1 + round(0.1 * 32 * 32)], "the transformer sees the class token and visible patches"
    assert all(p.grad is not None for p in tower.backbone.parameters())
    with pytest.raises(UserError, match="set it to 96"):
        MaeObjective(ImageEncoder(ImageConfig(name="conv_pico", image_size=100)), MaeConfig())


def test_fresh_heads_learn_alone_first() -> None:
    batch = {"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}
    for make in (
        lambda: DinoObjective(encoder(), SMALL, steps=10, frozen_steps=3),
        lambda: MaeObjective(encoder(), MaeConfig(width=16), frozen_steps=3),
    ):
        objective = make().train()
        tower = objective.student["encoder"] if isinstance(objective, DinoObjective) else objective.encoder
        objective(batch, 2)[0].backward()
        assert all(p.grad is None for p in tower.parameters())
        heads = [p for n, p in objective.named_parameters() if "encoder" not in n and p.requires_grad]
        assert heads
        assert all(p.grad is not None for p in heads)
        objective(batch, 3)[0].backward()
        assert any(p.grad is not None for p in tower.parameters())


def test_prototypes_stand_still_at_first() -> None:
    objective = DinoObjective(encoder(), SMALL.model_copy(update={"freeze_prototypes": 0.2}), steps=10).train()
    batch = {"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}
    objective(batch, 1)[0].backward()
    assert objective.student["head"].prototypes.grad is None
    assert objective.student["patch_head"].prototypes.grad is None
    assert objective.student["head"].layers[0].weight.grad is not None
    objective(batch, 2)[0].backward()
    assert objective.student["head"].prototypes.grad is not None


def test_the_softmaxs_centre_is_lightlys_and_lies_in_the_checkpoint() -> None:
    from lightly.models.modules.center import Center

    torch.manual_seed(0)
    ours, theirs = Targets("softmax", 8, 0.9).train(), Center(size=(1, 8), momentum=0.9)
    for _ in range(3):
        scores = torch.randn(5, 8)
        wanted = ((scores - theirs.value) / 0.05).softmax(dim=-1)
        torch.testing.assert_close(ours(scores, 0.05), wanted)
        theirs.update(scores)
        torch.testing.assert_close(ours.centre, theirs.value[0])
    held = ours.centre.clone()
    ours.eval()(torch.randn(5, 8), 0.05)
    assert torch.equal(ours.centre, held), "evaluation moves nothing"
    objective = DinoObjective(encoder(), SMALL.model_copy(update={"centring": "softmax"}), steps=10)
    assert {"targets.view.centre", "targets.patch.centre"} <= set(objective.state_dict())
    before = objective.state_dict()["targets.patch.centre"].clone()
    objective.train()({"images": torch.randint(0, 255, (4, 1, 40, 40), dtype=torch.uint8)}, 0)
    assert not torch.equal(objective.state_dict()["targets.patch.centre"], before)


def test_entropy_tells_a_collapse() -> None:
    assert entropy_share(mean_entropy(torch.full((3, 16), 1 / 16)), 16).item() == pytest.approx(1.0)
    assert entropy_share(mean_entropy(torch.eye(16)), 16).item() == 0.0
    objective = DinoObjective(encoder(), SMALL, steps=10).train()
    batch = {"images": torch.randint(0, 255, (8, 1, 40, 40), dtype=torch.uint8)}
    _, logs = objective(batch, 0)
    assert 0 < float(logs["teacher_entropy"]) <= 1
    kl = float(logs["dino"]) - float(logs["teacher_entropy"]) * float(torch.tensor(32.0).log())
    assert float(logs["teacher_student_kl"]) == pytest.approx(kl, rel=1e-4)
    with torch.no_grad():  # a head that answers the same to everything
        objective.teacher["head"].layers[-1].weight.zero_()
        objective.teacher["head"].layers[-1].bias.fill_(1.0)
    assert float(objective(batch, 0)[1]["teacher_entropy"]) == pytest.approx(1.0, abs=1e-4)


@pytest.fixture(scope="module")
def on_two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    folder, here = tmp_path_factory.mktemp("two"), Path(__file__).parent
    path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, str(here / "selfsupervised_worker.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "2.pt", weights_only=True)


@pytest.mark.parametrize("name", ["dino", "dino softmax", "dino without koleo", "mae", "mae FSDP2"])
def test_two_processes_give_the_gradients_of_one(on_two_processes: dict, name: str) -> None:
    found, wanted = on_two_processes[name]["found"], on_two_processes[name]["wanted"]
    assert set(found) == set(wanted)
    largest = max(float(value.norm()) for value in wanted.values())
    assert largest > 1e-3
    for key, value in wanted.items():
        # what is nothing but rounding (a bias before a normalisation) is compared with the largest one's rounding;
        # timm resamples the position embedding of small crops in float32, whatever the model is in
        tolerance = 1e-8 if key.endswith("pos_embed") else 1e-11
        assert value.dtype == torch.float64
        allowed = tolerance * max(float(value.norm()), 1e-2 * largest)
        assert float((found[key] - value).norm()) <= allowed, key
