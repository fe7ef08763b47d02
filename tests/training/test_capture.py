"""Steps that are recorded once and replayed: on a stand-in for CUDA graphs (`recorder`), and on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from narrow import moved, narrow_config, weights
from recorder import FORBIDDEN, Operations, Recorder
from torch import Tensor

from gan_zoo.data.dataset import LazyImages, Split, open_dataset
from gan_zoo.draws import Draws
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan_cr.model import InfoGANCR
from gan_zoo.models.stylegan2.model import StyleGAN2
from gan_zoo.shapes import ImageShape
from gan_zoo.training.build import new_state
from gan_zoo.training.capture import WARM_UP, Captured, CudaGraphs, capture_obstacle
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.network_optimizer import NetworkOptimizer
from gan_zoo.training.phases import announces_phases
from gan_zoo.training.precision import tuned
from gan_zoo.training.ranks import ALONE, Ranks
from gan_zoo.training.step_tables import STEPS

Settings = dict[str, Any]
VARIED: Settings = {"data__augment": "shift:0.1", "optimizer__schedule": "linear", "training__steps": 40}
RECIPE: Settings = {"infogan__consistency": 1.0, "data__warp": "rotate:0.2, elastic:0.04"}
TINY: Settings = {"data__resolution": 8, "trunk__width": 2}
KINDS: dict[str, tuple[str, Settings, int]] = {  # with how many kinds of step each has
    "infogan": ("infogan", {}, 1),
    "recipe": ("infogan", RECIPE, 1),
    "in parts": ("infogan", {"training__accumulate": 2, **VARIED}, 1),
    "simultaneous": ("acgan", {"training__update": "simultaneous", **VARIED}, 1),
    "penalties": ("r3gan", TINY, 1),
    "falling penalties": ("gan", {"loss__r1": 9.0, "loss__r2": 9.0, "loss__final_penalty": 0.1, **VARIED}, 1),
    "penalties, simultaneous": ("r3gan", {"training__update": "simultaneous", **TINY}, 1),
    "lazy penalties": ("gan", {"loss__r1": 1.0, "loss__penalty_interval": 3}, 2),
    "path lengths": ("stylegan2", {"loss__penalty_interval": 1, "stylegan2__path_length_interval": 2, **TINY}, 2),
    "adaptive augmentation": ("gan", {"data__augment": "flip, shift, brightness", "data__augment_target": 0.6}, 1),
    "noise inputs": ("infogan", {"trunk__name": "stylegan2", **TINY}, 1),
    "WGAN-GP": ("wgan-gp", {"training__discriminator_steps": 2}, 2),
    "spectral norm": ("sngan", {"training__discriminator_steps": 2}, 2),
    "projection": ("projection-gan", {"training__discriminator_steps": 1}, 1),
    "codes within a class": ("infogan", {"infogan__conditional": True}, 1),
    "skipping": ("infogan", {"training__on_nan": "skip"}, 1),
    "learned prior": ("infogan", {"infogan__prior": "learned", "infogan__prior_delay": 4}, 1),
    "frozen layers": ("infogan", {"trunk__freeze_d": 1}, 1),
    "pairs": ("infogan-cr", {"infogan_cr__contrast_after": 5}, 2),
    "gradient checkpointing": ("infogan", {"training__gradient_checkpointing": True}, 1),
}


def iterations(model: str, *, recorder: Recorder | None = None, **settings: Any) -> Iterations:
    config = narrow_config(model, **settings)
    made = Iterations(new_state(config, torch.device("cpu")), open_dataset(config.data).train)
    if recorder:
        made.read_rates_on_device()
        made.captured = Captured(made.state, recorder, pytest.fail)
    return made


def assert_alike(eager: Iterations, other: Iterations) -> None:
    assert other.meter.means() == pytest.approx(eager.meter.means(), rel=1e-4, abs=1e-5)
    for name, weight in weights(eager.state.model).items():
        torch.testing.assert_close(weights(other.state.model)[name], weight, rtol=1e-4, atol=1e-5)
    if eager.state.ema and other.state.ema:
        averages = [dict(run.state.ema.module.state_dict()) for run in (eager, other) if run.state.ema]
        torch.testing.assert_close(*averages, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_replayed_steps_are_the_steps_that_are_played(name: str) -> None:
    model, settings, kinds = KINDS[name]
    recorder = Recorder()
    eager, replayed = iterations(model, **settings), iterations(model, recorder=recorder, **settings)
    eager.read_rates_on_device()  # rates from the host round differently
    for _ in range(16):
        next(eager), next(replayed)
    assert eager.meter.means() == replayed.meter.means()
    assert_alike(eager, replayed)
    assert moved(weights(eager.state.model), replayed.state.model) == set()
    assert recorder.recorded == kinds
    assert (recorder.warmed, recorder.replayed) == (kinds * WARM_UP, 16 - kinds * WARM_UP)


@pytest.mark.parametrize("name", KINDS)
def test_the_host_does_nothing_in_a_captured_step_but_replay_it(name: str) -> None:
    model, settings, _ = KINDS[name]
    recorder = Recorder()
    replayed = iterations(model, recorder=recorder, **settings)
    for _ in range(14):
        next(replayed)
    with Unless(recorder) as operations:
        for _ in range(3):
            next(replayed)
    assert operations.names == []


class Unless(Operations):
    """Notes the operations that are not a replay's."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.recorder.replaying:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)


