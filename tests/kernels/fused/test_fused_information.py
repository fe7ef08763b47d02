"""The information term from the features on, fused, against the reference in float64 and in the same dtype."""

import importlib

import pytest
import torch
from gan_zoo_kernels import Layout, QHeadTensors, information_term
from gan_zoo_kernels.fused.launches import count_launches
from gan_zoo_kernels.layout import BERNOULLI, CATEGORICAL, GAUSSIAN

from benchmarks.kernel_traffic import recorded_traffic

TRAINED = ("weight1", "norm_weight", "norm_bias", "weight2", "bias2")
MNIST = Layout("categorical:10|gaussian:2x2", log_var_min=-0.3, log_var_max=0.3)
CELEBA = Layout("categorical:10x10")
MIXED = Layout("gaussian:1x3|categorical:7|bernoulli:1x2|gaussian:2|categorical:16")
LAYOUTS = {"mnist": MNIST, "celeba": CELEBA, "mixed": MIXED}
# The interpreter rounds to bfloat16 by truncation: twice the largest error, and all in one direction.
SLACK = {torch.float32: 3e-6, torch.float16: 4e-3, torch.bfloat16: 1e-1}


def draw(layout, batch, device, hidden=24, width=70, seed=0):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (torch.randn(shape, generator=random) * scale).to(device)

    head = QHeadTensors(
        normal(hidden, width, scale=width**-0.5),
        1 + normal(hidden, scale=0.1),
        normal(hidden, scale=0.1),
        normal(hidden),
        normal(hidden).abs() + 0.5,
        normal(layout.width, hidden, scale=hidden**-0.5),
        normal(layout.width, scale=0.1),
        torch.ones(len(layout.columns)).to(device),
    )
    for group in layout.groups:
        if group.kind == GAUSSIAN and group.size == 1:
            head.variances[group.codes] = torch.tensor([0.1, 0.5, 2.0])[: group.length].to(device)
    columns = {
        CATEGORICAL: lambda size: torch.randint(size, (batch,), generator=random).float(),
        BERNOULLI: lambda size: torch.randint(2, (batch,), generator=random).float(),
    }
    targets = [
        columns.get(group.kind, lambda size: torch.rand(batch, generator=random) * 2 - 1)(group.size)
        for group in layout.groups
        for _ in range(group.length)
    ]
    return normal(batch, width, scale=2.0) + 3.0, head, torch.stack(targets, 1).to(device)


def results(implementation, features, head, targets, layout, *, dtype=None, wanted=("features", *TRAINED), **settings):
    """What a call returns and changes, by name; everything in `dtype` if one is given."""
    dtype = dtype or head.weight1.dtype
    features = features.to(dtype) if dtype == torch.float64 else features
    features = features.detach().requires_grad_("features" in wanted)
    head = QHeadTensors(*(t.to(dtype).clone() if t.is_floating_point() else t.clone() for t in head))
    for name in TRAINED:
        getattr(head, name).requires_grad_(name in wanted)
    codes = len(layout.columns)
    entropies, weights = (
        torch.linspace(*ends, codes, device=features.device, dtype=dtype) for ends in ((1, 2), (1, 3))
    )
    term, bounds = information_term(
        features, head, targets.to(dtype), layout, entropies, weights, momentum=0.3, variance_momentum=0.2,
        implementation=implementation, **settings,
    )  # fmt: skip
    assert not bounds.requires_grad
    inputs = {"features": features, **head._asdict()}
    gradients = torch.autograd.grad(3 * term, [inputs[name] for name in wanted]) if wanted else ()
    return {
        "term": term.detach(),
        "bounds": bounds,
        "running_mean": head.running_mean,
        "running_var": head.running_var,
        "variances": head.variances,
        **dict(zip(wanted, gradients, strict=True)),
    }


