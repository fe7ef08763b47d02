"""The fused consistency term against the reference in float64 and in the same dtype."""

import functools

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch, value_and_gradients
from gan_zoo_kernels import Layout, consistency
from gan_zoo_kernels.fused.launches import count_launches
from gan_zoo_kernels.reference_consistency import categorical_columns
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
DEFAULT = Layout("categorical:10|gaussian:2x2")
MIXED = Layout("gaussian:2|categorical:4|bernoulli:1x2|categorical:3|gaussian:1")
APART = Layout("categorical:3|bernoulli:1|categorical:3x2")
TENS = Layout("categorical:10x10")


def draw(layout, n, m=None, dtype=torch.float32, device="cpu", spread=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = [torch.randn(rows, layout.width, generator=generator) * spread for rows in (n, n if m is None else m)]
    return [side.to(device, dtype).requires_grad_() for side in sides]


def priors(layout, device="cpu", seed=5):
    generator = torch.Generator().manual_seed(seed)
    sizes = [columns.stop - columns.start for columns in categorical_columns(layout)]
    return [torch.randn(size, generator=generator).log_softmax(0).to(device) for size in sizes]


def check(parameters, warped, layout, spread=4.0, log_priors=None):
    options = {"layout": layout, "spread": spread, "log_priors": log_priors}
    fused, plain = (functools.partial(consistency, **options, implementation=path) for path in ("triton", "reference"))
    upstream = torch.tensor(-1.75, device=parameters.device)
    with count_launches() as names:
        value, gradients = value_and_gradients(fused, [parameters, warped], upstream)
    assert names[0] == "consistency_forward_kernel" and names[-1] == "consistency_backward_kernel"
    plain_value, plain_gradients = value_and_gradients(plain, [parameters, warped], upstream)
    exact_value, exact_gradients = value_and_gradients(plain, as_double([parameters, warped]), upstream)
    assert value.dtype == torch.float32
    largest = max(1.0, warped.detach().float().abs().max().item())
    assert_as_good_as_torch(value, plain_value, exact_value, scale=(largest + spread) * len(layout.columns))
    for gradient, plain, exact, rows in zip(
        gradients, plain_gradients, exact_gradients, (len(parameters), len(warped)), strict=True
    ):
        size = 2 * (largest + spread * 30) / min(rows, len(warped))  # a mean's logarithm is at least -27.7
        assert_as_good_as_torch(gradient, plain, exact, scale=size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [DEFAULT, MIXED, APART, TENS], ids=["default", "mixed", "apart", "10 x 10"])
@pytest.mark.parametrize("with_priors", [False, True])
def test_layouts(layout, with_priors, dtype, device):
    inputs = draw(layout, 100, dtype=dtype, device=device)
    check(*inputs, layout, log_priors=priors(layout, device) if with_priors else None)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 127, 128, 129, 1024])
@pytest.mark.parametrize("share", [0.0, 0.334, 1.0])
def test_rows_and_shares(n, share, device):
    m = max(1, round(share * n))
    check(*draw(MIXED, n, m, device=device), MIXED, log_priors=priors(MIXED, device))


