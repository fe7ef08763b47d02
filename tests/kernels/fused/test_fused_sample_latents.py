"""The fused latents are the reference's bit for bit."""

import pytest
import torch
from gan_zoo_kernels import Layout, sample_latents
from gan_zoo_kernels.fused.launches import count_launches
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

MNIST = Layout("noise(normal):62|categorical:10|uniform:1x2")
MIXED = Layout(
    "noise(uniform):5|gaussian:1|categorical:10|uniform(-0.3,1.7):1|gaussian:1|bernoulli(0.3):1|uniform:1|categorical:10"
)
KEY = {"seed": 2**64 - 3, "step": 2**32 - 5, "stream": 2**31}


def check(layout, batch, device, **options):
    fused = [t.cpu() for t in sample_latents(layout, batch, device=device, implementation="triton", **options)]
    plain = sample_latents(layout, batch, implementation="reference", **options)
    for a, b in zip(fused, plain, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(a, b)


@pytest.mark.parametrize("layout", [MNIST, MIXED, Layout("noise(normal):7"), Layout("categorical:10")])
@pytest.mark.parametrize("batch", [0, 1, 16, 17, 128])
def test_values(layout, batch, device):
    check(layout, batch, device, first_row=2**32 - 200, **KEY)


@pytest.mark.parametrize("noise", [1, 2, 3, 4, 255, 256, 257, 1000])
def test_widths_of_noise(noise, device):
    check(Layout(f"noise(normal):{noise}|uniform:1"), 5, device, seed=1, step=2)


@pytest.mark.parametrize("classes", [2, 3, 33, 1000, 4096])
def test_numbers_of_classes(classes, device):
    check(Layout(f"noise(normal):4|categorical:{classes}|uniform:1"), 5, device, seed=1, step=2)


@pytest.mark.slow
def test_a_hundred_thousand_normals(device):
    check(Layout("noise(normal):100"), 1000, device, seed=5, step=9)


def test_half_precisions_round_the_float32_values(device):
    exact = sample_latents(MNIST, 64, device=device, implementation="triton", **KEY)
    half = sample_latents(MNIST, 64, device=device, dtype=torch.float16, implementation="triton", **KEY)
    assert torch.equal(half[0], exact[0].half())
    assert torch.equal(half[1], exact[1])
    bf16 = sample_latents(MNIST, 64, device=device, dtype=torch.bfloat16, implementation="triton", **KEY)[0]
    assert ((bf16.float() - exact[0]).abs() <= 2**-7 * exact[0].abs()).all()  # the interpreter truncates


def test_a_step_on_the_device(device):
    for step in (0, 7, 2**32 - 1):
        on_device = torch.tensor(step, device=device)
        drawn = sample_latents(MIXED, 9, seed=3, step=on_device, device=device, implementation="triton")
        expected = sample_latents(MIXED, 9, seed=3, step=step, device=device, implementation="triton")
        assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("step", [-1, -(2**40) - 3, 2**32, 2**33 + 7, 2**63 - 1])
def test_a_step_on_the_device_counts_by_its_low_32_bits(step, device):
    on_device = torch.tensor(step, device=device)
    check(MIXED, 9, device, seed=3, step=step % 2**32)
    fused = sample_latents(MIXED, 9, seed=3, step=on_device, device=device, implementation="triton")
    plain = sample_latents(MIXED, 9, seed=3, step=on_device, device=device, implementation="reference")
    for drawn, implementation in ((fused, "triton"), (plain, "reference")):
        expected = sample_latents(MIXED, 9, seed=3, step=step % 2**32, device=device, implementation=implementation)
        assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))


def test_one_launch(device):
    for layout in (MNIST, MIXED, Layout("noise(normal):128|categorical:10x10")):
        with count_launches() as names:
            sample_latents(layout, 40, seed=1, step=1, device=device, implementation="triton")
        assert names == ["sample_latents_kernel"]


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("layout", [MNIST, MIXED])
def test_every_value_is_written_once_and_nothing_is_read(layout):
    with recorded_traffic() as traffic:
        latents, targets = sample_latents(layout, 37, seed=1, step=1, implementation="triton")
    assert traffic.loads == []
    assert traffic.stored(latents).tolist() == list(range(latents.numel()))
    assert traffic.stored(targets).tolist() == list(range(targets.numel()))
    assert traffic.strays([latents, targets]) == 0


codes = st.one_of(
    st.builds("categorical:{}".format, st.integers(2, 40)),
    st.builds("uniform({},{}):1".format, st.floats(-9, 0), st.floats(0.125, 9)),
    st.just("gaussian:1"),
    st.builds("bernoulli({}):1".format, st.floats(0, 1)),
)


@given(
    st.integers(1, 80),
    st.sampled_from(["normal", "uniform"]),
    st.lists(codes, max_size=6),
    st.fixed_dictionaries({"seed": st.integers(0, 2**64 - 1), "step": st.integers(0, 2**32 - 1)}),
)
def test_any_layout(noise, distribution, mix, key):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check(Layout("|".join([f"noise({distribution}):{noise}", *mix])), 21, device, **key)