def check(features, head, targets, layout, wanted=("features", *TRAINED), **settings):
    inputs = (features, head, targets, layout)
    fused = results("triton", *inputs, wanted=wanted, **settings)
    plain = results("reference", *inputs, wanted=wanted, **settings)
    exact = results("reference", *inputs, wanted=wanted, dtype=torch.float64, **settings)
    for name, value in fused.items():
        assert (value.dtype, value.shape) == (plain[name].dtype, plain[name].shape), name
        size = exact["bounds"].abs().max() * 3 if name == "term" else exact[name].double().abs().max()
        allowed = 2 * (plain[name].double() - exact[name]).abs().max() + SLACK[features.dtype] * size
        assert (value.double() - exact[name]).abs().max() <= allowed, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_dtypes_and_layouts(layout, dtype, device):
    features, head, targets = draw(LAYOUTS[layout], 100, device)
    check(features.to(dtype), head, targets, LAYOUTS[layout])


@pytest.mark.parametrize("batch", [3, 16, 128, 257])
def test_batches(batch, device):
    check(*draw(MNIST, batch, device), MNIST)


@pytest.mark.parametrize("batch", [20, 100])
@pytest.mark.parametrize("unit_gradient", [False, True])
def test_constant_variances(batch, unit_gradient, device):
    features, head, targets = draw(MIXED, batch, device)
    check(features, head, targets, MIXED, unit_gradient=unit_gradient)
    narrow = Layout(MIXED.spec, log_var_min=-1.0, log_var_max=0.0)
    bounded = results("triton", features, head, targets, narrow)["variances"]
    assert bounded[:3].min() >= 0.3678 and bounded[:3].max() <= 1.0001


def test_two_rows_give_normal_values_of_one_and_minus_one(device):
    """Their gradient in the features is a difference of near equals: only the rest is compared."""
    check(*draw(MNIST, 2, device), MNIST, wanted=("norm_weight", "norm_bias", "weight2", "bias2"))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [600, 1024])
def test_large_batches(batch, device):
    check(*draw(CELEBA, batch, device), CELEBA)


@pytest.mark.parametrize(("hidden", "width"), [(1, 1), (16, 64), (40, 2100)])
def test_sizes(hidden, width, device):
    check(*draw(MNIST, 20, device, hidden=hidden, width=width), MNIST)


@pytest.mark.parametrize("wanted", [(), ("features",), TRAINED, ("weight2",)], ids=str)
def test_what_takes_no_gradient(wanted, device):
    check(*draw(MNIST, 20, device), MNIST, wanted=wanted)


def test_views(device):
    features, head, targets = draw(MNIST, 40, device)
    check(features[::2, 3:67], head._replace(weight1=head.weight1[:, 3:67]), targets[::2], MNIST)
    check(features.t().contiguous().t(), head, targets.t().contiguous().t(), MNIST)
    check(features, head._replace(weight2=head.weight2.t().contiguous().t()), targets[:1].expand(40, 3), MNIST)