@pytest.mark.parametrize("classes", [2, 3, 16, 17, 100, 1000])
def test_classes(classes, device):
    layout = Layout(f"categorical:{classes}|bernoulli:1")
    check(*draw(layout, 37, 20, device=device), layout, spread=1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_confident_logits(dtype, device):
    sides = draw(DEFAULT, 64, dtype=dtype, device=device)
    confident = [torch.where(side > 2.0, 80.0, -80.0).to(dtype).detach().requires_grad_() for side in sides]
    check(*confident, DEFAULT)
    check(confident[0], confident[0].detach().clone().requires_grad_(), DEFAULT)


def test_a_class_that_no_image_has(device):
    parameters, warped = draw(DEFAULT, 30, device=device)
    with torch.no_grad():
        parameters[:, 3] = -200.0  # its mean probability is 0, below the logarithm's floor
        parameters[:, 4] = -27.0
    check(parameters, warped, DEFAULT, log_priors=priors(DEFAULT, device))


@pytest.mark.parametrize("spread", [0.0, 0.1, 4.0])
def test_spreads(spread, device):
    check(*draw(DEFAULT, 20, device=device), DEFAULT, spread)


def test_views_and_two_dtypes(device):
    wide = torch.randn(40, 3 * MIXED.width, device=device)
    parameters = wide[:, 1::3].detach().requires_grad_()
    warped = torch.randn(MIXED.width, 40, device=device).t()[:25].detach().requires_grad_()
    check(parameters, warped, MIXED)
    check(parameters.detach().half().requires_grad_(), warped.detach().bfloat16().requires_grad_(), MIXED)
    row = torch.randn(1, MIXED.width, device=device).expand(9, MIXED.width).requires_grad_()
    check(row, warped.detach()[:9].requires_grad_(), MIXED)


def test_columns_of_other_codes_get_zeros_and_play_no_part(device):
    parameters, warped = draw(MIXED, 50, 20, device=device)
    others = [0, 1, 6, 7, 11]
    with torch.no_grad():
        parameters[:, others], warped[:, others] = torch.nan, torch.inf
    value = consistency(parameters, warped, MIXED, spread=2.0, implementation="triton")
    for gradient in torch.autograd.grad(value, (parameters, warped)):
        assert (gradient[:, others] == 0).all()
        assert gradient.isfinite().all()


def test_nan_is_not_hidden(device):
    for side in range(2):
        inputs = draw(DEFAULT, 8, device=device)
        with torch.no_grad():
            inputs[side][3, 2] = torch.nan
        assert consistency(*inputs, DEFAULT, spread=1.0, implementation="triton").isnan()


@pytest.mark.parametrize(("layout", "launches"), [(DEFAULT, 2), (TENS, 3)])
def test_launches(layout, launches, device):
    parameters, warped = draw(layout, 128, device=device)
    with count_launches() as names:
        consistency(parameters, warped, layout, spread=4.0, implementation="triton").backward()
    assert len(names) == launches, names


def test_what_the_kernel_does_not_cover_goes_to_plain_torch(device):
    log_priors = [p.requires_grad_() for p in priors(DEFAULT, device)]
    wide = Layout("categorical:4000")
    none = Layout("gaussian:2x2")
    for inputs, layout, prior in (
        (draw(DEFAULT, 1025, device=device), DEFAULT, None),
        (draw(DEFAULT, 10, device=device), DEFAULT, log_priors),
        (draw(wide, 65, device=device), wide, None),
        (draw(none, 5, device=device), none, None),
    ):
        with count_launches() as names:
            consistency(*inputs, layout, spread=2.0, log_priors=prior, implementation="triton")
        assert names == []
    consistency(*draw(DEFAULT, 10, device=device), DEFAULT, spread=2.0, log_priors=log_priors).backward()
    assert log_priors[0].grad.any()


def test_reruns_are_bit_equal_and_inputs_stay(device):
    inputs = draw(TENS, 300, 200, device=device)
    before = [t.detach().clone() for t in inputs]
    results = []
    for _ in range(2):
        value = consistency(*inputs, TENS, spread=4.0, implementation="triton")
        results.append([value, *torch.autograd.grad(value, inputs)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(torch.equal(t, old) for t, old in zip(inputs, before, strict=True))


def test_double_backward_says_what_to_do(device):
    inputs = draw(DEFAULT, 10, device=device)
    value = consistency(*inputs, DEFAULT, spread=4.0, implementation="triton")
    gradient, _ = torch.autograd.grad(value, inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="implementation='reference' for double backward"):
        gradient.square().sum().backward()


@pytest.mark.filterwarnings("error:Dynamo detected")  # a cached function in what it traces
@pytest.mark.parametrize("with_priors", [False, True])
def test_compiled_whole(with_priors, device):
    log_priors = priors(MIXED, device) if with_priors else None
    sides = draw(MIXED, 9, 4, device=device)

    def term(parameters, warped):
        options = {"spread": 2.0, "log_priors": log_priors, "implementation": "triton"}
        return 3 * consistency(2 * parameters, warped, MIXED, **options)

    torch._dynamo.reset()
    compiled = torch.compile(term, fullgraph=True, backend="aot_eager")(*sides)
    expected = term(*sides)
    torch.testing.assert_close(compiled, expected)
    for ours, theirs in zip(*(torch.autograd.grad(v, sides) for v in (compiled, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize(("n", "m"), [(300, 300), (300, 100)])
def test_inputs_are_read_once_and_gradients_written_once(n, m):
    layout = MIXED
    parameters, warped = draw(layout, n, m, dtype=torch.float16)
    with recorded_traffic() as forward:
        value = consistency(parameters, warped, layout, spread=2.0, implementation="triton")
    means = value.grad_fn.saved_tensors[-1]
    categorical = [2, 3, 4, 5, 8, 9, 10]
    for side in (parameters, warped):
        expected = [row * layout.width + column for row in range(len(side)) for column in categorical]
        assert forward.loaded(side).tolist() == expected
    assert forward.stored(means).tolist() == list(range(7))
    upstream = torch.ones(())
    with recorded_traffic() as backward:
        gradients = torch.autograd.grad(value, (parameters, warped), upstream)
    for side, gradient in zip((parameters, warped), gradients, strict=True):
        assert backward.stored(gradient).tolist() == list(range(side.numel()))
    assert backward.strays([parameters, warped, means, upstream, *gradients]) == 0


@given(
    st.integers(1, 200),
    st.floats(0.0, 1.0),
    st.lists(st.integers(2, 70), min_size=1, max_size=4),
    st.sampled_from(DTYPES),
    st.floats(0.01, 40),
    st.booleans(),
)
def test_any_shape(n, share, sizes, dtype, spread, with_priors):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = Layout("|".join([*(f"categorical:{size}" for size in sizes), "gaussian:2"]))
    inputs = draw(layout, n, max(1, round(share * n)), dtype=dtype, device=device, spread=spread)
    check(*inputs, layout, log_priors=priors(layout, device) if with_priors else None)
