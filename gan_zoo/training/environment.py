"""What a run stands on."""

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
    """What a run stands on: versions, device, git revision of the code."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := version_of(name))},
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
    """What tells a card and its driver apart from others of the name."""
    facts = torch.cuda.get_device_properties(device)
    return {
        "driver": _told("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"),
        "capability": f"{facts.major}.{facts.minor}",
        "memory": facts.total_memory,
        "multiprocessors": facts.multi_processor_count,
    }


def _revision() -> str | None:
    """The commit of the checkout that this code is run from, if it is one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    return _told("git", "-C", str(here), "describe", "--always", "--dirty")


def _told(*command: str) -> str | None:
    """What a program prints, if it is there and does its work."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None
