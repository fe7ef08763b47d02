"""Batch norm with leaky ReLU, fused, against plain torch in float64 and in the same dtype."""

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch
from gan_zoo_kernels import batch_norm
from gan_zoo_kernels.fused.launches import count_launches

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def draw(shape, dtype, device, mean=0.5, spread=1.0):
    """x, weight, bias, running mean and variance, and the gradient that comes in."""
    generator = torch.Generator().manual_seed(0)
    channels = shape[1]
    x = torch.randn(shape, generator=generator) * spread + mean
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.rand(channels, generator=generator) + 0.5, torch.randn(channels, generator=generator)
    running = torch.randn(channels, generator=generator), torch.rand(channels, generator=generator)
    upstream = torch.randn(shape, generator=generator).to(dtype)
    return [t.to(device) for t in (x.to(dtype), weight, bias, *running, upstream)]


def results(implementation, inputs, trained=True, **options):
    x, weight, bias, *running, upstream = (None if t is None else t.detach().clone() for t in inputs)
    x.requires_grad_()
    weight.requires_grad_(trained)
    bias.requires_grad_(trained)
    y = batch_norm(x, weight, bias, *running, implementation=implementation, **options)
    y.backward(upstream.to(y.dtype))
    found = {"y": y.detach(), "x": x.grad, "weight": weight.grad, "bias": bias.grad}
    return found | dict(zip(("running_mean", "running_var"), running, strict=True))


def check(inputs, scale=1.0, **options):
    """`scale` is the size of the values beside the spread that they are divided by."""
    fused, plain = results("triton", inputs, **options), results("reference", inputs, **options)
    exact = results("reference", as_double(inputs), **options)
    channels = inputs[0].shape[1]
    terms = inputs[0].numel() // channels
    scales = {
        "y": scale,
        "x": 4 * scale,
        "weight": terms * scale,
        "bias": terms,
        "running_mean": scale,
        "running_var": 4,
    }
    for name, value in fused.items():
        if value is not None:
            assert_as_good_as_torch(value, plain[name], exact[name], scale=scales[name])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((128, 100), None),  # channels that no block divides
        ((70, 33), 32),  # two lots and a smaller one
        ((2, 6), None),  # the fewest rows
        ((10, 20, 5, 5), 4),  # maps in one launch, the last lot smaller
        ((10, 36, 18, 18), 4),  # in two
    ],
    ids=str,
)
def test_shapes_and_lots(shape, rows, slope, dtype, device):
    check(draw(shape, dtype, device), rows=rows, slope=slope)


@pytest.mark.parametrize("rows", [1024, 1025, 1600])
def test_lots_around_the_most_rows_that_a_program_holds(rows, device):
    check(draw((rows, 8), torch.float32, device), slope=0.1)


@pytest.mark.slow
def test_parts_of_several_tiles(device):
    """More rows than tiles times parts; the last lot lacks rows for most of its parts."""
    inputs = draw((160, 4, 20, 25), torch.bfloat16, device)
    check(inputs, rows=150, slope=0.2)


@pytest.mark.parametrize("shape", [(200, 12), (8, 12, 20, 20)], ids=str)
def test_a_large_mean_does_not_cancel_the_variance(shape, device):
    """E[x²] - E[x]² of a mean of 1,000 and a deviation of 0.05 has no correct digit in float32."""
    inputs = draw(shape, torch.float32, device, mean=1e3, spread=0.05)
    x = inputs[0].transpose(0, 1).flatten(1)
    naive = x.square().mean(1) - x.mean(1).square()
    exact = x.double().var(1, unbiased=False)
    assert ((naive - exact).abs() / exact).max() > 1
    inputs[4].zero_()
    found = results("triton", inputs, momentum=1.0)
    torch.testing.assert_close(found["running_var"].double(), x.double().var(1), rtol=1e-3, atol=0)
    torch.testing.assert_close(found["running_mean"].double(), x.double().mean(1), rtol=1e-6, atol=0)
    check(inputs, scale=1e3 / 0.05)


def test_nothing_recorded_and_frozen_weights(device):
    for shape in ((40, 12), (8, 12, 14, 14)):
        inputs = draw(shape, torch.float32, device)
        whole = results("triton", inputs, slope=0.1)
        inputs[3] = inputs[4] = None
        frozen = results("triton", inputs, trained=False, slope=0.1)
        assert frozen["weight"] is frozen["bias"] is None
        assert torch.equal(frozen["y"], whole["y"])
        assert torch.equal(frozen["x"], whole["x"])


