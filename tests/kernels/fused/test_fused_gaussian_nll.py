"""The fused Gaussian likelihood against the reference in float64 and in the same dtype."""

import functools
import itertools

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch, value_and_gradients
from gan_zoo_kernels import gaussian_nll
from gan_zoo_kernels.fused.launches import count_launches
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
REDUCTIONS = ["mean", "sum", "none"]


def draw(shape, dtype, device, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * spread).to(device, dtype).requires_grad_()


def triple(shape, dtypes, device):
    return [draw(shape, dtype, device, seed) for seed, dtype in enumerate(dtypes)]


def check(inputs, reduction="mean", low=-8.0, high=8.0):
    options = {"reduction": reduction, "log_var_min": low, "log_var_max": high}
    fused = functools.partial(gaussian_nll, **options, implementation="triton")
    plain = functools.partial(gaussian_nll, **options, implementation="reference")
    upstream = torch.tensor(-1.75, device=inputs[0].device)
    if reduction == "none":
        shape = plain(*inputs).shape
        upstream = torch.linspace(-2.0, 3.0, max(1, shape.numel()), device=inputs[0].device)
        upstream = upstream[: shape.numel()].view(shape)
    value, gradients = value_and_gradients(fused, inputs, upstream)
    plain_value, plain_gradients = value_and_gradients(plain, inputs, upstream)
    exact_value, exact_gradients = value_and_gradients(plain, as_double(inputs), upstream)
    assert value.dtype == torch.float32
    n = max(1, gaussian_nll(*inputs, "none", implementation="reference").numel())
    assert_as_good_as_torch(value, plain_value, exact_value, scale=n * 8.0 if reduction == "sum" else 8.0)
    for gradient, plain_gradient, exact_gradient in zip(gradients, plain_gradients, exact_gradients, strict=True):
        terms = n / max(1, gradient.numel())  # added up where an input was broadcast
        scale = (10.0 * terms if terms > 1 else 1.0) / (n if reduction == "mean" else 1)
        assert_as_good_as_torch(gradient, plain_gradient, exact_gradient, scale=scale)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_reductions(reduction, dtype, device):
    mean, log_var, target = triple((7, 33), [dtype] * 3, device)
    check([mean, log_var, target], reduction)
    check([mean, None, target], reduction)


@pytest.mark.parametrize("dtypes", list(itertools.permutations(DTYPES)))
def test_mixed_dtypes(dtypes, device):
    check(triple((5, 13), dtypes, device))


@pytest.mark.parametrize("n", [0, 1, 2, 1023, 1024, 1025, 4096, 5000])
def test_sizes(n, device):
    for reduction in REDUCTIONS:
        check(triple((n,), DTYPES, device), reduction)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8192, 10), (100, 4096), (8192, 1), (3, 5, 7, 11)])
def test_large(shape, dtype, device):
    check(triple(shape, [dtype] * 3, device))