def test_a_large_mean_does_not_cancel(device):
    """E[h²] - E[h]² would be wrong by about a percent: h² is 10⁶ times the variance."""
    features, head, targets = draw(MNIST, 128, device)
    inputs = (features + 1000.0, head, targets, MNIST)
    fused, exact = results("triton", *inputs), results("reference", *inputs, dtype=torch.float64)
    torch.testing.assert_close(fused["running_var"].double(), exact["running_var"], rtol=3e-4, atol=0)
    torch.testing.assert_close(fused["bounds"].double(), exact["bounds"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("layout", "batch", "width", "launches"),
    [(MNIST, 32, 70, 2), (MNIST, 128, 70, 3), (MNIST, 128, 2100, 4), (MNIST, 257, 70, 4), (CELEBA, 128, 70, 3)],
)
@pytest.mark.parametrize(
    ("wanted", "backward"), [(("features", *TRAINED), 2), (("features",), 2), (TRAINED, 2), ((), 0)]
)
def test_launches(layout, batch, width, launches, wanted, backward, device):
    features, head, targets = draw(layout, batch, device, hidden=16, width=width)
    with count_launches() as names:
        results("triton", features, head, targets, layout, wanted=wanted)
    assert len(names) == launches + backward, names


def test_reruns_are_bit_equal(device):
    inputs = draw(MIXED, 257, device)
    first, second = (results("triton", *inputs, MIXED) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_autocast_decides_the_rounding_of_operands(device):
    inputs = draw(MNIST, 20, device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        rounded = results("triton", *inputs, MNIST)
    plain = results("triton", *inputs, MNIST)
    assert rounded["features"].dtype == torch.float32
    torch.testing.assert_close(rounded["bounds"], plain["bounds"], rtol=0.1, atol=0.1)
    assert not torch.equal(rounded["bounds"], plain["bounds"])


def test_a_target_that_is_no_class_is_loud(device):
    features, head, targets = draw(MNIST, 8, device)
    targets[3, 0] = 10.0
    found = results("triton", features, head, targets, MNIST)
    assert found["bounds"].isnan().tolist() == [True, False, False, True]
    assert found["term"].isnan()
    assert found["weight2"].isnan().any(dim=1).tolist() == [column < 10 for column in range(14)]


def test_a_second_derivative_raises(device):
    features, head, targets = draw(MNIST, 8, device)
    ones = torch.ones(3, device=device)
    features.requires_grad_()
    term, _ = information_term(features, head, targets, MNIST, ones, ones, implementation="triton")
    (gradient,) = torch.autograd.grad(term, features, create_graph=True)
    with pytest.raises(RuntimeError, match="implementation='reference' for double backward"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_whole_with_its_running_statistics(backend, device):
    torch._dynamo.reset()
    features, head, targets = draw(MNIST, 8, device)
    ones = torch.ones(3, device=device)

    def loss(features, *head):
        term, bounds = information_term(
            features, QHeadTensors(*head), targets, MNIST, ones, ones, implementation="triton"
        )
        return 2 * term, bounds

    found = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend=backend)):
        own = [t.clone() for t in head]
        x = features.clone().requires_grad_()
        for _ in range(2):
            term, bounds = function(x, *own)
        found.append([term.detach(), bounds, *torch.autograd.grad(term, x), *own[3:5]])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)
    assert not torch.equal(found[1][-1], head.running_var)


@pytest.mark.parametrize("batch", [8, 300])
def test_opcheck(batch, device):
    features, head, targets = draw(MNIST, batch, device)
    ones = torch.ones(3, device=device)
    constants = (MNIST.spec, -8.0, 8.0, False, 0.1, 0.1, 1e-5, 0.1, torch.float32, True)
    importlib.import_module("gan_zoo_kernels.fused.information")  # which registers the operators
    operators = torch.ops.gan_zoo_kernels
    *weights, variances = head
    forward = (features, *weights, targets, ones, ones, variances, *constants)
    assert set(torch.library.opcheck(operators.information_term.default, forward).values()) == {"SUCCESS"}
    saved = operators.information_term(*forward)[2:]
    weights = (head.weight1, head.norm_weight, head.norm_bias, head.weight2, head.bias2)
    for flags in ((True, True), (False, True), (True, False)):
        backward = (torch.ones((), device=device), features, *weights, *saved, 0.1, torch.float32, *flags)
        assert set(torch.library.opcheck(operators.information_term_backward.default, backward).values()) == {"SUCCESS"}


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("batch", [20, 150])
def test_nothing_outside_the_tensors_is_touched(batch):
    features, head, targets = draw(MNIST, batch, "cpu")
    head = QHeadTensors(*head)
    ones = torch.ones(3)
    *weights, variances = head
    constants = (MNIST.spec, -8.0, 8.0, False, 0.1, 0.1, 1e-5, 0.1, torch.float32, True)
    forward = (features, *weights, targets, ones, ones, variances, *constants)
    with recorded_traffic() as traffic:
        outputs = torch.ops.gan_zoo_kernels.information_term(*forward)
    assert traffic.stored(outputs[1]).tolist() == [0, 1, 2, 3]
    assert traffic.stored(outputs[2]).tolist() == list(range(outputs[2].numel()))
    assert traffic.stored(head.running_var).tolist() == list(range(24))
    weights = (head.weight1, head.norm_weight, head.norm_bias, head.weight2, head.bias2)
    upstream = torch.ones(())
    with recorded_traffic() as traffic:
        gradients = torch.ops.gan_zoo_kernels.information_term_backward(
            upstream, features, *weights, *outputs[2:], 0.1, torch.float32, True, True
        )
    for gradient in gradients:
        assert traffic.stored(gradient).tolist() == list(range(gradient.numel()))
    assert set(traffic.loaded(outputs[4]).tolist()) == set(range(outputs[4].numel()))
