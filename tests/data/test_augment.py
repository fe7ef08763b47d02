"""The augmentation's grammar, its geometry and its gradients."""

from __future__ import annotations

from math import pi

import pytest
import torch
from gan_zoo_kernels.reference_warp import warp
from hypothesis import given
from hypothesis import strategies as st

from gan_zoo.data.augment import AMOUNTS, Augment, parse_augment
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError

EVERYTHING = (
    "flip, shift:0.125, rotate:0.2, scale:0.1, shear:0.4, height:0.3, brightness:0.5, saturation, contrast, cutout:0.5"
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(step: int = 0, *, first_row: int = 0) -> Draws:
    return Draws(0, step, first_row=first_row)


def test_a_policy_is_read() -> None:
    assert parse_augment(EVERYTHING) == Augment(0.5, 0.125, 0.2, 0.1, 0.4, 0.3, 0.0, 0.5, 1.0, 0.5, 0.5)
    assert parse_augment("  shift : 0.1 ,, ") == Augment(shift=0.1)


@given(st.dictionaries(st.sampled_from(sorted(AMOUNTS)), st.integers(0, 100)))
def test_a_policy_written_out_is_read_back(shares: dict[str, int]) -> None:
    policy = Augment(**{name: float(f"{share / 100 * AMOUNTS[name][1]:.3g}") for name, share in shares.items()})
    assert parse_augment(str(policy)) == policy
    assert bool(policy) == bool(str(policy))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flop", "did you mean 'flip'"),
        ("shift:0.6", "'0.6'; accepted: a number from 0 to 0.5"),
        ("rotate:-1", "from 0 to 3.142"),
        ("scale:nan", "'nan'; accepted"),
        ("scale:inf", "'inf'; accepted"),
        ("cutout:", "''; accepted"),
        ("cutout:a:b", "'a:b'; accepted"),
        ("flip, flip", "'flip' twice"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=r"data\.augment") as caught:
        parse_augment(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_empty_policy_returns_what_it_gets_and_draws_nothing() -> None:
    images, random = torch.rand(2, 1, 8, 8), draws()
    assert parse_augment("")(images, random) is images
    assert torch.equal(random.uniform(3), draws().uniform(3))


def test_a_policy_makes_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    launches: list[int] = []
    real = Draws._draw
    monkeypatch.setattr(Draws, "_draw", lambda self, rows, layout: launches.append(rows) or real(self, rows, layout))
    parse_augment(", ".join(AMOUNTS))(torch.rand(3, 3, 8, 8), draws())
    assert launches == [3]


def test_images_are_augmented_alike_in_one_batch_and_in_parts() -> None:
    images, policy = torch.rand(8, 3, 12, 12, generator=generator()), parse_augment(", ".join(AMOUNTS))
    whole = policy(images, draws(3))
    parts = [policy(images[rows : rows + 4], draws(3, first_row=rows)) for rows in (0, 4)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    alike = policy(images[4:], draws(3))
    assert not torch.allclose(alike, whole[4:], atol=0.1), "rows differ"


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_changes_images_and_keeps_their_shape(channels: int) -> None:
    images = torch.rand(8, channels, 16, 16, generator=generator()) * 2 - 1
    for name in AMOUNTS:
        if name == "saturation" and channels == 1:
            continue
        changed = parse_augment(name)(images, draws())
        assert changed.shape == images.shape
        assert not torch.allclose(changed, images, atol=1e-3), name
        assert torch.equal(changed, parse_augment(name)(images, draws())), "the draws decide"
    assert parse_augment(EVERYTHING)(images, draws()).isfinite().all()


def test_warp_turns_clockwise_moves_right_and_down_and_slants_right() -> None:
    image = torch.rand(1, 2, 8, 8, generator=generator())

    def one(value: float) -> torch.Tensor:
        return torch.tensor([value])

    turned = warp(image, angle=one(pi / 2))
    assert torch.allclose(turned, image.rot90(-1, (2, 3)), atol=1e-5)
    moved = warp(image, offset=torch.tensor([[0.25, 0.125]]))
    assert torch.allclose(moved[..., 1:, 2:], image[..., :-1, :-2], atol=1e-5)
    assert torch.allclose(moved[..., 4, 0], image[..., 3, 0], atol=1e-5), "the edge goes on outside"
    assert torch.allclose(warp(image, mirror=torch.tensor([True])), image.flip(3), atol=1e-5)
    line = torch.zeros(1, 1, 9, 9)
    line[..., 4] = 1
    assert torch.allclose(warp(line, slant=one(1.0))[0, 0], torch.eye(9), atol=1e-5)
    square = torch.zeros(1, 1, 16, 16)
    square[..., 6:10, 6:10] = 1
    assert warp(square, factor=one(2.0)).sum().item() == pytest.approx(4 * 16, rel=0.02)


def extent(images: torch.Tensor, axis: int) -> torch.Tensor:
    """Twice the standard deviation of the light of images [n, 1, h, w] along axis 2 or 3, in pixels."""
    light = images.sum((1, 5 - axis))
    at = torch.arange(light.shape[1]).float()
    middle = (light * at).sum(1) / light.sum(1)
    return 2 * ((light * (at - middle[:, None]) ** 2).sum(1) / light.sum(1)).sqrt()


def test_a_stretch_is_of_rows_alone() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 24:40, 20:44] = 1
    for stretch in (0.5, 1.0, 1.7):
        stretched = warp(image, stretch=torch.tensor([stretch]))
        assert extent(stretched, 2).item() == pytest.approx(stretch * extent(image, 2).item(), rel=0.03)
        assert extent(stretched, 3).item() == pytest.approx(extent(image, 3).item(), rel=1e-5)
        assert stretched.sum().item() == pytest.approx(stretch * image.sum().item(), rel=0.03)


def test_height_is_drawn_log_uniform_from_its_range_and_leaves_the_width() -> None:
    image = torch.zeros(400, 1, 64, 64)
    image[..., 24:40, 20:44] = 1
    seen = parse_augment("height:0.6")(image, draws())
    factor = (extent(seen, 2) / extent(image, 2)).log()
    limit = torch.tensor(1.6).log().item()
    assert -limit - 0.05 < factor.min() < -0.9 * limit
    assert 0.9 * limit < factor.max() < limit + 0.05
    assert factor.mean().abs() < 0.06
    assert factor.var().item() == pytest.approx(limit**2 / 3, rel=0.15)
    assert torch.allclose(extent(seen, 3), extent(image, 3), rtol=1e-4)


def test_warp_mirrors_scales_stretches_slants_turns_then_moves() -> None:
    """One resampling equals the steps one after the other; a smooth image keeps their interpolation small."""
    at = torch.linspace(-1, 1, 128)
    image = torch.exp(-8 * ((at[:, None] - 0.2) ** 2 + 2 * (at + 0.1) ** 2))[None, None]
    steps = {
        "mirror": torch.tensor([True]),
        "factor": torch.tensor([0.8]),
        "stretch": torch.tensor([1.2]),
        "slant": torch.tensor([0.3]),
        "angle": torch.tensor([0.5]),
        "offset": torch.tensor([[0.1, -0.05]]),
    }
    slow = image
    for name, value in steps.items():
        slow = warp(slow, **{name: value})
    assert torch.allclose(warp(image, **steps), slow, atol=0.02)
    assert not torch.allclose(warp(image, **{**steps, "angle": -steps["angle"]}), slow, atol=0.1)


@pytest.mark.parametrize(("text", "low", "high"), [("brightness:0.3", -0.3, 0.3), ("brightness:2", -2, 2)])
def test_brightness_is_uniform_over_its_range(text: str, low: float, high: float) -> None:
    shifts = parse_augment(text)(torch.zeros(20_000, 1, 1, 1), draws()).flatten()
    assert shifts.min() >= low
    assert shifts.max() <= high
    assert shifts.mean().abs() < 0.02 * high
    assert shifts.var().item() == pytest.approx((high - low) ** 2 / 12, rel=0.03)


def test_contrast_keeps_the_mean_and_saturation_the_grey() -> None:
    images = torch.rand(16, 3, 8, 8, generator=generator())
    contrast = parse_augment("contrast")(images, draws())
    assert torch.allclose(contrast.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    ratio = contrast.std((1, 2, 3)) / images.std((1, 2, 3))
    assert ratio.min() >= 0.5 - 1e-4
    assert ratio.max() <= 1.5 + 1e-4
    saturation = parse_augment("saturation")(images, draws())
    assert torch.allclose(saturation.mean(1), images.mean(1), atol=1e-5)


def test_flip_happens_as_often_as_said() -> None:
    images = torch.arange(16.0).expand(4000, 1, 16, 16)
    flipped = parse_augment("flip:0.25")(images, draws())[:, 0, 0, 0] > 8
    assert flipped.float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_cutout_removes_at_most_its_square() -> None:
    left = parse_augment("cutout:0.5")(torch.ones(500, 1, 16, 16), draws())
    removed = (left == 0).sum((1, 2, 3))
    assert removed.max() == 64
    assert removed.min() >= 16, "a centre in the corner still hides a quarter of the square"


def test_gradients_are_right_to_the_second_order() -> None:
    images = torch.rand(2, 3, 6, 6, generator=generator(), dtype=torch.float32)
    policy = parse_augment(EVERYTHING.replace("cutout:0.5", "cutout:0.2"))
    weight = torch.rand(2, 3, 6, 6, generator=generator(1))

    def value(x: torch.Tensor) -> torch.Tensor:
        return (policy(x, draws(2)) ** 3 * weight).sum()

    x = images.clone().requires_grad_()
    (first,) = torch.autograd.grad(value(x), x, create_graph=True)
    direction = torch.rand(2, 3, 6, 6, generator=generator(3))
    step = 1e-2
    slope = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert (first * direction).sum().item() == pytest.approx(slope.item(), rel=5e-3)
    (second,) = torch.autograd.grad((first * direction).sum(), x)
    curve = value(images + step * direction) - 2 * value(images) + value(images - step * direction)
    assert (second * direction).sum().item() == pytest.approx(curve.item() / step**2, rel=3e-2)


def test_bfloat16_images_keep_their_type() -> None:
    assert parse_augment(EVERYTHING)(torch.rand(2, 3, 8, 8).bfloat16(), draws()).dtype == torch.bfloat16


def test_autocast_does_not_move_pixels() -> None:
    images = torch.rand(4, 1, 32, 32, generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = parse_augment("rotate, scale, shear, shift")(images, draws())
    assert torch.equal(inside, parse_augment("rotate, scale, shear, shift")(images, draws()))


FULL = "flip, shift, rotate, scale, shear, height, elastic, brightness, saturation, contrast, cutout:0.3"


@pytest.mark.parametrize("channels", [1, 3])
def test_with_a_probability_of_0_nothing_and_of_1_everything_is_applied(channels: int) -> None:
    images = torch.rand(6, channels, 16, 16) * 2 - 1
    augment = parse_augment(FULL)
    never = augment(images, Draws(0, 0), torch.zeros(()))
    torch.testing.assert_close(never, images, rtol=0, atol=1e-5)
    assert torch.equal(augment(images, Draws(0, 0), torch.ones(())), augment(images, Draws(0, 0)))


@pytest.mark.parametrize("name", FULL.split(", "))
def test_each_operation_is_applied_to_that_share_of_the_images(name: str) -> None:
    images = torch.rand(400, 3, 8, 8) * 2 - 1
    augment = parse_augment(name.partition(":")[0] + ":0.25" if name != "flip" else "flip:1")
    changed = (augment(images, Draws(0, 0), torch.tensor(0.3)) - images).flatten(1).abs().amax(1) > 1e-4
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.08)


def test_operations_are_chosen_independently() -> None:
    images = torch.full((2000, 3, 8, 8), 0.5)
    images[:, :, :, :4] = -0.5
    out = parse_augment("flip:1, brightness:0.2")(images, Draws(0, 0), torch.tensor(0.5))
    flipped = out[:, 0, 0, 0] > 0
    brightened = (out.mean((1, 2, 3)).abs() > 1e-5).float()
    assert float(brightened[flipped].mean()) == pytest.approx(float(brightened[~flipped].mean()), abs=0.1)
