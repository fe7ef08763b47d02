"""Steps that are recorded once and replayed: what must be written anew before each replay, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from narrow import narrow_config, narrow_train, weights

from gan_zoo.data.dataset import open_dataset
from gan_zoo.models.gan.model import Objective
from gan_zoo.training.capture import WARM_UP, Captured, why_not
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loop import new_state
from gan_zoo.training.player import Player
from gan_zoo.training.step import ORDERS

VARIED = {"data__augment": "shift:0.1", "optimizer__schedule": "linear", "training__steps": 20}


class Tape:
    """A graph that replays by running what it was given, on the tensors that it was given."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.warmed = self.captures = self.replays = 0
        self.results: list[Objective] = []

    def warm(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        self.warmed += 1
        return run()

    def capture(self, run: Callable[[], list[Objective]]) -> list[Objective]:
        self.captures += 1
        if self.failure:
            self.break_off(run)
        self.run = run
        return self.results

    def break_off(self, run: Callable[[], list[Objective]]) -> None:
        """Leave gradients, as a capture does that ends within a step."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Player, "update", lambda player: self.fail())
            run()

    def fail(self) -> None:
        raise RuntimeError(self.failure)

    def replay(self) -> None:
        self.replays += 1
        self.results[:] = self.run()


def iterations(model: str, **settings: object) -> Iterations:
    config = narrow_config(model, **settings)
    return Iterations(new_state(config, torch.device("cpu")), open_dataset(config.data).train)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("model", ["infogan", "acgan", "r3gan"])
def test_replayed_steps_are_the_steps_that_are_played(model: str, parts: int, order: str) -> None:
    settings = {"training__update": order, "training__accumulate": parts, **VARIED}
    eager, replayed = (iterations(model, **settings) for _ in range(2))
    tape = Tape()
    replayed.play = Captured(replayed.play, tape, pytest.fail)
    for _ in range(8):
        told, found = next(eager), next(replayed)
        for a, b in zip(told, found, strict=True):
            assert {n: v.item() for n, v in b.terms.items()} == pytest.approx(
                {n: v.item() for n, v in a.terms.items()}, rel=1e-4, abs=1e-5
            )
    assert (tape.warmed, tape.captures, tape.replays) == (WARM_UP, 1, 8 - WARM_UP)
    for name, weight in weights(eager.state.model).items():
        torch.testing.assert_close(weights(replayed.state.model)[name], weight, rtol=1e-4, atol=1e-5)


def test_a_step_that_cannot_be_recorded_is_played_and_the_reason_is_said_once() -> None:
    eager, other = (iterations("infogan", **VARIED) for _ in range(2))
    said: list[str] = []
    tape = Tape("operation not permitted when stream is capturing\nand more")
    other.play = Captured(other.play, tape, said.append)
    for _ in range(WARM_UP + 3):
        next(eager), next(other)
    assert said == ["no CUDA graph: operation not permitted when stream is capturing"]
    assert tape.captures == 1
    for name, weight in weights(eager.state.model).items():
        torch.testing.assert_close(weights(other.state.model)[name], weight, rtol=1e-4, atol=1e-5)


def test_on_a_cpu_a_run_says_why_there_is_no_graph_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gan_zoo import api

    settings = {"training.cuda_graph": "on", "steps": 1, "batch_size": 4, "trunk.width": 4, "device": "cpu"}
    run = api.train("infogan", {}, out=tmp_path / "run", **settings)
    assert "no CUDA graph: the device is cpu" in capsys.readouterr().out
    assert run.metrics()[-1]["step"] == 1


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("sngan", {"training__discriminator_steps": 2}, "training.discriminator_steps = 2"),
        ("gan", {"loss__r1": 1.0, "loss__penalty_interval": 4}, "loss.penalty_interval = 4"),
        ("infogan", {"infogan__prior": "learned"}, "the prior is learned"),
        ("infogan", {"infogan__consistency": 1.0, "data__warp": "rotate:0.1"}, None),
        ("infogan-cr", {}, None),
        ("infogan-cr", {"infogan_cr__contrast_after": 5, "training__steps": 20}, "change with the step"),
        ("infogan", {}, None),
        ("gan", {"loss__r1": 1.0}, None),
    ],
)
def test_steps_that_are_not_alike_are_not_captured(
    model: str, settings: dict[str, object], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = iterations(model, **settings).state.model
    assert why_not(built) == "the device is cpu"
    monkeypatch.setattr(type(built), "device", torch.device("cuda"))
    assert (why_not(built) or "") == (words or "") or (words and words in str(why_not(built)))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"training__precision": "bf16"},
        {"training__precision": "fp16"},
        {"training__accumulate": 2},
        {"training__update": "simultaneous"},
        {"training__compile": True},
        VARIED,
    ],
)
def test_a_captured_run_tells_the_losses_of_an_eager_one(settings: dict[str, object], tmp_path: Path) -> None:
    runs = [
        narrow_train(
            "infogan",
            tmp_path / str(graph),
            **{
                "training__device": "cuda",
                "training__steps": 12,
                "training__cuda_graph": "on" if graph else "off",
                **settings,
            },
        ).metrics()
        for graph in (False, True)
    ]
    for a, b in zip(*runs, strict=True):
        a, b = ({k: v for k, v in line.items() if k != "images_per_second"} for line in (a, b))
        assert b == pytest.approx(a, rel=2e-2, abs=2e-2)