BROADCASTS = [
    ((4, 6), (6,), (4, 1)),
    ((4, 1), (4, 6), (6,)),
    ((4, 6), (), (4, 6)),
    ((4, 6), (4,), (4, 6)),  # one variance a row, as torch's gaussian_nll_loss takes it
    ((2, 3, 4), (3, 1), (2, 1, 4)),
    ((5, 1, 3), (1, 7, 1), (3,)),
    ((), (), (3,)),
    ((0, 3), (3,), (1,)),
    ((4, 6), None, (6,)),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shapes", BROADCASTS)
def test_broadcasting(shapes, reduction, device):
    dtypes = [torch.float16, torch.float32, torch.float16]
    inputs = [
        None if shape is None else draw(shape, dtype, device, seed)
        for seed, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]
    check(inputs, reduction)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_variances_far_outside_the_bounds(dtype, device):
    mean, _, target = triple((801,), [dtype] * 3, device)
    log_var = torch.linspace(-20.0, 20.0, 801).to(device, dtype).requires_grad_()
    for low, high in ((-8.0, 8.0), (-2.5, 1.0), (-20.0, 20.0)):
        for reduction in ("mean", "none"):
            check([mean, log_var, target], reduction, low, high)
    value = gaussian_nll(mean, log_var, target, "sum", log_var_min=-2.5, log_var_max=1.0, implementation="triton")
    (gradient,) = torch.autograd.grad(value, log_var)
    assert (gradient[(log_var < -2.5) | (log_var > 1.0)] == 0).all()
    assert (gradient[(log_var > -2.5) & (log_var < 1.0)] != 0).any()


def test_only_the_gradients_asked_for(device):
    mean, log_var, target = triple((50,), DTYPES, device)
    expected = value_and_gradients(
        functools.partial(gaussian_nll, implementation="reference"), [mean, log_var, target]
    )[1]
    for wanted in itertools.product([False, True], repeat=3):
        if not any(wanted):
            continue
        inputs = [t.detach().requires_grad_(want) for t, want in zip((mean, log_var, target), wanted, strict=True)]
        found = value_and_gradients(functools.partial(gaussian_nll, implementation="triton"), inputs)[1]
        for a, b in zip(found, itertools.compress(expected, wanted), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views(dtype, device):
    base = [draw((6, 40, 50), dtype, device, seed).detach() for seed in range(3)]
    views = [
        lambda t: t[0, :, 1:10],
        lambda t: t[:, 3],
        lambda t: t[0].t(),
        lambda t: t[1, ::2, ::3],
        lambda t: t[:, :, 7],
        lambda t: t[:, ::2, ::3],  # three strides: copied
        lambda t: t[0, 0, 1:2].expand(30),
    ]
    for view in views:
        check([view(t).requires_grad_() for t in base])
    unlike = [base[0][0, :40, :40].t(), base[1][0, :40, :40], base[2][0, :40, 1:41]]
    check([t.requires_grad_() for t in unlike], "none")


@pytest.mark.parametrize(("n", "launches"), [(1280, 2), (50_000, 3)])
def test_launches(n, launches, device):
    mean, log_var, target = triple((n,), DTYPES, device)
    with count_launches() as names:
        gaussian_nll(mean, log_var, target, implementation="triton").backward()
    assert len(names) == launches, names


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_inputs_are_read_once_and_gradients_written_once(reduction):
    inputs = triple((41, 50), DTYPES, "cpu")
    with recorded_traffic() as forward:
        nll = gaussian_nll(*inputs, reduction, implementation="triton")
    upstream = torch.ones_like(nll)
    with recorded_traffic() as backward:
        gradients = torch.autograd.grad(nll, inputs, upstream)
    every = list(range(41 * 50))
    for t, gradient in zip(inputs, gradients, strict=True):
        assert forward.loaded(t).tolist() == every
        assert backward.loaded(t).tolist() == every
        assert backward.stored(gradient).tolist() == every
    assert forward.stored(nll).tolist() == (every if reduction == "none" else [0])
    assert forward.strays([*inputs, nll]) == 0
    assert backward.strays([*inputs, upstream, *gradients]) == 0


shapes = st.lists(st.integers(0, 9), min_size=0, max_size=3)


@given(
    shapes,
    st.lists(st.booleans(), min_size=9, max_size=9),
    st.permutations(DTYPES),
    st.sampled_from(REDUCTIONS),
)
def test_any_broadcast(shape, ones, dtypes, reduction):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = []
    for i, dtype in enumerate(dtypes):
        own = [1 if one else size for size, one in zip(shape, ones[3 * i :], strict=False)]
        inputs.append(draw(own, dtype, device, seed=i, spread=2.0))
    check(inputs, reduction)


def test_terms_of_a_broadcast_gradient_are_added_in_float32(device):
    mean = torch.zeros((), dtype=torch.float16, device=device, requires_grad=True)
    target = torch.full((10_000,), -1e-4, device=device)
    gaussian_nll(mean, None, target, implementation="triton").backward()
    assert abs(mean.grad.item() - 1e-4) < 1e-7  # each term is 10⁻⁸, which float16 does not have


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("n", [9, 5000])
def test_a_loss_may_be_changed_in_place(n, reduction, device):
    inputs = triple((n,), [torch.float32] * 3, device)
    gradients = []
    for implementation in ("triton", "reference"):
        loss = gaussian_nll(*inputs, reduction, implementation=implementation)
        loss += 1
        gradients.append(torch.autograd.grad(loss.sum(), inputs))
    torch.testing.assert_close(*gradients)
