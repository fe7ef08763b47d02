"""The fused warp against the reference in float64 and in the same dtype."""

import itertools
import math

import pytest
import torch
from comparison import assert_as_good_as_torch
from gan_zoo_kernels import WarpAmounts, random_warp
from gan_zoo_kernels.fused.launches import count_launches
from gan_zoo_kernels.fused.traffic import recorded_traffic
from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
ALL = {"flip": 0.5, "scale": 0.3, "height": 0.2, "shear": 0.4, "rotate": 0.7, "shift": 0.2, "elastic": 0.06}
RECIPE = WarpAmounts(rotate=0.2, scale=0.1, shift=0.05, shear=0.4, height=0.2, elastic=0.04)
EVERY = WarpAmounts(**ALL)


def draw(shape, amounts, device="cpu", dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=generator) * 2 - 1
    normals = torch.randn(shape[0], amounts.normals, generator=generator)
    uniforms = torch.rand(shape[0], amounts.uniforms, generator=generator)
    return images.to(device, dtype), normals.to(device), uniforms.to(device)


def check(images, normals, uniforms, amounts):
    fused = random_warp(images, normals, uniforms, amounts, implementation="triton")
    plain = random_warp(images, normals, uniforms, amounts, implementation="reference")
    exact = random_warp(images.double(), normals, uniforms, amounts, implementation="reference")
    # Neighbours differ by up to 2, so that a coordinate of half the size, wrong by 2 ulp, shows as so much.
    assert_as_good_as_torch(fused, plain, exact, scale=2.0 * max(images.shape[2:]))
    return fused


@pytest.mark.parametrize("step", list(ALL))
@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (2, 3, 5, 7)])
def test_each_step_alone(step, shape, device):
    amounts = WarpAmounts(**{step: ALL[step]})
    images, *draws = draw(shape, amounts, device)
    assert not torch.equal(check(images, *draws, amounts), images)


@pytest.mark.parametrize("steps", list(itertools.combinations(ALL, 2)), ids="+".join)
def test_pairs_of_steps_keep_their_order_and_their_draws(steps, device):
    amounts = WarpAmounts(**{step: ALL[step] for step in steps})
    check(*draw((3, 1, 9, 9), amounts, device), amounts)


@pytest.mark.parametrize("amounts", [EVERY, RECIPE], ids=["all", "recipe"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 28, 28), (3, 1, 5, 7), (2, 2, 7, 5), (2, 4, 16, 16), (2, 1, 1, 1), (2, 1, 1, 9)], ids=str
)
def test_shapes(shape, amounts, device):
    check(*draw(shape, amounts, device), amounts)


@pytest.mark.slow
@pytest.mark.parametrize("amounts", [EVERY, RECIPE], ids=["all", "recipe"])
@pytest.mark.parametrize("shape", [(3, 3, 64, 64), (128, 1, 28, 28)], ids=str)
def test_large_shapes(shape, amounts, device):
    check(*draw(shape, amounts, device), amounts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, device):
    check(*draw((2, 3, 20, 20), EVERY, device, dtype), EVERY)


def test_a_large_turn(device):
    amounts = WarpAmounts(rotate=math.pi)
    images, _, uniforms = draw((5, 1, 8, 8), amounts, device)
    uniforms[:] = torch.tensor([[0.0], [0.25], [0.5], [0.75], [1.0 - 2**-24]])
    warped = check(images, None, uniforms, amounts)
    assert torch.equal(warped[2], images[2])
    torch.testing.assert_close(warped[0], images[0].flip(1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[3], images[3].rot90(-1, (1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 28, 28), (1, 1, 64, 64), (2, 1, 5, 7)])
def test_the_middle_of_every_draw_returns_the_image_exactly(shape, dtype, device):
    images, normals, uniforms = draw(shape, EVERY, device, dtype)
    normals, uniforms = torch.zeros_like(normals), torch.full_like(uniforms, 0.5)
    assert torch.equal(random_warp(images, normals, uniforms, EVERY, implementation="triton"), images)
    uniforms[:, 0] = 0.4
    assert torch.equal(random_warp(images, normals, uniforms, EVERY, implementation="triton"), images.flip(3))
    nothing = WarpAmounts()
    assert torch.equal(random_warp(images, None, None, nothing, implementation="triton"), images)


def test_what_comes_in_from_outside_continues_the_edge(device):
    amounts = WarpAmounts(shift=0.5, elastic=0.25)
    images, normals, uniforms = draw((4, 1, 9, 9), amounts, device)
    images[:] = torch.linspace(-1, 1, 9)[None, None, :, None]
    normals.zero_()
    uniforms[:] = torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24], [0.5, 0.0], [0.5, 1 - 2**-24]])
    warped = check(images, normals, uniforms, amounts)
    assert (warped[0, 0, -4:] == 1).all() and (warped[1, 0, :4] == -1).all()
    images[:] = 0.75
    assert (check(*(images, 20 * torch.randn_like(normals), uniforms), amounts) == 0.75).all()


