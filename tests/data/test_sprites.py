"""Sprites: what each factor does to the picture, and how the set is drawn and counted."""

from __future__ import annotations

import pickle
from itertools import islice
from math import hypot, pi

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_zoo.config import Data
from gan_zoo.data import batches as streaming
from gan_zoo.data.batches import batch_indices, batches
from gan_zoo.data.dataset import Dataset, LazyImages, open_dataset
from gan_zoo.data.sprites import AREA, ELLIPSE, FACTORS, HEART, REACH, SPAN, SQUARE, draw
from gan_zoo.errors import InputError

SHAPES = (SQUARE, ELLIPSE, HEART)


def opened(**settings: object) -> Dataset:
    return open_dataset(Data(name="sprites", **settings))


def indices_of(values: Tensor) -> Tensor:
    """The images with the factors' values `values`, int64 [n, 5]."""
    return torch.from_numpy(np.ravel_multi_index(tuple(values.T.numpy()), FACTORS.sizes))


def drawn(
    shape: int = SQUARE, scale: float = 1, angle: float = 0, x: float = 0.5, y: float = 0.5, resolution: int = 64
) -> Tensor:
    """One sprite, float [R, R] in [0, 1]."""
    numbers = (torch.tensor([value]) for value in (scale, angle, x, y))
    return draw(torch.tensor([shape]), *numbers, resolution=resolution)[0, 0] / 255


def moments(image: Tensor) -> tuple[float, float, float]:
    """Area, and centre of mass from the left and from the top, with the image's side as unit."""
    side = image.shape[-1]
    places = (torch.arange(side) + 0.5) / side
    area = image.sum()
    return (
        float(area / side**2),
        float((image.sum(0) * places).sum() / area),
        float((image.sum(1) * places).sum() / area),
    )


def inside(shape: int, u: Tensor, v: Tensor) -> Tensor:
    """Whether points belong to a shape of scale 1, from its definition: u to its right, v to its top."""
    if shape == SQUARE:
        return (u.abs() <= REACH / 2**0.5) & (v.abs() <= REACH / 2**0.5)
    if shape == ELLIPSE:
        return (u / REACH) ** 2 + (v / (AREA / pi / REACH)) ** 2 <= 1
    side = (AREA / (1 + pi / 4)) ** 0.5
    middle = side / 8**0.5  # of the square's upper sides, from the square's centre
    v = v + pi / 4 * side**2 * (middle + 2**0.5 * side / 3 / pi) / AREA
    square = u.abs() + v.abs() <= side / 2**0.5
    return square | ((u.abs() - middle) ** 2 + (v - middle) ** 2 <= side**2 / 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("resolution", "scale"), [(32, 0.5), (32, 1.0), (64, 0.7)])
def test_a_pixel_is_as_bright_as_the_part_that_is_covered(shape: int, resolution: int, scale: float) -> None:
    fine = 8
    angle, x, y = 0.7, 0.3, 0.9
    places = (torch.arange(resolution * fine, dtype=torch.float64) + 0.5) / resolution / fine
    right = places[None] - (0.5 + SPAN * (x - 0.5))
    up = (0.5 + SPAN * (y - 0.5)) - places[:, None]
    turn = torch.tensor(angle, dtype=torch.float64)
    u, v = right * turn.cos() + up * turn.sin(), up * turn.cos() - right * turn.sin()
    covered = inside(shape, u / scale, v / scale).double()
    covered = covered.view(resolution, fine, resolution, fine).mean((1, 3))
    found = drawn(shape, scale, angle, x, y, resolution)
    assert (found - covered).abs().max() < 0.25
    assert (found - covered).abs().mean() < 0.004
    assert found.max() == 1 and found.min() == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resolution", [32, 64])
def test_x_moves_the_centre_of_mass_right_and_y_down(shape: int, resolution: int) -> None:
    for place in (0, 0.2, 1):
        _, right, down = moments(drawn(shape, 0.8, 2.0, x=place, y=0.5, resolution=resolution))
        assert right == pytest.approx(0.5 + SPAN * (place - 0.5), abs=0.1 / resolution)
        assert down == pytest.approx(0.5, abs=0.1 / resolution)
        _, right, down = moments(drawn(shape, 0.8, 2.0, x=0.5, y=place, resolution=resolution))
        assert right == pytest.approx(0.5, abs=0.1 / resolution)
        assert down == pytest.approx(0.5 + SPAN * (place - 0.5), abs=0.1 / resolution)


