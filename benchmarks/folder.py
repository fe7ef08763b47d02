"""The cost of opening a folder of images: decoded, decoded and cached, read from the cache.

    python benchmarks/folder.py --out benchmarks/results/folder-cpu.json

Writes 50,000 colour PNG files of 64×64 in ten classes, and opens them in new processes, in turn. The files are in the
operating system's page cache.
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
    """Write smooth random images, one subfolder per class."""
    random = np.random.default_rng(0)
    for k in range(CLASSES):
        (folder / f"class-{k}").mkdir(parents=True)
    for k in range(count):
        image = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        image.save(folder / f"class-{k % CLASSES}" / f"{k:06d}.png")


def opened(folder: Path, *, cache: bool) -> dict[str, float]:
    """Seconds to open the folder in this process: wall clock, and CPU time of all threads."""
    begun, worked = time.perf_counter(), time.process_time()
    open_dataset(Data(name="folder", path=str(folder), cache=cache))
    return {"clock": time.perf_counter() - begun, "processor": time.process_time() - worked}


def elsewhere(folder: Path, kept: Path, *, cache: bool) -> dict[str, float]:
    """`opened` in a new process, without the start of Python and torch."""
    command = [sys.executable, __file__, "--open", str(folder), *([] if cache else ["--no-cache"])]
    variables = os.environ | {"GAN_ZOO_CACHE": str(kept)}
    output = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True, text=True).stdout
    seconds: dict[str, float] = json.loads(output)
    return seconds


def measure(count: int, repeats: int) -> dict[str, Any]:
    """Seconds of each case, by round."""
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
    options = parser.parse_args()
    if options.open:
        print(json.dumps(opened(options.open, cache=not options.no_cache)))
        return
    report = measure(options.images, options.rounds) | {"environment": environment(torch.device("cpu"))}
    print(json.dumps({key: report[key] for key in ("median", "times less")}, indent=2), write_json(report, options.out))


if __name__ == "__main__":
    main()
