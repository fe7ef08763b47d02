"""Interleaved timing: the number of rounds, their order, and the time of each call."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from gan_zoo.bench import clock
from gan_zoo.bench.clock import elapsed, in_turn

CPU = torch.device("cpu")


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def takes(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.called.append(name)
            self.now += seconds

        return call


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_a_call_is_charged_its_own_time(hand: Clock) -> None:
    hand.now = 17.0
    assert elapsed(hand.takes("a", 0.25), CPU) == 0.25


def test_cases_take_turns_and_the_first_changes(hand: Clock) -> None:
    calls = {"a": hand.takes("a", 1), "b": hand.takes("b", 2), "c": hand.takes("c", 4)}
    taken = in_turn(calls, CPU, seconds=0, least=4, warm_up=1)
    assert "".join(hand.called) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert taken == {"a": [1.0] * 4, "b": [2.0] * 4, "c": [4.0] * 4}


def test_values_of_one_place_are_of_one_round(hand: Clock) -> None:
    """A machine that becomes slower at every call: within a round, cases are at most two calls apart."""
    calls = {name: lambda: setattr(hand, "now", hand.now * 1.5 + 1) for name in "ab"}
    a, b = in_turn(calls, CPU, seconds=0, least=6).values()
    assert [x < y for x, y in zip(a, b, strict=True)] == [True, False] * 3
    assert all(2 / 3 - 1e-9 <= x / y <= 3 / 2 + 1e-9 for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("seconds", "rounds"),
    [(0.0, 5), (8.0, 5), (13.0, 7), (14.0, 7), (39.0, 20), (1e9, 20)],  # a round takes 2 s
)
def test_rounds_keep_their_bounds(seconds: float, rounds: int, hand: Clock) -> None:
    calls = {"a": hand.takes("a", 0.5), "b": hand.takes("b", 1.5)}
    taken = in_turn(calls, CPU, seconds=seconds, least=5, most=20)
    assert [len(times) for times in taken.values()] == [rounds, rounds]


@pytest.mark.parametrize("warm_up", [0, 3])
def test_warming_up_is_not_counted(warm_up: int, hand: Clock) -> None:
    costs = iter([100.0] * warm_up + [1.0] * 5)

    def call() -> None:
        hand.now += next(costs)

    assert in_turn({"a": call}, CPU, seconds=3, least=5, warm_up=warm_up) == {"a": [1.0] * 5}


def test_time_on_a_cpu_is_that_of_the_wall() -> None:
    a = torch.ones(1000)
    assert 0 < elapsed(a.sum, CPU) < 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_time_on_a_gpu_is_that_of_the_device() -> None:
    device = torch.device("cuda")
    small, large = (torch.randn(n, n, device=device) for n in (256, 8192))
    taken = in_turn({"small": lambda: small @ small, "large": lambda: large @ large}, device, seconds=0.5)
    assert statistics.median(taken["large"]) > 10 * statistics.median(taken["small"])
