"""How far is the memory estimate of ``vlp plan`` from what a step takes? Resident memory of a process of its own.

    python benchmarks/plan_memory.py

Prints, for each configuration, what :meth:`vlp.planning.costs.StepCost.memory` says and the growth of the peak resident
size over two real steps of AdamW, from the moment the libraries are loaded.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

CASES = {
    "vit_nano mae, 112 px, batch 128": ("mae", "vit_nano", 112, 128),
    "conv_nano dino, 112 px, batch 128": ("dino", "conv_nano", 112, 128),
    "vit_small_patch16_224 mae, 224 px, batch 32": ("mae", "vit_small_patch16_224", 224, 32),
}


def estimate(objective: str, name: str, size: int, batch: int) -> float:
    """MB by the planner, float32."""
    from anonymize.config import validate
    from vlp.planning.costs import pretrain_cost
    from vlp.training.pretrain import PretrainConfig

    config = validate(PretrainConfig, {"objective": objective, "image": {"name": name, "image_size": size}})
    return pretrain_cost(config, bf16=False).memory(batch) / 1e6


def measured(objective: str, name: str, size: int, batch: int) -> float:
    """MB that two steps added to this process's peak."""
    import torch

    from anonymize.config import validate
    from vlp.encoders.image import ImageEncoder
    from vlp.training.optim import adamw, parameter_groups
    from vlp.training.pretrain import PretrainConfig, _objective

    def steps(name: str, size: int, batch: int) -> None:
        config = validate(PretrainConfig, {"objective": objective, "image": {"name": name, "image_size": size}})
        model = _objective(ImageEncoder(config.image), config).train()
        optimizer = adamw(parameter_groups(model, config), config)
        images = torch.zeros(batch, 1, size * 8 // 7, size * 8 // 7, dtype=torch.uint8)
        for step in range(2):
            model({"images": images}, step)[0].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    steps("vit_atto", 64, 2)  # loads what the libraries load late
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps(name, size, batch)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6


def main() -> None:
    if len(sys.argv) == 2:
        case = CASES[sys.argv[1]]
        print(json.dumps({"measured_mb": measured(*case)}))
        return
    for label, case in CASES.items():
        # freed blocks go back to the system at once, or the C library's cache would be counted as use
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, __file__, label]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        real, said = json.loads(done.stdout.splitlines()[-1])["measured_mb"], estimate(*case)
        print(f"{label}: estimate {said:.0f} MB, measured {real:.0f} MB, {said / real - 1:+.1%}", flush=True)


if __name__ == "__main__":
    main()
