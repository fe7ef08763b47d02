"""What a folder of images costs to open: decoded, decoded and kept, found again.

    python benchmarks/folder.py --out benchmarks/results/folder-cpu.json

Writes 50,000 PNG files of 64×64 in colour, in ten classes, and opens them in processes of their own, in turn. The files
are in the system's cache of the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset
from gan_zoo.files import write_json
from gan_zoo.training.environment import environment

SIDE = 64
CLASSES = 10


def write_images(folder: Path, count: int) -> None:
    """Smooth random images, a subfolder a class."""
    random = np.random.default_rng(0)
    for k in range(CLASSES):
        (folder / f"class-{k}").mkdir(parents=True)
    for k in range(count):
        image = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        image.save(folder / f"class-{k % CLASSES}" / f"{k:06d}.png")


def opened(folder: Path, *, cache: bool) -> dict[str, float]:
    """Seconds that opening takes in this process: of the clock, and of the processor on all threads together."""
    begun, worked = time.perf_counter(), time.process_time()
    open_dataset(Data(name="folder", path=str(folder), cache=cache))
    return {"clock": time.perf_counter() - begun, "processor": time.process_time() - worked}


def elsewhere(folder: Path, kept: Path, *, cache: bool) -> dict[str, float]:
    """The same in a process of its own, without what Python and torch take to start."""
    command = [sys.executable, __file__, "--open", str(folder), *([] if cache else ["--no-cache"])]
    variables = os.environ | {"GAN_ZOO_CACHE": str(kept)}
    output = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True, text=True).stdout
    seconds: dict[str, float] = json.loads(output)
    return seconds


def measure(count: int, repeats: int) -> dict[str, Any]:
    """Seconds of each way, a number a round."""
    taken: dict[str, list[dict[str, float]]] = {"decoded": [], "decoded and kept": [], "found again": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        write_images(folder, count)
        for k in range(repeats):
            kept = Path(place) / f"cache-{k}"
            taken["decoded"].append(elsewhere(folder, kept, cache=False))
            taken["decoded and kept"].append(elsewhere(folder, kept, cache=True))
            taken["found again"].append(elsewhere(folder, kept, cache=True))
            print({way: rounds[-1] for way, rounds in taken.items()}, flush=True)
    middle = {
        way: {kind: statistics.median(one[kind] for one in rounds) for kind in rounds[0]}
        for way, rounds in taken.items()
    }
    return {
        "images": count,
        "shape": [3, SIDE, SIDE],
        "rounds": repeats,
        "seconds": taken,
        "median": middle,
        "times less": {kind: middle["decoded"][kind] / seconds for kind, seconds in middle["found again"].items()},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("folder.json"))
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--no-cache", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        print(json.dumps(opened(asked.open, cache=not asked.no_cache)))
        return
    report = measure(asked.images, asked.rounds) | {"environment": environment(torch.device("cpu"))}
    print(json.dumps({key: report[key] for key in ("median", "times less")}, indent=2), write_json(report, asked.out))


if __name__ == "__main__":
    main()
