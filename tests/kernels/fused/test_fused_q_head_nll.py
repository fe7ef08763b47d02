"""All codes of a Q head, fused, against the reference in float64 and in the same dtype."""

import functools

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch, value_and_gradients
from gan_zoo_kernels import Layout, q_head_nll
from gan_zoo_kernels.fused.launches import count_launches
from gan_zoo_kernels.layout import BERNOULLI, CATEGORICAL
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
MNIST = Layout("categorical:10|gaussian:2x2")
CELEBA = Layout("categorical:10x10")
MIXED = Layout("gaussian:1x3|categorical:7|bernoulli:1x2|gaussian:2|categorical:16")
REVERSED = Layout("bernoulli:1|categorical:10|gaussian:2")


def draw(layout, batch, dtype, device, spread=1.0):
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(batch, layout.width, generator=generator) * spread
    columns = []
    for group in [each for each in layout.groups for _ in range(each.length)]:
        if group.kind == CATEGORICAL:
            label = torch.randint(group.size, (batch,), generator=generator)
            label[:2] = torch.tensor([0, group.size - 1])[: min(batch, 2)]  # the edges of the code
            columns.append(label.float())
        elif group.kind == BERNOULLI:
            columns.append(torch.randint(2, (batch,), generator=generator).float())
        else:
            columns.append(torch.rand(batch, generator=generator) * 2 - 1)
            columns[-1][:2] = torch.tensor([-1.0, 1.0])[: min(batch, 2)]
    targets = torch.stack(columns, dim=1).to(device)
    return parameters.to(device, dtype).requires_grad_(), targets


def check(parameters, targets, layout, scale=20.0):
    fused = functools.partial(q_head_nll, layout=layout, implementation="triton")
    plain = functools.partial(q_head_nll, layout=layout, implementation="reference")
    codes = len(layout.columns)
    upstream = torch.linspace(-2.0, 3.0, codes, device=targets.device)
    value, (gradient,) = value_and_gradients(fused, [parameters, targets], upstream)
    plain_value, (plain_gradient,) = value_and_gradients(plain, [parameters, targets], upstream)
    exact_value, (exact_gradient,) = value_and_gradients(plain, as_double([parameters, targets]), upstream)
    assert value.dtype == torch.float32
    assert_as_good_as_torch(value, plain_value, exact_value, scale=scale)
    assert_as_good_as_torch(gradient, plain_gradient, exact_gradient, scale=3.0 / max(1, len(targets)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [MNIST, CELEBA, MIXED, REVERSED], ids=["mnist", "celeba", "mixed", "reversed"])
def test_dtypes_and_layouts(layout, dtype, device):
    check(*draw(layout, 37, dtype, device), layout)


@pytest.mark.parametrize("batch", [0, 1, 2, 127, 128, 129, 1000])
def test_batches(batch, device):
    check(*draw(MIXED, batch, torch.float16, device), MIXED)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("codes", "batch"), [((10,) * 10, 513), ((16,), 1025), ((2,) * 5, 700), ((16, 16), 513), ((4,) * 64, 520)]
)
def test_large_batches_of_equal_codes(codes, batch, dtype, device):
    layout = Layout("|".join(f"categorical:{size}" for size in codes))
    parameters, targets = draw(layout, batch, dtype, device, spread=3.0)
    check(parameters, targets, layout)
    targets[5, 0] = codes[0]
    nll = q_head_nll(parameters, targets, layout, implementation="triton")
    assert nll.isnan().tolist() == [True] + [False] * (len(codes) - 1)
    (gradient,) = torch.autograd.grad(nll.sum(), parameters)
    assert gradient.isnan().sum() == codes[0]


def test_large_batches_use_the_kernels_of_whole_codes_where_they_can(device):
    for layout, contiguous, name in ((CELEBA, True, "rows"), (CELEBA, False, "nll"), (MNIST, True, "nll")):
        parameters, targets = draw(layout, 600, torch.float16, device)
        targets = targets if contiguous else targets.t().contiguous().t()
        with count_launches() as names:
            q_head_nll(parameters, targets, layout, implementation="triton").sum().backward()
        assert names == [f"q_head_{name}_forward_kernel", "column_sums_kernel", f"q_head_{name}_backward_kernel"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [511, 513, 2048, 8192])
def test_large_batches(batch, dtype, device):
    check(*draw(MIXED, batch, dtype, device), MIXED)


