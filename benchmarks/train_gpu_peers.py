"""The rivals of ``train_gpu.py``: lightly's parts in the loops of its own examples. open_clip's is in ``train.py``.

They get their images, and DINOv2 its masks, ready on the device: what ours draw and augment at each step they need not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from vlp.training.speed import repeated_blocks


def lightly_steps(
    kind: str, sizes: dict[str, Any], device: torch.device, bf16: bool, compiled: bool
) -> Callable[[int], None]:
    """``run(steps)`` of ``kind``: dino (DINO, iBOT and KoLeo, as DINOv2) or mae."""
    model, loss = (_dino if kind == "dino" else _mae)(sizes, device)
    for block in repeated_blocks(model) if compiled else ():
        block.compile()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                value = loss()
            value.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def _tower(sizes: dict[str, Any]) -> nn.Module:
    from lightly.models.modules import MaskedVisionTransformerTIMM

    vit = timm.create_model(sizes["tower"], img_size=sizes["size"], num_classes=0, dynamic_img_size=True)
    return MaskedVisionTransformerTIMM(vit=vit)


def _dino(sizes: dict[str, Any], device: torch.device) -> tuple[nn.Module, Callable[[], Tensor]]:
    from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import random_block_mask, update_momentum

    batch, side, values = sizes["batch"]["dino"], sizes["size"], sizes["dino"]

    def parts() -> nn.ModuleDict:
        tower = _tower(sizes)
        head = (tower.vit.num_features, values["hidden"], values["bottleneck"], values["outputs"])
        return nn.ModuleDict({"tower": tower, "view": DINOProjectionHead(*head), "patch": DINOProjectionHead(*head)})

    student, teacher = parts(), parts().requires_grad_(False)
    tower = student["tower"]
    model = nn.ModuleDict({"student": student, "teacher": teacher}).to(device)
    view = DINOLoss(output_dim=values["outputs"]).to(device)
    patch = IBOTPatchLoss(output_dim=values["outputs"]).to(device)
    koleo = KoLeoLoss()
    large = torch.rand(2 * batch, 3, side, side, device=device)
    small = torch.rand(values["local_crops"] * batch, 3, values["local_size"], values["local_size"], device=device)
    rows, columns = tower.vit.patch_embed.grid_size
    least = min(4, rows * columns // 10)  # patches of a block; 4 is lightly's own
    blocks = random_block_mask((2 * batch, rows, columns), min_num_masks_per_block=least).to(device)
    mask = torch.zeros(2 * batch, tower.sequence_length, dtype=torch.bool, device=device)
    mask[:, -rows * columns :] = blocks.flatten(1)

    def loss() -> Tensor:
        update_momentum(student, teacher, m=0.99)
        with torch.no_grad():
            seen = teacher["tower"].encode(large)
            said, hidden = teacher["view"](seen[:, 0]), teacher["patch"](seen[mask])
        own = student["tower"].encode(large, mask=mask)
        answers = list(student["view"](own[:, 0]).chunk(2))
        given = student["patch"](own[mask])
        locals_ = student["view"](student["tower"].encode(small)[:, 0])
        answers += locals_.chunk(values["local_crops"])
        spread = sum(koleo(part) for part in own[:, 0].chunk(2))
        return view(said.chunk(2), answers, teacher_temp=0.04) + patch(hidden, given, blocks) + 0.1 * spread

    return model, loss


def _mae(sizes: dict[str, Any], device: torch.device) -> tuple[nn.Module, Callable[[], Tensor]]:
    from lightly.models.modules import MAEDecoderTIMM
    from lightly.models.utils import get_at_index, patchify, random_token_mask

    batch, side, values = sizes["batch"]["mae"], sizes["size"], sizes["mae"]
    tower = _tower(sizes)
    vit = tower.vit
    decoder = MAEDecoderTIMM(
        num_patches=vit.patch_embed.num_patches,
        patch_size=vit.patch_embed.patch_size[0],
        embed_dim=vit.embed_dim,
        decoder_embed_dim=values["width"],
        decoder_depth=values["depth"],
        decoder_num_heads=values["heads"],
    )
    model = nn.ModuleList([tower, decoder]).to(device)
    images = torch.rand(batch, 3, side, side, device=device)

    def loss() -> Tensor:
        keep, hidden = random_token_mask((batch, tower.sequence_length), mask_ratio=values["mask"], device=device)
        x = decoder.embed(tower.encode(images=images, idx_keep=keep))
        full = torch.zeros(batch, tower.sequence_length, x.shape[-1], device=device, dtype=x.dtype)
        full = full + decoder.mask_token.to(x.dtype)
        full = full.scatter(1, keep.unsqueeze(-1).expand_as(x), x)
        drawn = decoder.predict(get_at_index(decoder.decode(full), hidden))
        wanted = get_at_index(patchify(images, vit.patch_embed.patch_size[0]), hidden - 1)
        return (drawn - wanted).square().mean()

    return model, loss
