"""The machine that will train: this one, or one that is described on the command line."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from anonymize.console import UserError
from anonymize.engines import cores
from vlp.training.flops import named_peak

GB = 10**9


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        memory: bytes.
        bf16: whether it multiplies bfloat16 itself.
    """

    name: str
    memory: int
    bf16: bool = True

    @property
    def tflops(self) -> float:
        """Dense peak of the precision that training uses (bfloat16, else float32), 10^12 a second; 0 where not known."""
        return (named_peak(self.name, self.bf16) or 0.0) / 1e12


GPUS = {
    "b200": Gpu("NVIDIA B200", 180 * GB),
    "h200": Gpu("NVIDIA H200", 141 * GB),
    "h100": Gpu("NVIDIA H100", 80 * GB),
    "a100-80": Gpu("NVIDIA A100 80GB", 80 * GB),
    "a100": Gpu("NVIDIA A100", 40 * GB),
    "l40s": Gpu("NVIDIA L40S", 48 * GB),
    "a40": Gpu("NVIDIA A40", 48 * GB),
    "a10": Gpu("NVIDIA A10", 24 * GB),
    "l4": Gpu("NVIDIA L4", 24 * GB),
    "rtx4090": Gpu("NVIDIA GeForce RTX 4090", 24 * GB),
    "rtx3090": Gpu("NVIDIA GeForce RTX 3090", 24 * GB),
    "v100": Gpu("NVIDIA V100", 32 * GB, bf16=False),
    "t4": Gpu("NVIDIA T4", 16 * GB, bf16=False),
}
"""For planning a machine that is not this one."""


@dataclass(frozen=True)
class Hardware:
    """What may be used. Memory and disk in bytes."""

    cpus: int  # that this process may run on
    memory: int  # of one node
    disk: int  # free where the models will be written
    gpu: Gpu | None
    gpus: int  # of one node; 0 trains on the CPU
    nodes: int = 1
    described: bool = False  # given on the command line rather than found here

    @property
    def processes(self) -> int:
        """One for each GPU of all nodes; one on a CPU."""
        return max(1, self.gpus) * self.nodes


def look_at_hardware(out: Path) -> Hardware:
    """This machine: affinity and cgroup limits count, not what is built in."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpu = None
    if count:
        properties = torch.cuda.get_device_properties(0)
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        gpu = Gpu(properties.name, properties.total_memory, bf16)
    return Hardware(_cpus(), _memory(), shutil.disk_usage(_existing(out)).free, gpu, count)


def described(
    found: Hardware,
    *,
    gpus: int | None = None,
    gpu: str = "",
    gpu_memory: str = "",
    nodes: int = 1,
    cpus: int | None = None,
    ram: str = "",
    disk: str = "",
) -> Hardware:
    """``found`` with what the command line says in its place.

    Raises:
        UserError: a size that cannot be read, a GPU that is not known and has no memory given.
    """
    card = found.gpu
    if gpu:
        card = next((GPUS[k] for k in sorted(GPUS, key=len, reverse=True) if k in (_plain(gpu), gpu.lower())), None)
        if card is None and not gpu_memory:
            raise UserError(f"--gpu {gpu} is not one of {', '.join(GPUS)}; give its memory too, as --gpu-memory 80GB")
        card = card or Gpu(gpu, 0)
    count = found.gpus if gpus is None else gpus
    if gpus is None and gpu:
        count = max(1, found.gpus)
    if gpu_memory:
        card = card or Gpu("GPU", 0)
        card = Gpu(card.name, parse_size(gpu_memory, "--gpu-memory"), card.bf16)
        count = count if gpus is not None else max(1, count)
    if count and card is None:
        raise UserError(f"--gpus {count}: there is no GPU here to look at; say which with --gpu ({', '.join(GPUS)})")
    if nodes > 1 and not count:
        raise UserError(f"--nodes {nodes} needs GPUs: give --gpus (of one node) and --gpu")
    return Hardware(
        cpus=cpus or found.cpus,
        memory=parse_size(ram, "--ram") if ram else found.memory,
        disk=parse_size(disk, "--disk") if disk else found.disk,
        gpu=card if count else None,
        gpus=count,
        nodes=nodes,
        described=bool(gpu or gpu_memory or ram or disk or cpus or gpus is not None or nodes > 1),
    )


def parse_size(text: str, option: str) -> int:
    """``80GB``, ``1.5TB``, ``512MB`` (powers of 1000; ``GiB`` of 1024) as bytes.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    if not found:
        raise UserError(f"{option} {text}: write a number and a unit, such as 80GB")
    power = "KMGT".index(found[2].upper()) + 1
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def _cpus() -> int:
    quota, period = _cgroup("cpu.max", "max 100000").split()[:2]
    return cores() if quota == "max" else max(1, min(cores(), int(quota) // int(period)))


def _memory() -> int:
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup("memory.max", "max")
    return built_in if limit == "max" else min(built_in, int(limit))


def _cgroup(name: str, default: str) -> str:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text(encoding="ascii").strip() or default
    except OSError:
        return default


def _existing(path: Path) -> Path:
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", name.lower().replace("nvidia", "").replace("geforce", "").replace(" ", ""))
