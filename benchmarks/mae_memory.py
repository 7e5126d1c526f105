"""Memory of one MAE step on one film: ``python benchmarks/mae_memory.py TOWER SIDE [checkpointing]``

Prints the peak of the process above what the model takes (MB, by getrusage) and the CPU time of forward and backward.
"""

from __future__ import annotations

import resource
import sys
import time

import torch

from vlp.encoders.image import ImageConfig, ImageEncoder
from vlp.objectives.mae import MaeConfig, MaeObjective


def main(name: str, side: int, checkpointing: bool) -> None:
    """Run and print one step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower = ImageEncoder(ImageConfig(name=name, image_size=side, gradient_checkpointing=checkpointing))
    objective = MaeObjective(tower, MaeConfig(mask=0.75)).train()
    film = torch.randint(0, 255, (1, 1, side, side), dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = time.process_time()
    loss, _ = objective({"images": film}, 0)
    loss.backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    print(f"{name} {side} px checkpointing={checkpointing}: {peak:.0f} MB, {time.process_time() - begun:.1f} CPU s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "checkpointing" in sys.argv[3:])