def test_a_step_of_x_or_y_is_a_pixel_at_64() -> None:
    images = opened().train
    values = torch.tensor([[HEART, 5, 7, 10, 20], [HEART, 5, 7, 11, 20], [HEART, 5, 7, 10, 21]])
    here, right, below = images.pixels(indices_of(values))[:, 0]
    assert torch.equal(right, here.roll(1, dims=1))
    assert torch.equal(below, here.roll(1, dims=0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resolution", [32, 64])
def test_the_area_grows_with_the_square_of_the_scale(shape: int, resolution: int) -> None:
    for scale in (0.5, 0.7, 1):
        for angle in (0, 1.0):
            area, _, _ = moments(drawn(shape, scale, angle, 0.1, 0.8, resolution))
            assert area == pytest.approx(AREA * scale**2, rel=0.025)


@pytest.mark.parametrize(("shape", "period"), [(SQUARE, pi / 2), (ELLIPSE, pi), (HEART, 2 * pi)])
def test_a_shape_comes_back_after_its_own_period_and_not_before(shape: int, period: float) -> None:
    start = drawn(shape, angle=0.3)
    assert (start - drawn(shape, angle=0.3 + period)).abs().max() < 0.01
    for part in (0.25, 0.5, 0.75):
        assert (start - drawn(shape, angle=0.3 + part * period)).abs().max() > 0.5


def test_orientation_turns_anticlockwise() -> None:
    """After a quarter turn, the heart's tip points to the right, and a wide ellipse is upright."""
    for angle, dim in ((0, 0), (pi / 2, 1)):
        mass = drawn(HEART, angle=angle).sum(1 - dim)
        tip = (mass > 0).nonzero().max()
        assert mass[tip - 2] < 0.3 * mass.max(), "the tip is narrow"
        assert mass[(mass > 0).nonzero().min() + 2] > 0.3 * mass.max(), "the lobes are broad"
    wide, tall = drawn(ELLIPSE), drawn(ELLIPSE, angle=pi / 2)
    assert (wide.sum(0) > 0).sum() > 1.4 * (wide.sum(1) > 0).sum()
    assert (wide.T - tall).abs().max() < 0.01
    leaning = drawn(ELLIPSE, angle=pi / 4)
    assert leaning[:32, 32:].sum() > 1.5 * leaning[:32, :32].sum(), "up on the right"


def test_shapes_differ() -> None:
    square, ellipse, heart = (drawn(shape) for shape in SHAPES)
    for one, other in ((square, ellipse), (ellipse, heart), (heart, square)):
        assert (one - other).abs().sum() > 0.1 * one.sum()


@pytest.mark.parametrize("resolution", [32, 64])
def test_every_sprite_lies_inside(resolution: int) -> None:
    images = opened(resolution=resolution).train
    corners = torch.tensor([[s, 5, a, x, y] for s in SHAPES for a in range(40) for x in (0, 31) for y in (0, 31)])
    found = images.pixels(indices_of(corners))[:, 0] / 255
    area = found.sum((1, 2)) / resolution**2
    assert (area / AREA - 1).abs().max() < 0.02
    assert hypot(SPAN / 2, 0) + REACH < 0.5


def test_the_set_has_dsprites_factors_and_counts() -> None:
    found = opened()
    assert found.factors == FACTORS
    assert FACTORS.names == ("shape", "scale", "orientation", "x", "y")
    assert len(found.train) == FACTORS.count == 737_280
    assert found.test is None
    assert (found.image.channels, found.image.resolution) == (1, 64)


def test_the_label_is_the_shape_and_can_be_left_out() -> None:
    found = opened(resolution=32)
    assert found.classes == 3
    assert found.train.labels is not None
    assert torch.equal(found.train.labels, FACTORS.values(torch.arange(FACTORS.count))[:, 0])
    assert opened(classes=0).train.labels is None
    with pytest.raises(InputError, match="labels run from 0 to 2"):
        opened(classes=2)


def test_the_first_and_the_last_angle_are_one_as_in_dsprites() -> None:
    values = torch.tensor([[HEART, 3, 0, 5, 6], [HEART, 3, 39, 5, 6], [HEART, 3, 38, 5, 6]])
    first, last, other = opened().train.pixels(indices_of(values)).int()
    assert (first - last).abs().max() <= 1
    assert (first - other).abs().max() > 50


@pytest.mark.parametrize(("resolution", "channels"), [(32, None), (64, 3), (28, 1)])
def test_an_image_is_a_function_of_its_number_alone(resolution: int, channels: int | None) -> None:
    images = opened(resolution=resolution, channels=channels).train.images
    assert isinstance(images, LazyImages) and not images.needs_workers
    indices = torch.randint(FACTORS.count, (50,), generator=torch.Generator().manual_seed(0))
    together = images[indices]
    assert together.shape == (50, channels or 1, resolution, resolution)
    assert together.dtype == torch.uint8
    assert torch.equal(together, torch.cat([images[index] for index in indices.split(1)]))
    assert torch.equal(together, pickle.loads(pickle.dumps(images))[indices])


def test_batches_are_drawn_in_this_process_and_go_on_after_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "DataLoader", None)
    split = opened(resolution=32).train
    whole = list(islice(batches(split, seed=3, batch_size=8, device="cpu"), 4))
    rest = list(islice(batches(split, seed=3, batch_size=8, device="cpu", start_step=2), 2))
    for one, other in zip(whole[2:], rest, strict=True):
        assert torch.equal(one.images, other.images)
    for step, batch in enumerate(whole):
        indices = batch_indices(3, step, FACTORS.count, 8)
        assert batch.labels is not None
        assert torch.equal(batch.labels, FACTORS.values(indices)[:, 0])
        assert torch.equal(batch.images, split.pixels(indices) / 127.5 - 1)
