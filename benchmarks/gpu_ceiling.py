"""What one GPU reaches at most in a training step: matrix products, attention and compiled transformer blocks alone.

python benchmarks/gpu_ceiling.py [--json]             # bfloat16, sizes of ViT-B/16 at 224 pixels
python benchmarks/gpu_ceiling.py --flash FA4          # also with an installed flash-attention package (FA3, FA4)
python benchmarks/gpu_ceiling.py --tiny               # the same code on a CPU, to see that it works

No loop, loss, optimizer or data: utilisation of a whole step cannot be more than that of its blocks. Operations are counted
as in ``train_gpu.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn.attention import (
    SDPBackend,
    activate_flash_attention_impl,
    list_flash_attention_impls,
    sdpa_kernel,
)
from torch.nn.functional import scaled_dot_product_attention

WIDTH, HEADS, TOKENS, BLOCKS = 768, 12, 197, 4
LAYERS = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH))


def milliseconds(run: Callable[[], Any], device: torch.device, times: int = 10) -> float:
    """Median of ``times`` calls after three."""
    found = []
    for number in range(times + 3):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 3:
            found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def products(rows: int, inputs: int, outputs: int, device: torch.device) -> dict[str, int]:
    """TFLOP/s of a linear layer's product, forward and for both gradients."""
    x = torch.randn(rows, inputs, device=device, dtype=torch.bfloat16)
    w = torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16)
    g = torch.randn(rows, outputs, device=device, dtype=torch.bfloat16)
    ways = {"forward": lambda: x @ w.t(), "input": lambda: g @ w, "weight": lambda: g.t() @ x}
    work = 2 * rows * inputs * outputs / 1e9
    return {name: round(work / milliseconds(run, device)) for name, run in ways.items()}


def attention(batch: int, device: torch.device) -> dict[str, float]:
    """Milliseconds forward and backward of one block's attention, and TFLOP/s of it."""
    shape = (batch, TOKENS, HEADS, WIDTH // HEADS)
    q, k, v = (
        torch.randn(shape, device=device, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3)
    )
    gradient = torch.randn_like(q)
    took = milliseconds(lambda: scaled_dot_product_attention(q, k, v).backward(gradient), device)
    return {"ms": round(took, 3), "tflops": round(3.5 * 4 * batch * TOKENS**2 * WIDTH / 1e9 / took)}


def blocks(batch: int, device: torch.device, residual: torch.dtype) -> dict[str, float]:
    """Compiled blocks under autocast, forward and backward; ``residual``: of what flows between them."""
    torch._dynamo.reset()
    stack = nn.Sequential(*(Block(WIDTH, HEADS, qkv_bias=True) for _ in range(BLOCKS))).to(device)
    if device.type == "cuda":
        for block in stack:
            block.compile()
    x = torch.randn(batch, TOKENS, WIDTH, device=device, dtype=residual, requires_grad=True)
    gradient = torch.randn_like(x)

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            out = stack(x)
        out.backward(gradient.to(out.dtype))
        stack.zero_grad(set_to_none=True)
        x.grad = None

    took = milliseconds(run, device)
    # attention's scores are computed once more in the backward pass, which the counter counts
    work = BLOCKS * batch * TOKENS * (3 * 2 * 12 * WIDTH**2 + 3.5 * 4 * TOKENS * WIDTH) / 1e9
    return {"ms": round(took, 2), "tflops": round(work / took)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a batch of 1 on a CPU, not compiled")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument(
        "--flash", choices=list_flash_attention_impls(), help="kernels of a package in place of PyTorch's"
    )
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --tiny shows on a CPU that the script works")
    device, batch = torch.device("cpu" if options.tiny else "cuda"), 1 if options.tiny else 512
    result = {
        "device": "cpu" if options.tiny else torch.cuda.get_device_name(),
        "products": {f"{i} x {o}": products(batch * TOKENS, i, o, device) for i, o in LAYERS},
        "attention": attention(batch, device),
        "blocks": blocks(batch, device, torch.float32),
        "blocks, bf16 between": blocks(batch, device, torch.bfloat16),
    }
    if options.flash:
        activate_flash_attention_impl(options.flash)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            result[f"attention, {options.flash}"] = attention(batch, device)
            result[f"blocks, {options.flash}"] = blocks(batch, device, torch.float32)
            result[f"blocks, {options.flash}, bf16 between"] = blocks(batch, device, torch.bfloat16)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
