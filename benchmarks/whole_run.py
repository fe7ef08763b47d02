"""What a run costs beside its steps: the start, waiting for data, logging, pictures and checkpoints.

    python benchmarks/whole_run.py --out benchmarks/results/run-cpu.json

Trains the default preset with its own intervals, in a process of its own, and times its parts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import gan_zoo
from gan_zoo.files import write_json
from gan_zoo.training import loop
from gan_zoo.training.environment import environment
from gan_zoo.training.iterations import Iterations


class Timed(Iterations):
    """Iterations that know how long they took."""

    last: Timed
    begun = inside = 0.0

    def __next__(self) -> Any:
        """Make a step; the device is waited for, so that what follows is not billed for it."""
        begun = time.perf_counter()
        Timed.last, self.begun = self, self.begun or begun
        objectives = super().__next__()
        if self.state.model.device.type == "cuda":
            torch.cuda.synchronize()
        self.inside += time.perf_counter() - begun
        return objectives


def first_step(folder: Path) -> float:
    """Seconds from the command to the first line of metrics."""
    command = [sys.executable, "-m", "gan_zoo", "train", "infogan", "--steps", "2", "--log-every", "1"]
    begun = time.perf_counter()
    with subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.DEVNULL) as process:
        lines = folder / "metrics.jsonl"
        while process.poll() is None and not (lines.exists() and lines.stat().st_size):
            time.sleep(0.01)
        taken = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return taken


def main() -> None:
    """Train, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        started = first_step(Path(folder) / "started")
        loop.Iterations = Timed  # type: ignore[misc]
        run = gan_zoo.train("infogan", out=Path(folder) / "run", quiet=True, steps=given.steps)
        whole = time.perf_counter() - Timed.last.begun
        stepped, waited = Timed.last.inside, Timed.last.waited
        intervals = run.config.logging.model_dump()
    result = {
        "steps": given.steps,
        "logging": intervals,
        "seconds to the first step": started,
        "seconds from the first step on": whole,
        "share outside steps": 1 - stepped / whole,
        "share of steps waiting for data": waited / stepped,
        "environment": environment(Timed.last.state.model.device),
    }
    print(json.dumps(result, indent=1))
    if given.out:
        write_json(result, given.out)


if __name__ == "__main__":
    main()