def test_steps_go_on_where_what_was_uploaded_ends() -> None:
    calm = {"optimizer__generator_lr": 1e-9, "optimizer__discriminator_lr": 1e-9}  # 260 steps are a chaotic game
    settings = {"trunk__width": 2, "training__batch_size": 2, **calm}
    eager, replayed = iterations("gan", **settings), iterations("gan", recorder=Recorder(), **settings)
    for _ in range(STEPS + 4):
        next(eager), next(replayed)
    assert_alike(eager, replayed)


def test_a_streamed_set_s_batches_are_written_to_one_place() -> None:
    def read(indices: Tensor) -> Tensor:
        return (6 * indices).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)

    images = LazyImages(read, ImageShape(1, 8), torch.arange(40))
    runs = []
    for recorder in (None, Recorder()):
        config = narrow_config("r3gan", data__workers=0, **TINY)
        made = Iterations(new_state(config, torch.device("cpu")), Split(images))
        if recorder:
            made.read_rates_on_device()
            made.captured = Captured(made.state, recorder, pytest.fail)
        for _ in range(8):
            next(made)
        runs.append(made)
    assert_alike(*runs)


def test_a_resumed_run_draws_what_the_captured_one_would_have(tmp_path: Path) -> None:
    whole, rest = (iterations("infogan", recorder=Recorder(), **VARIED) for _ in range(2))
    for _ in range(6):
        next(whole)
    whole.state.save(tmp_path, keep=1)
    for _ in range(6):
        next(whole)
    rest = iterations("infogan", **VARIED)
    rest.state.load(tmp_path / "step-00000006")
    for _ in range(6):
        next(rest)
    for name, weight in weights(whole.state.model).items():
        torch.testing.assert_close(weights(rest.state.model)[name], weight, rtol=1e-4, atol=1e-5)