@pytest.mark.parametrize(("shape", "launches"), [((128, 20), 2), ((10, 20, 10, 10), 2), ((30, 20, 10, 10), 4)], ids=str)
def test_launches(shape, launches, device):
    inputs = draw(shape, torch.bfloat16, device)
    with count_launches() as names:
        results("triton", inputs, rows=20)
    assert len(names) == launches, names


def test_a_map_stored_channel_by_channel_takes_the_reference(device):
    inputs = draw((4, 6, 3, 3), torch.float32, device)
    inputs[0] = inputs[0].contiguous()
    with count_launches() as names:
        found = results("triton", inputs)
    assert not names
    expected = results("reference", inputs)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_gradient_that_is_stored_otherwise(device):
    inputs = draw((20, 6, 9, 9), torch.float32, device)
    found = results("triton", inputs, slope=0.1)
    inputs[-1] = inputs[-1].contiguous()
    again = results("triton", inputs, slope=0.1)
    assert all(torch.equal(found[name], again[name]) for name in found)
    inputs[-1] = torch.ones((), device=device).expand(20, 6, 9, 9)
    check(inputs, slope=0.1)


def test_nan_and_infinity_are_loud(device):
    for slope in (0.0, 0.1):
        inputs = draw((16, 4), torch.float32, device)
        inputs[0][3, 1], inputs[0][5, 2] = float("nan"), float("inf")
        y = results("triton", inputs, slope=slope)["y"]
        assert y.isnan().all(dim=0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("shape", [(40, 12), (8, 12, 20, 20)], ids=str)
def test_reruns_are_bit_equal(shape, device):
    inputs = draw(shape, torch.bfloat16, device)
    first, second = (results("triton", inputs, rows=5, slope=0.1) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_second_derivative_raises(device):
    inputs = draw((8, 4), torch.float32, device)
    x = inputs[0].requires_grad_()
    y = batch_norm(x, *inputs[1:5], implementation="triton")
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("recorded", [True, False])
def test_compiled_whole_with_its_running_statistics(backend, recorded, device):
    torch._dynamo.reset()
    inputs = draw((12, 6), torch.float32, device)

    def loss(x, weight, bias, *running):
        known = running if recorded else (None, None)
        return batch_norm(x, weight, bias, *known, rows=5, slope=0.1, implementation="triton").square() * 2

    found = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend=backend)):
        own = [t.detach().clone() for t in inputs[:5]]
        sources = [t.requires_grad_() for t in own[:3]]
        for _ in range(2):
            value = function(*own)
        found.append([value.detach(), *torch.autograd.grad(value.sum(), sources), *own[3:]])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)
    assert torch.equal(found[1][-1], inputs[4]) != recorded


@pytest.mark.parametrize("shape", [(8, 5), (8, 5, 17, 17)], ids=str)
def test_opcheck(shape, device):
    x, weight, bias, mean, var, upstream = draw(shape, torch.float32, device)
    operators = torch.ops.gan_zoo_kernels
    forward = (x, weight, bias, mean, var, 5, 0.1, 1e-5, 0.2)
    for arguments in (forward, (*forward[:3], None, None, *forward[5:])):
        assert set(torch.library.opcheck(operators.batch_norm.default, arguments).values()) == {"SUCCESS"}
    upstream = upstream.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else upstream
    stats = operators.batch_norm(*forward)[1]
    for trained in (True, False):
        backward = (upstream, x, weight, bias, stats, 5, 0.2, trained)
        assert set(torch.library.opcheck(operators.batch_norm_backward.default, backward).values()) == {"SUCCESS"}


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize(("shape", "reads"), [((33, 20), 1), ((9, 20, 18, 18), 2)], ids=str)
def test_inputs_are_read_once_a_launch_and_outputs_written_once(shape, reads):
    x, weight, bias, mean, var, upstream = draw(shape, torch.float16, "cpu")
    upstream = upstream.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else upstream
    operators = torch.ops.gan_zoo_kernels
    with recorded_traffic() as forward:
        y, stats = operators.batch_norm(x, weight, bias, mean, var, 5, 0.1, 1e-5, 0.2)
    with recorded_traffic() as backward:
        gradients = operators.batch_norm_backward(upstream, x, weight, bias, stats, 5, 0.2, True)
    every = [k for k in range(x.numel()) for _ in range(reads)]
    assert forward.loaded(x).tolist() == backward.loaded(x).tolist() == backward.loaded(upstream).tolist() == every
    for traffic, outputs in ((forward, (y, stats, mean, var)), (backward, gradients)):
        for tensor in outputs:
            assert traffic.stored(tensor).tolist() == list(range(tensor.numel()))
    if reads == 1:
        assert forward.strays([x, weight, bias, mean, var, y, stats]) == 0
        assert backward.strays([upstream, x, weight, bias, stats, *gradients]) == 0
