"""The time of each operator in a step of InfoGAN on the paper's network.

python benchmarks/profile_step.py --out benchmarks/results/profile-cpu.json
"""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from runs import measuring
from torch.profiler import ProfilerActivity, profile

from gan_zoo.bench.step import Running
from gan_zoo.bench.workloads import PAPER
from gan_zoo.files import write_json
from gan_zoo.training.environment import environment
from gan_zoo.training.precision import pick_device, pick_precision

STEPS = 10
SHOWN = 12


def shares(precision: str, device: torch.device) -> dict[str, float]:
    """The share of time of each operator without its callees, largest first, and of all others together."""
    case = Running(replace(PAPER, precision=precision).config("infogan", {}, device))
    case.steps(3)
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        case.steps(STEPS)
    by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    times = sorted(((getattr(event, by), event.key) for event in profiled.key_averages()), reverse=True)
    total = sum(time for time, _ in times)
    listed = {name: time / total for time, name in times[:SHOWN]}
    return listed | {"all others": 1 - sum(listed.values())}


def main() -> None:
    """Profile, show, write."""
    parser = measuring(__doc__)
    given = parser.parse_args()

    device = pick_device(given.device)
    precisions = dict.fromkeys(("fp32", pick_precision("auto", device)))
    result = {
        "steps": STEPS,
        "shares": {precision: shares(precision, device) for precision in precisions},
        "environment": environment(device),
    }
    print(json.dumps(result["shares"], indent=1))
    if given.out:
        write_json(result, given.out)


if __name__ == "__main__":
    main()
