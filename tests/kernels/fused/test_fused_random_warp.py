"""The fused warp against the reference in float64 and in the same dtype."""

import itertools
import math

import pytest
import torch
from comparison import assert_as_good_as_torch
from gan_zoo_kernels import WarpSteps, random_warp
from gan_zoo_kernels.fused.launches import count_launches
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LARGEST = {"flip": 0.5, "scale": 0.26, "height": 0.18, "shear": 0.4, "rotate": 0.7, "shift": 0.2, "elastic": 0.06}
"""Of a value, but for flip's probability and elastic's standard deviation."""


def steps_of(*names):
    return WarpSteps(**{name: LARGEST[name] if name in ("flip", "elastic") else True for name in names})


RECIPE = steps_of("scale", "height", "shear", "rotate", "shift", "elastic")
EVERY = steps_of(*LARGEST)


def draw(shape, steps, device="cpu", dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=generator) * 2 - 1
    normals = torch.randn(shape[0], steps.normals, generator=generator)
    ranges = [(0.0, 1.0)] if steps.flip else []
    for name in ("scale", "height", "shear", "rotate", "shift"):
        ranges += [(-LARGEST[name], LARGEST[name])] * (getattr(steps, name) * (2 if name == "shift" else 1))
    low, high = torch.tensor(ranges).view(-1, 2).t()
    values = low + (high - low) * torch.rand(shape[0], steps.values, generator=generator)
    return images.to(device, dtype), normals.to(device), values.to(device)


def check(images, normals, values, steps):
    fused = random_warp(images, normals, values, steps, implementation="triton")
    plain = random_warp(images, normals, values, steps, implementation="reference")
    exact = random_warp(images.double(), normals, values, steps, implementation="reference")
    # Neighbours differ by up to 2, so that a coordinate of half the size, wrong by 2 ulp, shows as so much.
    assert_as_good_as_torch(fused, plain, exact, scale=2.0 * max(images.shape[2:]))
    return fused


@pytest.mark.parametrize("step", list(LARGEST))
@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (2, 3, 5, 7)])
def test_each_step_alone(step, shape, device):
    steps = steps_of(step)
    images, *draws = draw(shape, steps, device)
    assert not torch.equal(check(images, *draws, steps), images)


@pytest.mark.parametrize("names", list(itertools.combinations(LARGEST, 2)), ids="+".join)
def test_pairs_of_steps_keep_their_order_and_their_values(names, device):
    steps = steps_of(*names)
    check(*draw((3, 1, 9, 9), steps, device), steps)


@pytest.mark.parametrize("steps", [EVERY, RECIPE], ids=["all", "recipe"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 28, 28), (3, 1, 5, 7), (2, 2, 7, 5), (2, 4, 16, 16), (2, 1, 1, 1), (2, 1, 1, 9)], ids=str
)
def test_shapes(shape, steps, device):
    check(*draw(shape, steps, device), steps)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [EVERY, RECIPE], ids=["all", "recipe"])
@pytest.mark.parametrize("shape", [(3, 3, 64, 64), (128, 1, 28, 28)], ids=str)
def test_large_shapes(shape, steps, device):
    check(*draw(shape, steps, device), steps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, device):
    check(*draw((2, 3, 20, 20), EVERY, device, dtype), EVERY)