class Broken(Recorder):
    """Leaves gradients, as a capture does that ends within a step."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NetworkOptimizer, "update", lambda player: fail(f"{FORBIDDEN}\nand more"))
            return super().record(run)


def fail(reason: str) -> None:
    raise RuntimeError(reason)


def test_a_step_that_cannot_be_recorded_is_played_and_the_reason_is_said_once() -> None:
    eager, other = (iterations("infogan", **VARIED) for _ in range(2))
    said: list[str] = []
    broken = Broken()
    other.captured = Captured(other.state, broken, said.append)
    for _ in range(WARM_UP + 3):
        next(eager), next(other)
    assert said == [f"no CUDA graph: {FORBIDDEN}"]
    assert broken.recorded == 1
    assert_alike(eager, other)


def assert_not_frozen(eager: Iterations, other: Iterations) -> None:
    """`other`, which is to be recorded, says why it is not, and makes the eager steps."""
    said: list[str] = []
    other.captured = Captured(other.state, Recorder(), said.append)
    for _ in range(WARM_UP + 4):
        next(eager), next(other)
    assert said == ["no CUDA graph: the objective reads latents.step: a model whose steps differ must override `phase`"]
    assert_alike(eager, other)


def test_an_objective_that_reads_the_step_is_not_frozen_into_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    real = GAN.generator_objective

    def annealed(model: GAN, tensors: StepTensors) -> Objective:
        objective = real(model, tensors)
        return Objective({name: term / (1 + tensors.latents.step) for name, term in objective.terms.items()})

    monkeypatch.setattr(GAN, "generator_objective", annealed)
    eager, other = (iterations("gan") for _ in range(2))
    assert_not_frozen(eager, other)


class Annealed(InfoGAN):
    """Inherits the phases of the consistency term, of which one that falls with the step is not one."""

    def generator_objective(self, step: StepTensors) -> Objective:
        objective = super().generator_objective(step)
        return Objective({name: term / (1 + step.latents.step) for name, term in objective.terms.items()})


class Weighed(InfoGAN):
    """Inherits the phases, which are all there is to its steps."""

    def generator_objective(self, step: StepTensors) -> Objective:
        objective = super().generator_objective(step)
        return Objective({name: 2 * term for name, term in objective.terms.items()})


def by_step(objective: Objective, tensors: StepTensors) -> Objective:
    return Objective({name: term / (1 + tensors.latents.step) for name, term in objective.terms.items()})


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(model: GAN, tensors: StepTensors) -> Any:
        return by_step(method(model, tensors), tensors)

    return wrapper


class Helped(InfoGAN):
    def generator_objective(self, step: StepTensors) -> Objective:
        return by_step(super().generator_objective(step), step)


class Decorated(InfoGAN):
    @counted
    def generator_objective(self, step: StepTensors) -> Objective:
        return super().generator_objective(step)


class Renamed(InfoGAN):
    def additional_images(self, real: Tensor, latents: Latents, random: Draws) -> tuple[Tensor, ...]:
        drawn = latents
        return super().additional_images(real, drawn, random) if drawn.step else ()


class Mixin:
    @property
    def scale(self) -> float:
        return 1 / (1 + self.latents.step)  # type: ignore[attr-defined]


class Mixed(InfoGAN, Mixin):
    pass


class Recalling(InfoGAN):
    anything = mock.call  # has every attribute, without end


def test_a_class_that_reads_the_step_by_any_way_does_not_inherit_its_phases() -> None:
    silent = InfoGAN, InfoGANCR, StyleGAN2, Weighed, Recalling
    assert {kind.__name__: announces_phases(kind) for kind in silent} == {kind.__name__: True for kind in silent}
    reading = GAN, Annealed, Helped, Decorated, Renamed, Mixed
    assert {kind.__name__: announces_phases(kind) for kind in reading} == {kind.__name__: False for kind in reading}


def test_a_model_s_own_reading_of_the_step_is_not_frozen_by_the_phases_it_inherits() -> None:
    eager, other = (iterations("infogan", **RECIPE) for _ in range(2))
    for made in (eager, other):
        made.state.model.__class__ = Annealed
    assert_not_frozen(eager, other)


def test_on_a_cpu_auto_says_nothing_and_on_says_why_there_is_no_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gan_zoo import api

    settings = {"steps": 1, "batch_size": 4, "trunk.width": 4, "device": "cpu"}
    api.train("infogan", {}, out=tmp_path / "auto", **settings)
    assert "CUDA graph" not in capsys.readouterr().out
    run = api.train("infogan", {}, out=tmp_path / "on", **{"training.cuda_graph": "on"}, **settings)
    assert "no CUDA graph: the device is cpu" in capsys.readouterr().out
    assert run.metrics()[-1]["step"] == 1


@pytest.mark.parametrize(("before", "now"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_a_switch_of_an_earlier_release_is_understood(before: object, now: str) -> None:
    training = narrow_config("gan", training__cuda_graph=before, training__channels_last=before).training
    assert (training.cuda_graph, training.channels_last) == (now, now)


def test_several_ranks_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = iterations("gan").state.model
    assert capture_obstacle(model, ALONE) == "the device is cpu"
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    assert capture_obstacle(model, ALONE) is None
    assert "several ranks" in str(capture_obstacle(model, Ranks(0, 2)))


def losses_of_a_step(made: Iterations) -> dict[str, float]:
    next(made)
    means = made.meter.means()
    made.meter.reset()
    return means


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        *((model, settings) for model, settings, _ in KINDS.values()),
        ("infogan", {"training__precision": "bf16"}),
        ("infogan", {"training__precision": "fp16", "training__on_nan": "skip"}),
        ("infogan", {"training__compile": True, **RECIPE}),
        ("infogan", {"training__channels_last": "off", **VARIED}),
    ],
)
def test_captured_steps_have_the_losses_of_eager_ones(model: str, settings: Settings) -> None:
    """With small learning rates: at larger ones Adam turns differences of rounding into whole steps."""
    calm = {"optimizer__generator_lr": 1e-5, "optimizer__discriminator_lr": 1e-5, "training__tf32": False}
    device, said, runs = torch.device("cuda:0"), [], {}
    for mode in ("off", "on"):
        config = narrow_config(model, **calm | settings | {"training__device": "cuda", "training__cuda_graph": mode})
        with tuned(config.training, device):
            made = Iterations(new_state(config, device), open_dataset(config.data).train, said.append)
            runs[mode] = [losses_of_a_step(made) for _ in range(14)]
    assert said == []
    assert made.captured is not None
    assert made.captured.replays
    assert all(made.captured.replays.values())
    for a, b in zip(*runs.values(), strict=True):
        assert b == pytest.approx(a, rel=2e-2, abs=2e-2)


@pytest.mark.gpu
def test_a_graph_is_captured_while_a_loader_pins_memory(tmp_path: Path) -> None:
    said: list[str] = []
    config = narrow_config("r3gan", training__device="cuda", data__memory=0.0, data__workers=1)
    made = Iterations(new_state(config, torch.device("cuda:0")), open_dataset(config.data).train, said.append)
    for _ in range(12):
        next(made)
    made.close()
    assert said == []


@pytest.mark.gpu
def test_after_a_capture_that_failed_memory_is_freed_and_another_step_is_captured() -> None:
    device = torch.device("cuda:0")
    graphs, x = CudaGraphs(device), torch.ones(4, device=device)
    with pytest.raises(RuntimeError):
        graphs.record(lambda: (x + 1).sum().item())
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # raises while the allocator believes in a capture
    graphs.warm(lambda: x.add_(1))
    replay = graphs.record(lambda: x.add_(1))
    replay()
    torch.cuda.synchronize()
    assert x.tolist() == [3.0] * 4
