"""Shared parts of the benchmarks: command lines, the runs of a study, JSON output."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import gan_zoo
from gan_zoo.config_text import changes
from gan_zoo.errors import InputError
from gan_zoo.files import write_json
from gan_zoo.resolve import resolve
from gan_zoo.training.environment import environment
from gan_zoo.training.run import Run, open_run

FREE = ("training.precision", "data.resolution", "data.channels", "data.classes")
"""Settings that may differ from the requested ones, since a run derives them from device and data.

With constant learning rates the number of steps may differ, too: only the end of the run depends on it."""


def train_or_open(folder: Path, config: str, **settings: Any) -> Run:
    """Train InfoGAN by a preset or file and further settings into `folder`, or open the run if it is complete."""
    if (folder / "config.toml").exists():
        run, requested = open_run(folder), resolve("infogan", config, settings)
        free = (*FREE, "training.steps") if requested.optimizer.schedule == "constant" else FREE
        differing = [c for c in changes(run.config, requested) if not c.startswith(free)]
        if differing:
            raise InputError(f"{folder} was trained with other settings: {'; '.join(differing)}; name another --runs")
        lines = run.metrics()
        if lines and lines[-1]["step"] >= requested.training.steps:
            return run
    return gan_zoo.train("infogan", config, out=folder, resume=True, **settings)


def measuring(description: str, **options: Any) -> argparse.ArgumentParser:
    """A command line with --device and --out."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0], **options)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


def study(description: str, *, config: str | None, seeds: Sequence[int] = (0, 1, 2)) -> argparse.ArgumentParser:
    """A command line with --seeds, --runs and, unless `config` is None, --config."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    if config:
        parser.add_argument("--config", default=config, help="preset or file (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    return parser


def compare(
    arms: Mapping[str, Mapping[str, Any]],
    config: str,
    seeds: Sequence[int],
    folder: Callable[[str, int], Path],
    measure: Callable[[Run], dict[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """Train or open a run for each arm and seed, measure it, and print the row.

    Args:
        arms: Settings of each arm, by name.
        config: Preset or file.
        seeds: Seeds of each arm.
        folder: The run folder of an arm and a seed.
        measure: What to measure of a run.

    Returns:
        The rows of each arm, in the order of the seeds.
    """
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for seed in seeds:
        for arm, settings in arms.items():
            run = train_or_open(folder(arm, seed), config, seed=seed, **settings)
            rows[arm].append({"seed": seed, **measure(run)})
            print(json.dumps({"arm": arm, **rows[arm][-1]}), flush=True)
    return rows


def finish(result: Mapping[str, Any], out: Path | None, shown: str) -> None:
    """Print a part of the result, and write all of it with its environment."""
    print(json.dumps(result[shown], indent=1))
    if out:
        write_json({**result, "environment": environment(torch.device("cpu"))}, out)