def test_a_large_turn(device):
    steps = WarpSteps(rotate=True)
    images, _, values = draw((5, 1, 8, 8), steps, device)
    values[:] = torch.tensor([[-math.pi], [-math.pi / 2], [0.0], [math.pi / 2], [3.0]])
    warped = check(images, None, values, steps)
    assert torch.equal(warped[2], images[2])
    torch.testing.assert_close(warped[0], images[0].flip(1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[3], images[3].rot90(-1, (1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 28, 28), (1, 1, 64, 64), (2, 1, 5, 7)])
def test_values_of_zero_return_the_image_exactly(shape, dtype, device):
    images, normals, values = draw(shape, EVERY, device, dtype)
    normals.zero_()
    values.zero_()
    values[:, 0] = 0.5  # not below flip's 0.5
    assert torch.equal(random_warp(images, normals, values, EVERY, implementation="triton"), images)
    values[:, 0] = 0.4
    assert torch.equal(random_warp(images, normals, values, EVERY, implementation="triton"), images.flip(3))
    nothing = WarpSteps()
    assert torch.equal(random_warp(images, None, None, nothing, implementation="triton"), images)


def test_what_comes_in_from_outside_continues_the_edge(device):
    steps = WarpSteps(shift=True, elastic=0.25)
    images, normals, values = draw((4, 1, 9, 9), steps, device)
    images[:] = torch.linspace(-1, 1, 9)[None, None, :, None]
    normals.zero_()
    values[:] = torch.tensor([[-0.5, -0.5], [0.5, 0.5], [0.0, -0.5], [0.0, 0.5]])
    warped = check(images, normals, values, steps)
    assert (warped[0, 0, -4:] == 1).all() and (warped[1, 0, :4] == -1).all()
    images[:] = 0.75
    warped = check(*(images, 20 * torch.randn_like(normals), values), steps)
    torch.testing.assert_close(warped, torch.full_like(warped, 0.75), rtol=0, atol=1e-6)


def test_views(device):
    images, normals, values = draw((3, 3, 12, 16), EVERY, device)
    many = torch.cat([torch.rand_like(values), values, normals], dim=1)  # columns of one draw
    m = EVERY.values
    draws = many[:, 2 * m :], many[:, m : 2 * m]
    contiguous = check(images, *draws, EVERY)
    for view in (
        images.to(memory_format=torch.channels_last),
        images.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([images, images], dim=3)[:, :, :, :16],
        images.flip(0).contiguous().flip(0),
    ):
        warped = random_warp(view, *draws, EVERY, implementation="triton")
        torch.testing.assert_close(warped, contiguous, rtol=0, atol=1e-5)  # strides decide what a GPU contracts
        assert warped.stride() == torch.empty_like(view).stride()
    assert warped.is_contiguous()
    expanded = images[:1, :1, :8, :8].expand(3, 3, 8, 8)
    check(expanded, *draws, EVERY)
    check(images, normals.t().contiguous().t(), values.t().contiguous().t(), EVERY)


def test_an_empty_batch(device):
    images, *draws = draw((0, 3, 8, 8), EVERY, device)
    assert random_warp(images, *draws, EVERY, implementation="triton").shape == (0, 3, 8, 8)


@pytest.mark.parametrize("steps", [RECIPE, EVERY, steps_of("elastic")], ids=["recipe", "all", "elastic"])
def test_one_launch(steps, device):
    inputs = draw((5, 1, 16, 16), steps, device)
    with count_launches() as names:
        random_warp(*inputs, steps, implementation="triton")
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
    steps = steps_of("shift")
    images, normals, values = draw((1, 1, 8, 8), steps, device)
    images[0, 0, 2, 3] = torch.nan
    values.zero_()
    warped = random_warp(images, normals, values, steps, implementation="triton")
    assert warped[0, 0, 2, 3].isnan() and warped.isnan().sum() <= 4


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("shape", [(3, 3, 20, 24), (3, 1, 5, 7)])
def test_pixels_are_written_once_and_nothing_outside_is_touched(shape):
    images, normals, values = draw(shape, EVERY)
    values[0], values[1] = -0.5, 0.5
    normals[1] *= 1000  # far outside
    with recorded_traffic() as traffic:
        warped = random_warp(images, normals, values, EVERY, implementation="triton")
    assert traffic.stored(warped).tolist() == list(range(images.numel()))
    assert traffic.strays([images, normals, values, warped]) == 0


def test_compiled_whole(device):
    images, normals, values = draw((2, 3, 8, 8), EVERY, device)
    images = images.to(memory_format=torch.channels_last)

    def warped(images, normals, values):
        return random_warp(2 * images, normals, values, EVERY, implementation="triton") + 1

    torch._dynamo.reset()
    compiled = torch.compile(warped, fullgraph=True, backend="aot_eager")(images, normals, values)
    expected = warped(images, normals, values)
    assert torch.equal(compiled, expected)
    assert compiled.stride() == expected.stride()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graph(device):
    images, normals, values = draw((128, 1, 28, 28), RECIPE, device)
    expected = random_warp(images, normals, values, RECIPE, implementation="triton")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        warped = random_warp(images, normals, values, RECIPE, implementation="triton")
    graph.replay()
    assert torch.equal(warped, expected)
    values.neg_()
    graph.replay()
    assert torch.equal(warped, random_warp(images, normals, values, RECIPE, implementation="triton"))


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(DTYPES),
    st.sets(st.sampled_from(list(LARGEST))),
)
def test_any_warp(shape, dtype, names):
    steps = steps_of(*names)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check(*draw(shape, steps, device, dtype), steps)