def test_views(device):
    images, normals, uniforms = draw((3, 3, 12, 16), EVERY, device)
    many = torch.cat([torch.rand_like(uniforms), uniforms, normals], dim=1)  # columns of one draw
    m = EVERY.uniforms
    draws = many[:, 2 * m :], many[:, m : 2 * m]
    contiguous = check(images, *draws, EVERY)
    for view in (
        images.to(memory_format=torch.channels_last),
        images.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([images, images], dim=3)[:, :, :, :16],
        images.flip(0).contiguous().flip(0),
    ):
        warped = random_warp(view, *draws, EVERY, implementation="triton")
        assert torch.equal(warped, contiguous)
        assert warped.stride() == torch.empty_like(view).stride()
    assert warped.is_contiguous()
    expanded = images[:1, :1, :8, :8].expand(3, 3, 8, 8)
    check(expanded, *draws, EVERY)
    check(images, normals.t().contiguous().t(), uniforms.t().contiguous().t(), EVERY)


def test_an_empty_batch(device):
    images, *draws = draw((0, 3, 8, 8), EVERY, device)
    assert random_warp(images, *draws, EVERY, implementation="triton").shape == (0, 3, 8, 8)


@pytest.mark.parametrize("amounts", [RECIPE, EVERY, WarpAmounts(elastic=0.1)], ids=["recipe", "all", "elastic"])
def test_one_launch(amounts, device):
    inputs = draw((5, 1, 16, 16), amounts, device)
    with count_launches() as names:
        random_warp(*inputs, amounts, implementation="triton")
    assert names == ["random_warp_kernel"]


def test_images_that_need_a_gradient_get_one_twice(device):
    images, *draws = draw((2, 1, 6, 6), EVERY, device)
    images.requires_grad_()
    with count_launches() as names:
        warped = random_warp(images, *draws, EVERY, implementation="triton")
        (gradient,) = torch.autograd.grad(warped.square().sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), images)
        assert second.any()
    assert names == []
    with torch.no_grad(), count_launches() as names:
        random_warp(images, *draws, EVERY, implementation="triton")
    assert len(names) == 1


def test_nan_stays_where_it_is(device):
    amounts = WarpAmounts(shift=0.25)
    images, normals, uniforms = draw((1, 1, 8, 8), amounts, device)
    images[0, 0, 2, 3] = torch.nan
    uniforms[:] = 0.5
    warped = random_warp(images, normals, uniforms, amounts, implementation="triton")
    assert warped[0, 0, 2, 3].isnan() and warped.isnan().sum() <= 4


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("shape", [(3, 3, 20, 24), (3, 1, 5, 7)])
def test_pixels_are_written_once_and_nothing_outside_is_touched(shape):
    images, normals, uniforms = draw(shape, EVERY)
    uniforms[0], uniforms[1] = 0.0, 1 - 2**-24
    normals[1] *= 1000  # far outside
    with recorded_traffic() as traffic:
        warped = random_warp(images, normals, uniforms, EVERY, implementation="triton")
    assert traffic.stored(warped).tolist() == list(range(images.numel()))
    assert traffic.strays([images, normals, uniforms, warped]) == 0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(DTYPES),
    st.fixed_dictionaries({step: st.one_of(st.just(0.0), st.floats(0.01, amount)) for step, amount in ALL.items()}),
)
def test_any_warp(shape, dtype, amounts):
    amounts = WarpAmounts(**amounts)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check(*draw(shape, amounts, device, dtype), amounts)
