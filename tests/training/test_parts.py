"""The loop's parts: averages, learning rates, precision, means, loggers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from narrow import Game, narrow_config, narrow_train, one_line, weights
from torch import nn

from gan_zoo.config import Optimizer
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.prior import STATISTICS
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.training.batch_norm import measure_statistics
from gan_zoo.training.build import new_state
from gan_zoo.training.ema import EMA
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loggers.jsonlines import JSONLines
from gan_zoo.training.meter import ROWS, Meter
from gan_zoo.training.network_optimizer import lr_factor
from gan_zoo.training.precision import Precision, pick_device
from gan_zoo.training.progress import summary
from gan_zoo.trunks import layers
from gan_zoo.trunks.layers import LotNorm, LotNorm1d


def test_the_average_is_the_decayed_sum_of_weights_and_of_batch_statistics() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = EMA(module, 0.6)
    expected = {n: v.clone().double() for n, v in module.state_dict().items()}
    for t in range(1, 25):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
        module(torch.randn(8, 3))
        ema.update(module, ema.weight(t) if t % 2 else torch.tensor(ema.weight(t)))
        decay = min(0.6, (1 + t) / (10 + t))
        for name, value in module.state_dict().items():
            old = expected[name]
            expected[name] = decay * old + (1 - decay) * value if value.is_floating_point() else value.double()
    for name, value in ema.module.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-5)
    assert int(ema.module.state_dict()["1.num_batches_tracked"]) == 24  # of torch's own norm


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), LotNorm1d(4)])
def test_measured_statistics_are_means_over_batches(norm: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(norm, LotNorm1d):
        norm.rows, norm.once = 3, True
    implementations = []
    plain = layers.batch_norm
    monkeypatch.setattr(
        layers, "batch_norm", lambda *a, **k: implementations.append(k["implementation"]) or plain(*a, **k)
    )
    network = nn.Sequential(nn.Linear(3, 4), norm, nn.Dropout(0.5)).eval()
    batches = [3 * torch.randn(8, 3) + 1 for _ in range(3)]
    for _ in range(2):  # the second time replaces the first
        measure_statistics(network, network, iter(batches))
        linear, measured, _ = network
        outputs = [linear(batch) for batch in batches]
        torch.testing.assert_close(measured.running_mean, torch.stack([x.mean(0) for x in outputs]).mean(0))
        torch.testing.assert_close(measured.running_var, torch.stack([x.var(0) for x in outputs]).mean(0))
        assert measured.momentum == 0.1
        assert (getattr(measured, "rows", 3), getattr(measured, "once", True)) == (3, True)
        assert set(implementations) <= {"reference"}  # fused kernels are compiled for each momentum
        assert not any(layer.training for layer in network.modules())


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_a_checkpoint_s_batch_statistics_are_those_of_its_weights(tmp_path: Path, ema: float) -> None:
    norms = {"trunk__generator_norm": "batch", "trunk__discriminator_norm": "batch"}
    run = narrow_train("infogan", tmp_path, training__steps=8, training__ema=ema, **norms)
    model = run.load()
    assert isinstance(model, InfoGAN)
    parts = model.generator, model.discriminator, model.q
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, LotNorm)]
    assert len(layers) == 4
    kept = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]
    for layer in layers:
        layer.running_mean.fill_(9.0)
        layer.running_var.fill_(9.0)
    latents = [model.prior.sample(64, seed=0, step=k, stream=STATISTICS).input for k in range(16)]
    measure_statistics(model.generator, model.generator, latents)
    readers = nn.ModuleList([model.discriminator, model.q])
    measure_statistics(readers, lambda z: model.q(model.discriminator.trunk(model.generator(z))), latents)
    for layer, (mean, variance) in zip(layers, kept, strict=True):
        torch.testing.assert_close(layer.running_mean, mean)
        torch.testing.assert_close(layer.running_var, variance)


def test_the_average_takes_no_gradient_and_is_a_copy() -> None:
    module = nn.Linear(2, 2)
    ema = EMA(module, 0.9)
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert not ema.module.training
    nn.init.zeros_(module.weight)
    assert not torch.equal(ema.module.weight, module.weight)  # type: ignore[arg-type]


def test_the_average_is_updated_once_for_each_update_of_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []
    real_update = EMA.update
    monkeypatch.setattr(EMA, "update", lambda self, module, w: (taken.append(w), real_update(self, module, w)))
    narrow_train("gan", tmp_path, training__steps=11, training__discriminator_steps=5)
    assert taken == pytest.approx([1 - 2 / 11, 1 - 3 / 12])


def factors(steps: int = 10, **settings: Any) -> list[float]:
    return [lr_factor(Optimizer(**settings), step, steps) for step in range(steps)]


def test_learning_rates_follow_their_schedule() -> None:
    assert factors() == [1.0] * 10
    assert factors(schedule="linear") == pytest.approx([1 - k / 10 for k in range(10)])
    assert factors(schedule="cosine") == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(10)])
    assert lr_factor(Optimizer(schedule="linear"), 12, 10) == 0
    assert lr_factor(Optimizer(schedule="cosine"), 12, 10) == pytest.approx(0)


def test_schedules_end_at_the_share_that_is_set() -> None:
    assert factors(final_lr=0.25) == [1.0] * 10
    assert factors(schedule="linear", final_lr=0.25) == pytest.approx([1 - 0.75 * k / 10 for k in range(10)])
    falling = factors(steps=4, schedule="cosine", final_lr=0.25)
    assert falling == pytest.approx(
        [1, 0.25 + 0.75 * (2 + math.sqrt(2)) / 4, 0.625, 0.25 + 0.75 * (2 - math.sqrt(2)) / 4]
    )
    assert lr_factor(Optimizer(schedule="cosine", final_lr=0.25), 12, 10) == pytest.approx(0.25)


def test_the_penalties_fall_along_a_cosine_to_their_final_share() -> None:
    settings = {"loss__r1": 1.0, "loss__r2": 2.0, "training__steps": 4}
    config = narrow_config("gan", loss__final_penalty=0.2, **settings)
    steps = Iterations(new_state(config, torch.device("cpu")), open_dataset(config.data).train)
    shares = []
    for _ in range(4):
        next(steps)
        shares.append(steps.functions.penalties.share)
    assert shares == pytest.approx([1, 0.2 + 0.8 * (2 + math.sqrt(2)) / 4, 0.6, 0.2 + 0.8 * (2 - math.sqrt(2)) / 4])
    games = [Game("gan", loss__final_penalty=final, **settings) for final in (1.0, 0.2)]
    for game in games:
        game.functions.penalties.share = 0.5
    whole, half = (game.step(0)[0].terms for game in games)
    for name in ("discriminator/r1", "discriminator/r2"):
        torch.testing.assert_close(half[name], 0.5 * whole[name])


def test_warm_up_rises_to_the_schedule() -> None:
    assert factors(warmup=4) == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 7)
    assert factors(warmup=4, schedule="linear") == pytest.approx(
        [min(1, (k + 1) / 4) * (1 - k / 10) for k in range(10)]
    )


def test_each_player_s_optimizer_is_given_its_rate_times_the_factor() -> None:
    game = Game(
        "infogan",
        training__steps=10,
        optimizer__schedule="linear",
        optimizer__generator_lr=4e-3,
        optimizer__discriminator_lr=2e-3,
        optimizer__beta1=0.3,
        optimizer__beta2=0.7,
    )
    game.step(5)
    found = {name: player.adam.param_groups[0] for name, player in game.state.optimizers.items()}
    assert found["generator"]["lr"] == pytest.approx(2e-3)
    assert found["discriminator"]["lr"] == pytest.approx(1e-3)
    assert all(group["betas"] == (0.3, 0.7) for group in found.values())


def test_a_step_of_infinite_gradients_is_left_out_in_fp16_and_the_scale_halved() -> None:
    game = Game("gan", training__precision="fp16")
    game.step(0)
    scaler = game.state.precision.scaler
    before, scale = weights(game.model), scaler.get_scale()
    for parameter in game.model.generator.parameters():
        parameter.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    game.step(1)
    after = weights(game.model)
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("generator."), name
    assert scaler.get_scale() == scale / 2


@pytest.mark.parametrize(
    ("name", "dtype", "penalised_dtype"),
    [
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.bfloat16),
        ("fp16", torch.float16, torch.float32),
    ],
)
def test_products_are_computed_in_the_precision_asked_for(
    name: Any, dtype: torch.dtype, penalised_dtype: torch.dtype
) -> None:
    precision = Precision(name, torch.device("cpu"))
    a = torch.ones(4, 4)
    with precision.autocast():
        assert (a @ a).dtype == dtype
    with precision.autocast(penalised=True):
        assert (a @ a).dtype == penalised_dtype
    assert precision.scaler.is_enabled() == (name == "fp16")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cuda:-1", "meta", "xla", "cpu:x"])
def test_a_device_that_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError) as error:
        pick_device(name)
    assert one_line(error).startswith(f"--device {name!r}: ")
    with pytest.raises(InputError) as error:
        pick_device(name, "training.device =")
    assert one_line(error).startswith(f"training.device = {name!r}: ")


def test_auto_takes_a_device_that_is_here() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


class Log:
    """Writes scalars to a meter, as steps do."""

    def __init__(self) -> None:
        self.row = torch.zeros(1, dtype=torch.int64)
        self.meter = Meter(self.row)

    def add(self, step: int, **values: float) -> None:
        kind = tuple(values)
        self.meter.write(kind, [(name, torch.tensor(value)) for name, value in values.items()])
        self.row.add_(1)
        self.meter.wrote(kind, step)


def test_a_meter_gives_means_and_the_first_value_that_was_not_finite() -> None:
    log = Log()
    assert not log.meter
    log.add(1, a=1.0, b=5.0)
    log.add(2, a=2.0)
    assert log.meter
    assert log.meter.means() == {"a": 1.5, "b": 5.0}
    assert log.meter.not_finite() is None
    log.add(3, a=math.nan)
    log.add(4, a=3.0, b=math.inf)
    log.add(5, a=math.nan)
    assert log.meter.not_finite() == ("a", 3)
    assert log.meter.means() == {"a": 2.0, "b": 5.0}
    log.meter.reset()
    assert not log.meter
    assert log.meter.means() == {}
    assert log.meter.not_finite() is None


def test_a_meter_goes_on_where_its_table_is_full() -> None:
    log = Log()
    for step in range(2 * ROWS + 3):
        log.add(step, **({"a": float(step)} if step % 3 else {"a": float(step), "b": 1.0}))
    assert log.meter.means() == {"a": pytest.approx(ROWS + 1), "b": 1.0}


def test_a_name_that_a_step_writes_twice_is_averaged_over_both() -> None:
    log = Log()
    log.meter.write("parts", [("a", torch.tensor(1.0)), ("a", torch.tensor(4.0))])
    log.row.add_(1)
    log.meter.wrote("parts", 1)
    assert log.meter.means() == {"a": 2.5}


def test_a_log_that_goes_on_drops_lines_of_steps_that_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "lo')
    log = JSONLines(path, 2)
    log.log({"step": 3, "loss": 0.5})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "loss": 0.5},
    ]
    log.close()


@pytest.mark.parametrize("junk", ["\0\0\0\n", "not json\n", "[1, 2]\n", '{"loss": 1}\n'])
def test_a_line_that_is_none_of_the_log_s_is_dropped_when_it_goes_on(junk: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + junk)
    JSONLines(path, 5).close()
    assert path.read_text() == '{"step": 1}\n'


def test_the_progress_line_has_adversarial_losses_and_each_code_beside_its_maximum() -> None:
    record = {
        "images_per_second": 812.4, "discriminator/adversarial": 1.2, "discriminator/information": -2.3,
        "generator/adversarial": 0.8, "mi/c1": 2.29, "mi/c2": -0.2, "mi": 2.09, "entropy/c1": math.log(10),
    }  # fmt: skip
    assert summary(record) == "812 images/s  D 1.200  G 0.800  L_I c1 2.29/2.30  c2 -0.20 nats"
    many = {"images_per_second": 1.0, "discriminator/critic": 1.5, **{f"mi/c{k}": 0.5 for k in range(1, 11)}}
    assert summary(many) == "1 images/s  D 1.500  L_I c1 0.50  c2 0.50  c3 0.50  c4 0.50  and 6 more nats"
