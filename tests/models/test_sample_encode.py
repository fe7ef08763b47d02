"""`model.sample` and `model.encode`: shapes, ranges, held codes, and what they refuse."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from narrow import MIX, Game, narrow_train, one_line
from torch.nn.modules.module import register_module_forward_pre_hook

from gan_zoo import api
from gan_zoo.data.batches import normalise
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.q_head import Gaussian
from gan_zoo.registry import models


@pytest.fixture(scope="module")
def infogan() -> InfoGAN:
    model = Game("infogan", infogan__codes=MIX).model
    assert isinstance(model, InfoGAN)
    return model


@pytest.mark.parametrize("model", models.entries)
def test_samples_are_images_in_minus_one_to_one_decided_by_the_seed(model: str) -> None:
    made = Game(model).model
    images = made.sample(5, seed=1)
    assert images.shape == (5, 1, made.image.resolution, made.image.resolution)
    assert images.dtype == torch.float32
    assert not images.requires_grad
    assert images.abs().max() <= 1
    assert torch.equal(images, made.sample(5, seed=1))
    assert not torch.equal(images, made.sample(5, seed=2))


def test_sampling_leaves_mode_and_statistics_as_they_were() -> None:
    model = Game("infogan").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.sample(4)
    model.encode(torch.zeros(4, 1, 28, 28))  # type: ignore[operator]
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_held_code_is_what_the_generator_is_given(infogan: InfoGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[torch.Tensor] = []
    hook = infogan.generator.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    infogan.sample(6, seed=4)
    infogan.sample(6, {"c1": 3, "c2": -1.5, "c7": 1}, seed=4)
    infogan.sample(6, {"c2": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, seed=4)
    infogan.sample(6, {"c3": torch.tensor([0, 1, 2, 0, 1, 2])}, seed=4)
    hook.remove()
    drawn, held, each, classes = given
    assert torch.equal(held[:, 6:11], torch.eye(5)[3].expand(6, 5))
    assert torch.equal(held[:, 11], torch.full((6,), -1.5))
    assert torch.equal(held[:, 20], torch.ones(6))
    rest = [*range(6), *range(12, 20), 21]
    assert torch.equal(held[:, rest], drawn[:, rest])
    assert each[:, 11].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert classes[:, 12:15].argmax(1).tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({"c9": 1}, "unknown code 'c9'"),
        ({"c1": 5}, "code c1 takes whole numbers from 0 to 4, not 5"),
        ({"c1": 0.5}, "code c1 takes whole numbers from 0 to 4, not 0.5"),
        ({"c1": [0, 1, 2, 3, 4, 5]}, "code c1 takes whole numbers from 0 to 4, not 5"),
        ({"c7": 2}, "code c7 takes whole numbers from 0 to 1, not 2"),
        ({"c2": math.nan}, "code c2 takes finite numbers"),
        ({"c2": [0.0, 1.0]}, r"code c2 must have one value or 6, not the shape [2]"),
        ({"c2": [[0.0] * 6]}, r"code c2 must have one value or 6, not the shape [1, 6]"),
    ],
)
def test_a_code_that_is_not_there_or_a_value_it_does_not_take_is_refused(
    infogan: InfoGAN, codes: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError) as error:
        infogan.sample(6, codes)  # type: ignore[arg-type]
    assert told in one_line(error)


def test_a_model_without_codes_holds_none() -> None:
    with pytest.raises(InputError, match="unknown code 'c1'"):
        Game("gan").model.sample(2, {"c1": 0})


def test_encoding_gives_a_posterior_for_every_code(infogan: InfoGAN) -> None:
    found = infogan.encode(infogan.sample(7))
    assert list(found) == [f"c{k}" for k in range(1, 9)]
    for code in infogan.codes:
        posterior = found[code.name]
        if code.kind == "categorical":
            assert isinstance(posterior, torch.Tensor)
            assert posterior.shape == (7, code.classes)
            assert torch.allclose(posterior.sum(1), torch.ones(7))
        elif code.kind == "bernoulli":
            assert isinstance(posterior, torch.Tensor)
            assert posterior.shape == (7,)
            assert bool(((posterior > 0) & (posterior < 1)).all())
        else:
            assert isinstance(posterior, Gaussian)
            assert posterior.mean.shape == posterior.log_variance.shape == (7,)
            assert bool((posterior.log_variance.abs() <= 8).all())


def test_an_image_is_encoded_alike_alone_and_among_others(infogan: InfoGAN) -> None:
    images = infogan.sample(5)
    together, alone = infogan.encode(images), infogan.encode(images[:1])
    torch.testing.assert_close(together["c1"][:1], alone["c1"])
    torch.testing.assert_close(together["c2"][0][:1], alone["c2"][0])


def test_acgan_encodes_the_label() -> None:
    found = Game("acgan").model.encode(torch.zeros(3, 1, 28, 28))  # type: ignore[operator]
    assert list(found) == ["label"]
    assert found["label"].shape == (3, 10)
    assert torch.allclose(found["label"].sum(1), torch.ones(3))


@pytest.mark.parametrize("model", ["infogan", "acgan"])
@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (4, 3, 28, 28), (4, 1, 32, 32)])
def test_images_of_another_shape_are_not_encoded(model: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\[n, 1, 28, 28\]") as error:
        Game(model).model.encode(torch.zeros(shape))  # type: ignore[operator]
    assert str(list(shape)) in one_line(error)


@pytest.mark.parametrize("prior", ["uniform", "learned"])
def test_images_drawn_in_batches_are_those_of_one_draw(prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Game("infogan", infogan__codes=MIX, infogan__prior=prior).model
    held = {"c1": 3, "c2": [k / 10 for k in range(10)]}
    whole = model.sample(10, held, seed=2)
    sizes = []
    hook = model.generator.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("gan_zoo.models.gan.model.MAX_IMAGES_AT_ONCE", 4)
    parts = model.sample(10, held, seed=2)
    drawn = list(model.draw(10, held, seed=2))
    generated = model.generate(model.prior.sample(10, seed=2))
    hook.remove()
    assert sizes == [4, 4, 2] * 3
    assert [len(part) for part in drawn] == [4, 4, 2]
    assert len(generated) == 10
    torch.testing.assert_close(parts, whole)
    assert torch.equal(torch.cat(drawn), parts)
    seven = model.sample(7, {"c1": 3, "c2": held["c2"][:7]}, seed=2)  # type: ignore[index]
    assert torch.equal(parts[:4], seven[:4])
    torch.testing.assert_close(parts[:7], seven)  # a batch of 4 and one of 3 round differently
    assert not torch.equal(parts[:4], parts[4:8])


def test_the_batch_falls_as_images_grow() -> None:
    small, large = (Game("gan", data__resolution=side, data__channels=3).model for side in (32, 256))
    assert (small.at_once, large.at_once) == (256, 10)


@pytest.mark.parametrize("model", ["infogan", "acgan"])
def test_images_are_encoded_in_batches_as_they_are_at_once(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = Game(model).model
    images = made.sample(7)
    whole = made.encode(images)
    monkeypatch.setattr("gan_zoo.models.gan.model.MAX_IMAGES_AT_ONCE", 3)
    parts = made.encode(images)
    for name, found in whole.items():
        torch.testing.assert_close(parts[name], found)


def test_more_images_than_memory_holds_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(InputError, match="of memory") as error:
        Game("gan").model.sample(10**12)
    assert "1,000,000,000,000 images" in one_line(error)


@pytest.mark.parametrize(
    ("n", "seed", "told"),
    [
        (0, 0, "n must be"),
        (2.0, 0, "n must be"),
        ("2", 0, "n must be"),
        (2, -1, "seed must be"),
        (2, 2**64, "seed must be"),
        (2, 0.5, "seed must be"),
    ],
)
def test_numbers_that_are_none_are_refused(n: Any, seed: Any, told: str, infogan: InfoGAN) -> None:
    with pytest.raises(InputError) as error:
        infogan.sample(n, seed=seed)
    assert one_line(error).startswith(told)


def test_numpy_numbers_are_numbers(infogan: InfoGAN) -> None:
    assert torch.equal(infogan.sample(np.int64(3), seed=np.uint8(1)), infogan.sample(3, seed=1))  # type: ignore[arg-type]


def test_an_array_of_floats_is_encoded_as_a_tensor(infogan: InfoGAN) -> None:
    images = infogan.sample(3)
    expected = infogan.encode(images)["c1"]
    upside_down = images.flip(2).numpy()[:, :, ::-1]
    for given in (images.numpy(), images.numpy().astype(np.float64), upside_down, images.double()):
        torch.testing.assert_close(infogan.encode(given)["c1"], expected)  # type: ignore[arg-type]


DARK = torch.full((2, 1, 28, 28), -1.0)
WRONG: dict[str, tuple[Any, str]] = {
    "pixels": (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "not torch.uint8: images / 127.5 - 1"),
    "an array of pixels": (np.zeros((2, 1, 28, 28), np.uint8), "not uint8: images / 127.5 - 1"),
    "whole numbers": (torch.zeros(2, 1, 28, 28, dtype=torch.int64), "not torch.int64"),
    "objects": (np.zeros((2, 1, 28, 28), object), "not object"),
    "floats to 255": (torch.linspace(0, 255, 784).view(1, 1, 28, 28), "not values from 0 to 255; images / 127.5 - 1"),
    "standardised": (torch.linspace(-0.4, 2.8, 784).view(1, 1, 28, 28), "not values from -0.4 to 2.8"),
    "NaN": (torch.full((1, 1, 28, 28), math.nan), "not values from nan to nan"),
    "channels last": (DARK.permute(0, 2, 3, 1), "not [2, 28, 28, 1]: channels come before height and width"),
    "one image": (DARK[0], "not [1, 28, 28]: images[None] adds the first axis"),
    "a list": (DARK.tolist(), "not a list"),
    "a path": ("three.png", "not a str"),
    "nothing": (None, "not a NoneType"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_encoded_is_told_what_is_wanted(case: str, infogan: InfoGAN) -> None:
    images, told = WRONG[case]
    with pytest.raises(InputError) as error:
        infogan.encode(images)
    line = one_line(error)
    assert line.startswith("images must be floats [n, 1, 28, 28] in [-1, 1], ")
    assert told in line


def test_images_that_seem_to_lie_in_0_to_1_are_encoded_and_warned_of(infogan: InfoGAN) -> None:
    with pytest.warns(UserWarning, match=r"seem to lie in \[0, 1\]: 2 \* images - 1"):
        infogan.encode(torch.linspace(0, 1, 784).view(1, 1, 28, 28))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infogan.encode(torch.zeros(1, 1, 28, 28))
        infogan.encode(normalise(torch.arange(100, 256).repeat(6)[:784].view(1, 1, 28, 28)))
        infogan.encode(normalise(torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)))
        infogan.encode(torch.zeros(0, 1, 28, 28))


def test_create_gives_an_untrained_model_of_the_settings_asked_for() -> None:
    model = api.create("infogan", codes="categorical:4, gaussian:1", trunk={"name": "mlp", "width": 2}, resolution=16)
    assert isinstance(model, torch.nn.Module)
    assert isinstance(model, GAN)
    assert model.sample(2, {"c1": 3}).shape == (2, 1, 16, 16)
    assert [code.kind for code in model.codes] == ["categorical", "gaussian"]


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("infogen", {}, "did you mean 'infogan'"),
        ("infogan", {"code": "uniform:1"}, "unknown key 'code'"),
        ("infogan", {"codes": "uniform"}, "'uniform' is not understood"),
        ("infogan", {"trunk": {"name": "dcgna"}}, "did you mean 'dcgan'"),
        ("infogan", {"trunk": "infogan-mnist", "resolution": 64}, "not 64×64"),
        ("infogan", {"log_variance_min": 2.0, "log_variance_max": 1.0}, "must be below"),
        ("infogan", {"lambda_discrete": -1.0}, "lambda_discrete"),
        ("infogan", {"trains": "trunk"}, "trains"),
        ("gan", {"codes": "uniform:1"}, "unknown key 'codes'"),
    ],
)
def test_create_refuses_wrong_settings_in_one_line(name: str, settings: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as error:
        api.create(name, **settings)
    assert told in one_line(error)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_another_type_is_sampled_and_encodes(dtype: torch.dtype, infogan: InfoGAN) -> None:
    model = copy.deepcopy(infogan).to(dtype)
    images = model.sample(2)
    assert images.dtype == torch.float32
    assert len(model.encode(images)["c1"]) == 2


def test_a_run_s_pictures_and_statistics_pass_no_more_images_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_zoo.models.gan.model.MAX_IMAGES_AT_ONCE", 16)
    rows: list[int] = []
    hook = register_module_forward_pre_hook(
        lambda module, inputs: None if module.training else rows.append(len(inputs[0]))  # type: ignore[arg-type]
    )
    try:
        narrow_train("infogan", tmp_path, training__steps=1)
    finally:
        hook.remove()
    assert max(rows) == 16