@pytest.mark.parametrize("classes", [2, 3, 4, 31, 32, 33, 1000, 4096])
def test_numbers_of_classes(classes, device):
    layout = Layout(f"categorical:{classes}|gaussian:2")
    check(*draw(layout, 9, torch.bfloat16, device), layout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_confident_parameters(dtype, device):
    parameters, targets = draw(MIXED, 64, dtype, device)
    with torch.no_grad():
        parameters[:, 3:12] = torch.where(parameters[:, 3:12] > 0, 80.0, -80.0)
        parameters[:, 13] = torch.linspace(-20.0, 20.0, 64)
        parameters[0, 13], parameters[1, 13] = -8.0, 8.0
    check(parameters, targets, MIXED, scale=80.0)
    (gradient,) = torch.autograd.grad(q_head_nll(parameters, targets, MIXED, implementation="triton").sum(), parameters)
    outside = (parameters[:, 13] < -8) | (parameters[:, 13] > 8)
    assert torch.equal(gradient[:, 13] == 0, outside)


def test_a_target_that_is_no_class_is_loud(device):
    parameters, targets = draw(MNIST, 8, torch.float32, device)
    for wrong in (-1.0, 10.0, 2.5, float("nan")):
        targets[3, 0] = wrong
        nll = q_head_nll(parameters, targets, MNIST, implementation="triton")
        assert nll.isnan().tolist() == [True, False, False]
        (gradient,) = torch.autograd.grad(nll.sum(), parameters)
        assert gradient.isnan().any(dim=1).tolist() == [row == 3 for row in range(8)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_views(dtype, device):
    wide, _ = draw(Layout("gaussian:1x33"), 40, dtype, device)
    _, mnist_targets = draw(MNIST, 40, dtype, device)
    wide = wide.detach()
    transposed_targets = mnist_targets.t().contiguous().t()
    check(wide[:, 1:15].requires_grad_(), mnist_targets, MNIST)  # offset by one element: not 16-byte aligned
    check(wide[:, ::2][:, :14].requires_grad_(), transposed_targets, MNIST)
    check(wide[::2, 3:17].requires_grad_(), mnist_targets[::2], MNIST)
    check(wide[:14].t()[:20].requires_grad_(), mnist_targets[:1].expand(20, 3), MNIST)
    check(wide[:1, :14].expand(40, 14).requires_grad_(), mnist_targets, MNIST)


def test_float16_gradients_survive_a_loss_scale(device):
    layout = Layout("categorical:1000")
    parameters, targets = draw(layout, 64, torch.float16, device, spread=2.5)
    scale = 2.0**16
    exact = parameters.detach().double().requires_grad_()
    (unscaled,) = torch.autograd.grad(q_head_nll(exact, targets, layout, implementation="reference").sum(), exact)
    assert (unscaled.half() * scale == 0).sum() > 1000  # divided by the batch in float16, then scaled: too late
    scaled = q_head_nll(parameters, targets, layout, implementation="triton") * scale
    (gradient,) = torch.autograd.grad(scaled.sum(), parameters)
    assert (gradient == 0).sum() == 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("batch", [9, 1000])
def test_a_loss_may_be_changed_in_place(batch, device):
    parameters, targets = draw(MIXED, batch, torch.float32, device)
    gradients = []
    for implementation in ("triton", "reference"):
        nll = q_head_nll(parameters, targets, MIXED, implementation=implementation)
        nll += 1
        gradients += torch.autograd.grad(nll.sum(), parameters)
    torch.testing.assert_close(*gradients)


MANY = Layout("|".join(["categorical:4|gaussian:2x3|bernoulli:1"] * 10))


@pytest.mark.parametrize(("layout", "batch", "launches"), [(MNIST, 128, 2), (MANY, 128, 2), (MNIST, 1000, 3)])
def test_launches_do_not_grow_with_the_codes(layout, batch, launches, device):
    parameters, targets = draw(layout, batch, torch.float32, device)
    with count_launches() as names:
        q_head_nll(parameters, targets, layout, implementation="triton").sum().backward()
    assert len(names) == launches, names


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize(
    ("layout", "batch"),
    [(MNIST, 300), (MIXED, 300), (REVERSED, 300), (CELEBA, 600)],
    ids=["mnist", "mixed", "reversed", "celeba"],
)
def test_inputs_are_read_once_and_gradients_written_once(layout, batch):
    parameters, targets = draw(layout, batch, torch.float16, "cpu")
    codes = len(layout.columns)
    with recorded_traffic() as forward:
        nll = q_head_nll(parameters, targets, layout, implementation="triton")
    upstream = torch.ones(codes)
    with recorded_traffic() as backward:
        (gradient,) = torch.autograd.grad(nll, parameters, upstream)
    every = list(range(batch * layout.width))
    again = []  # many rows: the label's logit, once more from the first cache
    if batch > 512:
        starts = torch.arange(batch)[:, None] * layout.width + torch.tensor(
            [columns.start for columns in layout.columns]
        )
        again = (starts + targets.long()).flatten().tolist()
    assert forward.loaded(parameters).tolist() == sorted(every + again)
    assert forward.loaded(targets).tolist() == list(range(batch * codes))
    assert forward.stored(nll).tolist() == list(range(codes))
    partial_sums = 24 * codes if batch > 512 else 0  # of programs of 25 rows
    assert forward.strays([parameters, targets, nll]) == 2 * partial_sums  # written and read
    assert backward.loaded(parameters).tolist() == every
    assert backward.loaded(targets).tolist() == list(range(batch * codes))
    assert backward.stored(gradient).tolist() == every
    assert backward.strays([parameters, targets, upstream, gradient]) == 0


codes = st.one_of(
    st.builds("categorical:{}".format, st.integers(2, 40)),
    st.builds("{}x{}".format, st.sampled_from(["gaussian:2", "gaussian:1", "bernoulli:1"]), st.integers(1, 3)),
)


@given(st.lists(codes, min_size=1, max_size=6), st.integers(0, 150), st.sampled_from(DTYPES), st.floats(0.01, 30))
def test_any_mix_of_codes(mix, batch, dtype, spread):
    layout = Layout("|".join(mix))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check(*draw(layout, batch, dtype, device, spread=spread), layout, scale=spread * 20)
