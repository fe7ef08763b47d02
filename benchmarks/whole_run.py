"""The time of `gan-zoo train infogan` from command to end, and Q's accuracy.

    python benchmarks/whole_run.py --out benchmarks/results/run-cpu.json
    python benchmarks/whole_run.py --steps 100 --trunk.width 16      # further settings go to gan-zoo train

Runs the command with its default intervals of logging, pictures and checkpoints, reads the time of the steps from its
metrics, and measures accuracy by `gan-zoo evaluate`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import measuring

from gan_zoo.files import write_json
from gan_zoo.training.environment import environment
from gan_zoo.training.precision import pick_device
from gan_zoo.training.run import open_run

ZOO = [sys.executable, "-m", "gan_zoo"]


def train(folder: Path, settings: Sequence[str]) -> tuple[float, float]:
    """Train into `folder`.

    Returns:
        Seconds from the command to the first line of metrics, and to the end.
    """
    command = [*ZOO, "train", "infogan", *settings, "--out", str(folder)]
    lines, first = folder / "metrics.jsonl", 0.0
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if not first and lines.exists() and lines.stat().st_size:
                first = time.perf_counter() - begun
            time.sleep(0.01)
        whole = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return first or whole, whole


def seconds_of_steps(lines: Sequence[dict[str, Any]], batch: int) -> list[float]:
    """Seconds of the steps before each line of metrics, without pictures and checkpoints."""
    steps = [0, *(line["step"] for line in lines)]
    counts = [after - before for before, after in itertools.pairwise(steps)]
    return [n * batch / line["images_per_second"] for n, line in zip(counts, lines, strict=True)]


def accuracy(folder: Path, device: str) -> dict[str, float]:
    """The metric `clustering`: how well Q's code matches the labels."""
    command = [*ZOO, "evaluate", str(folder), "--metrics", "clustering", "--device", device, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {ended.returncode}: {ended.stderr}")
    clustering: dict[str, float] = json.loads(ended.stdout)["metrics"]["clustering"]
    return clustering


def timed(folder: Path, device: str, settings: Sequence[str]) -> dict[str, Any]:
    """Train into `folder` and return the report, without what `accuracy` measures."""
    first, whole = train(folder, ["--device", device, *settings])
    run = open_run(folder)
    training, batch = run.config.training, run.config.training.batch_size
    lines = run.metrics()
    seconds = seconds_of_steps(lines, batch)
    started = max(0.0, first - seconds[0])
    later = len(lines) // 2  # the steps of these lines are warm
    warm = lines[-1]["step"] - (lines[later - 1]["step"] if later else 0)
    return {
        "command": " ".join(["gan-zoo train infogan", *settings]),
        "seed": run.config.seed,
        "steps": training.steps,
        "training": training.model_dump(mode="json"),
        "logging": run.config.logging.model_dump(mode="json"),
        "seconds from command to end": whole,
        "seconds to the first step": started,
        "seconds from the first step on": whole - started,
        "seconds of steps": sum(seconds),
        "images/s": batch * training.steps / sum(seconds),
        "images/s, second half": batch * warm / sum(seconds[later:]),
        "share outside steps": 1 - sum(seconds) / (whole - started),
        "environment": environment(pick_device(device)),
    }


def main() -> None:
    """Train, time, write."""
    parser = measuring(__doc__, allow_abbrev=False)
    given, settings = parser.parse_known_args()

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = timed(run, given.device, settings)
        if given.out:
            write_json(result, given.out)
        clustering = accuracy(run, given.device)
    result |= {"accuracy": clustering["accuracy"], "clustering": clustering}
    print(json.dumps(result, indent=1))
    print(
        f"{result['seconds from command to end']:.1f} s from command to end, {result['seconds of steps']:.1f} s of "
        f"steps, {result['images/s, second half']:,.0f} images/s once warm, accuracy {result['accuracy']:.3f}"
    )
    if given.out:
        write_json(result, given.out)


if __name__ == "__main__":
    main()
