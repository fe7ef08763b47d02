"""StyleGAN2's networks against the paper: sizes, initial scales, modulated convolution, noise, minibatch statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from narrow import Game, narrow_config, one_line, weights
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d, conv_transpose2d

from gan_zoo.config import TrunkSettings
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.discriminator import Discriminator
from gan_zoo.shapes import ImageShape
from gan_zoo.training.batch_norm import measure_statistics
from gan_zoo.training.build import new_state
from gan_zoo.trunks.equalised import EqualLinear
from gan_zoo.trunks.style import MinibatchStd, NoiseInputs, drawing, modulated_convolution
from gan_zoo.trunks.stylegan2 import STYLEGAN2, StyleGenerator


def build(resolution: int = 16, *, channels: int = 3, z: int = 6, **values: Any) -> tuple[StyleGenerator, nn.Module]:
    torch.manual_seed(0)
    image, settings = ImageShape(channels, resolution), TrunkSettings(name="stylegan2", **({"width": 4} | values))
    generator = STYLEGAN2.generator(z, image, settings)
    assert isinstance(generator, StyleGenerator)
    return generator, STYLEGAN2.discriminator(image, settings)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("resolution", "widths", "g", "synthesis", "d"),
    [
        (256, (), 24_767_458, 22_666_210, 24_001_089),
        (1024, (512, 512, 512, 512, 512, 256, 128, 64, 32), 30_370_060, 28_268_812, 29_012_513),
        (64, (512,), 27_032_600, 24_931_352, 26_488_833),
    ],
)
def test_published_parameter_counts(resolution: int, widths: tuple[int, ...], g: int, synthesis: int, d: int) -> None:
    image, settings = ImageShape(3, resolution), TrunkSettings(name="stylegan2", widths=widths)
    with torch.device("meta"):
        generator = STYLEGAN2.generator(512, image, settings)
        discriminator = Discriminator(STYLEGAN2.discriminator(image, settings), spectral_norm=False)
    assert parameters(generator.mapping) == 2_101_248  # type: ignore[arg-type]
    assert parameters(generator) == g
    assert parameters(generator.synthesis) == synthesis  # type: ignore[arg-type]
    assert parameters(discriminator) == d


@pytest.mark.parametrize("resolution", [4, 8, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(resolution: int, channels: int) -> None:
    generator, trunk = build(resolution, width=1, channels=channels)
    with torch.no_grad():
        w = generator.mapping(torch.randn(4, 6))
        images = generator.synthesis(w)
        features = trunk(images)
    assert images.shape == (4, channels, resolution, resolution)
    assert trunk.feature_map(images).shape[2:] == (4, 4)  # type: ignore[operator]
    assert features.shape == (4, trunk.width)
    assert (features[0] - features[1]).abs().max() > 0
    mixed = torch.stack([w] * generator.synthesis.count, 1)
    torch.testing.assert_close(generator.synthesis(mixed), images)
    mixed[:, -1] += 1
    assert (generator.synthesis(mixed) - images).abs().max() > 0, "the last image has a w"


@pytest.mark.parametrize("resolution", [28, 48])
def test_other_sides_are_refused(resolution: int) -> None:
    for build_network in (lambda *a: STYLEGAN2.generator(6, *a), STYLEGAN2.discriminator):
        with pytest.raises(InputError) as error:
            build_network(ImageShape(1, resolution), TrunkSettings(name="stylegan2"))
        assert f"trunk stylegan2 supports images whose side is a power of 2 from 4, not {resolution}" in one_line(error)


@pytest.mark.parametrize(
    "setting", [{"trunk__spectral_norm": True}, {"trunk__generator_norm": "batch"}, {"trunk__blocks": (3,)}]
)
def test_settings_that_it_does_not_read_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(InputError, match="trunk stylegan2 does not support trunk"):
        new_state(narrow_config("gan", trunk__name="stylegan2", **setting), torch.device("cpu"))


def test_initial_scales() -> None:
    """Equalised weights are N(0, 1) before their scale, and every layer keeps the second moment near 1."""
    generator, trunk = build(16, width=32, z=256)
    for name, parameter in [*generator.named_parameters(), *trunk.named_parameters()]:
        if name.endswith("bias"):
            assert (parameter == (1.0 if "affine" in name else 0.0)).all(), name
        elif name.endswith("weight"):
            assert float(parameter.detach().std()) == pytest.approx(100 if "mapping" in name else 1, rel=0.1), name
    assert not generator.synthesis.noise.strength.any()
    moments = []
    for layer in (*generator.synthesis.layers, trunk.to_map, trunk.to_features):  # type: ignore[misc]
        layer.register_forward_hook(lambda _, __, output: moments.append(float(output.square().mean())))
    with torch.no_grad():
        w = generator.mapping(torch.randn(16, 256))
        trunk(generator.synthesis(w))
    assert float(w.square().mean()) == pytest.approx(1, rel=0.3)
    assert all(0.3 < moment < 2 for moment in moments), moments


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("enlarge", [True, False])
def test_a_modulated_convolution_is_its_definition(kernel: int, demodulate: bool, enlarge: bool) -> None:
    """Scale the weights, normalise them, convolve: image by image (eq. 1 and 3)."""
    x, weight, style = randn(3, 4, 5, 5), randn(2, 4, kernel, kernel, seed=1), randn(3, 4, seed=2)
    for image, s, y in zip(
        x, style, modulated_convolution(x, weight, style, demodulate=demodulate, enlarge=enlarge), strict=True
    ):
        scaled = weight * s[None, :, None, None]
        if demodulate:
            scaled = scaled / (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = (
            conv_transpose2d(image[None], scaled.transpose(0, 1), stride=2)
            if enlarge
            else conv2d(image[None], scaled, padding=kernel // 2)
        )
        torch.testing.assert_close(y[None], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("enlarge", [True, False])
def test_gradients_of_gradients_of_a_modulated_convolution(demodulate: bool, enlarge: bool) -> None:
    inputs = [t.requires_grad_() for t in (randn(2, 2, 3, 3), randn(2, 2, 3, 3, seed=1), randn(2, 2, seed=2))]

    def convolve(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
        return modulated_convolution(x, weight, style, demodulate=demodulate, enlarge=enlarge)

    assert gradcheck(convolve, inputs)
    assert gradgradcheck(convolve, inputs)


def test_gradients_of_gradients_of_the_minibatch_standard_deviation() -> None:
    layer = MinibatchStd()
    x = randn(6, 2, 2, 2).requires_grad_()
    assert gradcheck(layer, x)
    assert gradgradcheck(layer, x)


@pytest.mark.parametrize(("n", "size"), [(8, 4), (6, 3), (10, 2), (7, 1), (1, 1)])
def test_the_minibatch_standard_deviation_is_its_definition(n: int, size: int) -> None:
    x = randn(n, 3, 2, 2)
    appended = MinibatchStd()(x)
    assert torch.equal(appended[:, :3], x)
    for group, maps in zip(x.split(size), appended[:, 3:].split(size), strict=True):
        expected = (group.var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(maps, expected.expand_as(maps))


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (14, ["no group of 4, 3 or 2 divides a pass of 7 images: minibatch standard deviations are 0"]),
        (12, ["no group of 4 divides a pass of 6 images: minibatch standard deviations are of groups of 3"]),
        (16, []),
    ],
)
def test_passes_that_no_group_divides_are_reported_and_measured_as_they_are(batch: int, said: list[str]) -> None:
    sizes = {"training__batch_size": batch, "training__accumulate": 2}
    game = Game("stylegan2", data__resolution=4, trunk__width=1, **sizes)
    assert game.model.notes() == said
    (layer,) = [layer for layer in game.model.modules() if isinstance(layer, MinibatchStd)]
    groups = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Tensor,
            "unflatten",
            lambda x, axis, sizes, real=Tensor.unflatten: (groups.append(sizes[1]), real(x, axis, sizes))[1],
        )
        with game.state.averaged():
            pass
    assert set(groups) == {layer.group_of(batch // 2)}
    assert (layer.mean < 2e-4) == (batch == 14)


@pytest.mark.parametrize(("at_once", "rows"), [(256, 64), (42, 40), (1, 4)])
def test_statistics_are_measured_on_as_many_images_whatever_fits(at_once: int, rows: int) -> None:
    made = Game("stylegan2", data__resolution=4, trunk__width=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_zoo.models.gan.model.MAX_VALUES_AT_ONCE", 16 * at_once)
        sizes = [len(latents) for latents in made.state._latents()]
    assert sizes == [rows] * (1024 // rows)


def test_the_mapping_network_has_as_many_layers_as_set_and_w_the_width_of_the_first_maps() -> None:
    for values, widths in (({}, [32] * 8), ({"mapping_layers": 2, "width": 64, "widths": (12, 8, 4)}, [12] * 2)):
        generator, _ = build(**values)
        assert [layer.out_features for layer in generator.mapping if isinstance(layer, EqualLinear)] == widths


def test_in_evaluation_an_image_s_features_do_not_depend_on_others() -> None:
    _, trunk = build()
    images = torch.rand(8, 3, 16, 16) * 2 - 1
    measure_statistics(trunk, trunk, [images, images.flip(0) / 2])
    (layer,) = [layer for layer in trunk.modules() if isinstance(layer, MinibatchStd)]
    assert layer.training and not layer.momentum and layer.mean > 0.01
    before = layer.mean.clone()
    together = trunk(images)
    assert torch.equal(layer.mean, before), "training does not change it"
    assert (trunk(images[:4]) - together[:4]).abs().max() < 1e-5
    assert (trunk(images[[0, 1, 2, 7]]) - together[:4]).abs().max() > 1e-5
    trunk.eval()
    torch.testing.assert_close(trunk(images)[:1], trunk(images[:1]))


def test_noise_is_fixed_unless_it_is_drawn_from_the_step() -> None:
    generator, _ = build()
    z = torch.randn(6, 6)
    assert isinstance(generator.synthesis.noise, NoiseInputs)
    with torch.no_grad(), drawing(generator, Draws(0, 0)):
        silent = generator(z)
    assert torch.equal(generator(z), silent), "the strength starts at 0"
    nn.init.ones_(generator.synthesis.noise.strength)
    fixed = generator(z)
    assert torch.equal(generator(z), fixed)
    assert (fixed - silent).abs().max() > 0.1
    for whole in (False, True):
        torch.testing.assert_close(generator(z[:2]), fixed[:2], msg=str(whole))

    def drawn(seed: int, step: int, rows: slice) -> Tensor:
        with drawing(generator, Draws(seed, step, first_row=rows.start)):
            images: Tensor = generator(z[rows])
        return images

    once = drawn(0, 3, slice(0, 6))
    assert torch.equal(once, drawn(0, 3, slice(0, 6)))
    torch.testing.assert_close(once[4:], drawn(0, 3, slice(4, 6)), msg="ranks and micro-batches draw their rows")
    assert all(
        (once - other).abs().max() > 0.1 for other in (fixed, drawn(0, 4, slice(0, 6)), drawn(1, 3, slice(0, 6)))
    )
    assert torch.equal(generator(z), fixed)


def test_noise_planes_are_normal_and_a_layer_s_own() -> None:
    generator, _ = build(16)
    noise = generator.synthesis.noise
    nn.init.ones_(noise.strength)
    with torch.no_grad(), drawing(generator, Draws(0, 0)):
        planes = noise(200)
    assert [tuple(plane.shape) for plane in planes] == [(200, 1, side, side) for side in (4, 8, 8, 16, 16)]
    for plane in planes:
        assert float(plane.mean()) == pytest.approx(0, abs=0.1)
        assert float(plane.std()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(planes[1], planes[2])


def test_a_step_trains_the_noise_s_strength() -> None:
    game = Game("gan", trunk__name="stylegan2")
    assert not weights(game.model)["generator.synthesis.noise.strength"].any()
    game.step()
    assert weights(game.model)["generator.synthesis.noise.strength"].all()
    assert isinstance(game.model.discriminator.head, EqualLinear)


def test_images_are_clipped_in_evaluation_alone() -> None:
    generator, _ = build()
    z = torch.randn(8, 6)
    with torch.no_grad():
        images = generator(z)
        assert images.abs().max() > 1
        assert torch.equal(generator.eval()(z), images.clamp(-1, 1))


def test_autocast_to_bfloat16_stays_near_float32() -> None:
    generator, trunk = build(width=8)
    trunk.eval()
    z = torch.randn(8, 6)
    with torch.no_grad():
        exact = generator(z)
        features = trunk(exact)
        with torch.autocast("cpu", torch.bfloat16):
            rounded, of_rounded = generator(z), trunk(exact)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 0.03 * exact.norm()
    assert (of_rounded.float() - features).norm() < 0.03 * features.norm()
