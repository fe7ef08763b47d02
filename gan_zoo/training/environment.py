"""The software and hardware that a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    *("gan-zoo", "torch", "triton", "numpy", "einops", "safetensors", "pydantic", "tyro", "rich"),
    *("scipy", "scikit-learn", "torchmetrics"),
)


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and git revision of the code."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed for name in PACKAGES if (installed := version_of(name))},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cuda": torch.version.cuda,
        **(_card(device) if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
        "git": _revision(),
    }


def version_of(package: str) -> str | None:
    """The installed version of a package, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _card(device: torch.device) -> dict[str, Any]:
    """What distinguishes a card and its driver from others of the same name."""
    facts = torch.cuda.get_device_properties(device)
    return {
        "driver": _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"),
        "capability": f"{facts.major}.{facts.minor}",
        "memory": facts.total_memory,
        "multiprocessors": facts.multi_processor_count,
    }


def _revision() -> str | None:
    """The commit, if this code runs from a git checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    return _output_of("git", "-C", str(here), "describe", "--always", "--dirty")


def _output_of(*command: str) -> str | None:
    """The output of a program; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
