"""The share of time in which a GPU is busy, from the intervals of its kernels."""

from __future__ import annotations

import pytest
import torch

from gan_zoo.bench import busy as module
from gan_zoo.bench.busy import busy, covered


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0.0),
        ([(1.0, 2.0), (3.0, 5.0)], 3.0),
        ([(3.0, 5.0), (1.0, 4.0)], 4.0),  # overlapping and unordered
        ([(1.0, 9.0), (2.0, 3.0), (4.0, 5.0)], 8.0),  # one contains the others
    ],
)
def test_the_union_of_intervals_counts_nothing_twice(spans: list[tuple[float, float]], length: float) -> None:
    assert covered(spans) == length


def test_a_cpu_has_no_such_facts_and_makes_no_step() -> None:
    assert busy(pytest.fail, torch.device("cpu"), seconds=1.0) == {}


@pytest.mark.gpu
def test_kernels_and_copies_are_counted_and_the_host_waits_for_none() -> None:
    device = torch.device("cuda")
    a, made = torch.randn(2048, 2048, device=device), []
    out = torch.empty_like(a)

    def steps(count: int) -> None:
        made.append(count)
        for _ in range(count):
            torch.add(a, a, out=out)
            out.copy_(a)
            out.zero_()

    facts = busy(steps, device, seconds=1e-3)
    assert facts["kernels"] == 3
    assert 0 < facts["busy"] < 0.5
    assert 0 < facts["host_seconds"] < 1e-3
    assert sum(made) == module.TIMED + module.PROFILED
