"""Peak memory of the contrastive losses on one of many ranks, forward and backward, for growing global batches.

python benchmarks/loss_memory.py --quick --json
One rank's part is simulated: b = B / ranks local rows against B columns of width 512, every column with its gradient.
"whole" is the same loss with all logits [b, B] in memory at once, as a plain implementation has them.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from unittest.mock import patch

import torch
from memory import peak_megabytes
from torch import Tensor
from torch.nn.functional import normalize

from vlp.objectives.blocks import ELEMENTS
from vlp.objectives.infonce import info_nce
from vlp.objectives.siglip import siglip
from vlp.objectives.targets import Keys, Targets

WIDTH = 512


def one_rank(name: str, columns: int, ranks: int, elements: int) -> None:
    """Forward and backward of the loss of rank 0 of ``ranks``."""
    rows = columns // ranks
    torch.manual_seed(0)
    images, texts = (normalize(torch.randn(rows, WIDTH), dim=-1).requires_grad_() for _ in range(2))
    said = torch.randint(1, columns, (rows, 6))
    scale, bias = torch.tensor([10.0], requires_grad=True), torch.tensor([-8.0], requires_grad=True)

    def gather(local: Tensor) -> Tensor:
        if local.is_floating_point():  # other ranks' rows, whose gradient would go back to them
            others = normalize(torch.randn(columns - rows, WIDTH), dim=-1).requires_grad_(local.requires_grad)
            return torch.cat([local, others])
        return torch.cat([local, torch.randint(1, columns, (columns - rows, *local.shape[1:]))])

    with ExitStack() as stack:
        for module in ("infonce", "siglip", "targets"):
            stack.enter_context(patch(f"vlp.objectives.{module}.gather", gather))
        stack.enter_context(patch("vlp.objectives.targets.world_size", lambda: ranks))
        goal = Targets.of(rows, images.device, Keys(said, said[:, :2]))
        if name == "siglip":
            siglip(images, texts, scale, bias, goal, elements).backward()
        else:
            info_nce(images, texts, scale, goal, elements).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="global batches up to 8,192")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ranks", type=int, default=16)
    options = parser.parse_args()
    sizes = [1024, 2048, 4096, 8192] + ([] if options.quick else [16384, 32768])
    rows = []
    for name in ("infonce", "siglip"):
        for columns in sizes:
            began = time.perf_counter()
            blocks = peak_megabytes(lambda: one_rank(name, columns, options.ranks, ELEMENTS))  # noqa: B023
            seconds = time.perf_counter() - began
            whole = None
            if columns <= 8192:
                whole = round(peak_megabytes(lambda: one_rank(name, columns, options.ranks, 2**62)), 1)  # noqa: B023
            rows.append(
                {
                    "loss": name,
                    "global_batch": columns,
                    "local_batch": columns // options.ranks,
                    "peak_mb": round(blocks, 1),
                    "whole_mb": whole,
                    "embeddings_mb": round(2 * columns * WIDTH * 4 / 1e6, 1),
                    "seconds": round(seconds, 2),
                }
            )
            if not options.json:
                print(rows[-1], flush=True)
    if options.json:
        print(json.dumps({"ranks": options.ranks, "width": WIDTH, "rows": rows}))


if __name__ == "__main__":
    main()
