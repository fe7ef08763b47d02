"""Adam's step in one launch, against plain torch in float64 and torch's own fused Adam."""

import pytest
import torch
from comparison import assert_as_good_as_torch
from gan_zoo_kernels import adam_step
from gan_zoo_kernels.fused.launches import count_launches
from narrow import narrow_config
from recorder import Recorder

from benchmarks.kernel_traffic import recorded_traffic
from gan_zoo.data.dataset import open_dataset
from gan_zoo.training import network_optimizer
from gan_zoo.training.build import new_state
from gan_zoo.training.capture import Captured, CudaGraphs
from gan_zoo.training.half_weights import HalfWeights
from gan_zoo.training.iterations import Iterations

HALVES = [torch.float16, torch.bfloat16]
LR = 2e-3


def draw(shape, device, *, steps):
    """The weight, its gradient and its two moments after `steps` steps, float32."""
    generator = torch.Generator().manual_seed(steps)
    weight, gradient, average, square = (torch.randn(shape, generator=generator) for _ in range(4))
    if steps == 0:
        average, square = torch.zeros(shape), torch.zeros(shape)
    return [t.to(device) for t in (weight, gradient, 0.3 * average, 0.1 * square.square())]


def step(tensors, copy_dtype, gradient_dtype, *, steps, betas, implementation):
    weight, gradient, average, square = (t.clone() for t in tensors)
    copy = torch.zeros_like(weight, dtype=copy_dtype)
    lr, count = (torch.tensor(number, dtype=weight.dtype, device=weight.device) for number in (LR, steps + 1.0))
    adam_step(
        weight, gradient.to(gradient_dtype), average, square, copy, lr, count, betas=betas,
        implementation=implementation,
    )  # fmt: skip
    return weight, average, square, copy


def torchs(tensors, *, steps, betas):
    """torch's fused Adam."""
    weight, gradient, average, square = (t.clone() for t in tensors)
    weight = torch.nn.Parameter(weight)
    adam = torch.optim.Adam([weight], lr=LR, betas=betas, fused=True)
    count = torch.tensor(float(steps), device=weight.device)
    adam.state[weight] = {"step": count, "exp_avg": average, "exp_avg_sq": square}
    weight.grad = gradient
    adam.step()
    return weight.detach(), average, square


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.0, 0.99), (0.9, 0.0)])
@pytest.mark.parametrize("steps", [0, 1, 40, 1_000, 100_000])
@pytest.mark.parametrize("n", [1, 2_000, 4_096])
def test_it_is_torch_s_adam(n, steps, betas, dtype, device):
    tensors = [t.to(dtype).float() if k == 1 else t for k, t in enumerate(draw((n,), device, steps=steps))]
    *fused, copy = step(tensors, dtype, dtype, steps=steps, betas=betas, implementation="triton")
    plain = torchs(tensors, steps=steps, betas=betas)
    exact = step(
        [t.double() for t in tensors], dtype, torch.float64, steps=steps, betas=betas, implementation="reference"
    )
    for ours, theirs, truth in zip(fused, plain, exact[:3], strict=True):
        assert_as_good_as_torch(ours, theirs, truth)
    format = torch.finfo(dtype)  # the interpreter truncates
    difference, size = (copy.double() - fused[0].double()).abs(), fused[0].double().abs()
    assert (difference <= format.eps * size.clamp(min=format.smallest_normal)).all()


def test_the_reference_is_torch_s_adam(device):
    tensors = draw((64, 3), device, steps=3)
    ours = step(tensors, torch.bfloat16, torch.float32, steps=3, betas=(0.5, 0.999), implementation="reference")
    for value, other in zip(ours, torchs(tensors, steps=3, betas=(0.5, 0.999)), strict=False):
        torch.testing.assert_close(value, other, rtol=1e-6, atol=1e-6)
    assert torch.equal(ours[3], ours[0].bfloat16())


def test_the_first_step_moves_every_weight_by_the_learning_rate(device):
    """m / √v is the sign of the gradient, if both are corrected exactly."""
    tensors = draw((512,), device, steps=0)
    weight, *_ = step(tensors, torch.bfloat16, torch.float32, steps=0, betas=(0.5, 0.999), implementation="triton")
    moved = (tensors[0] - weight).double()
    torch.testing.assert_close(moved, LR * tensors[1].sign().double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_of_a_convolution_s_weight(layout, device):
    tensors = [t.contiguous(memory_format=layout) for t in draw((6, 5, 4, 4), device, steps=2)]
    options = {"steps": 2, "betas": (0.5, 0.999)}
    with count_launches() as names:
        fused = step(tensors, torch.bfloat16, torch.bfloat16, **options, implementation="triton")
    assert names == ["adam_kernel"]
    plain = step(tensors, torch.bfloat16, torch.bfloat16, **options, implementation="reference")
    for ours, theirs in zip(fused[:3], plain[:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert ours.is_contiguous(memory_format=layout)


def test_tensors_of_several_layouts_take_the_reference(device):
    weight, gradient, *moments = draw((8, 6), device, steps=2)
    tensors = [weight, gradient.t().contiguous().t(), *moments]
    options = {"steps": 2, "betas": (0.5, 0.999)}
    with count_launches() as names:
        mixed = step(tensors, torch.bfloat16, torch.float32, **options, implementation="triton")
    assert names == []
    plain = step([weight, gradient, *moments], torch.bfloat16, torch.float32, **options, implementation="reference")
    assert all(torch.equal(a, b) for a, b in zip(mixed, plain, strict=True))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_values_that_are_not_finite_stay_visible(device):
    weight, gradient, *moments = draw((40,), device, steps=2)
    gradient[7], gradient[9] = float("nan"), float("inf")
    fused = step(
        [weight, gradient, *moments], torch.bfloat16, torch.float32, steps=2, betas=(0.5, 0.999),
        implementation="triton",
    )  # fmt: skip
    assert fused[0].isnan().nonzero().flatten().tolist() == [7, 9]
    assert fused[3].isnan().nonzero().flatten().tolist() == [7, 9]


def test_no_elements(device):
    empty = [torch.zeros(0, 4, device=device)] * 4
    with count_launches() as names:
        step(empty, torch.bfloat16, torch.float32, steps=0, betas=(0.5, 0.999), implementation="triton")
    assert names == []


def test_one_launch_reads_and_writes_everything_once(interpreter):
    weight, gradient, average, square = draw((3_000,), "cpu", steps=2)
    gradient, copy, lr, steps = gradient.bfloat16(), weight.bfloat16(), torch.ones(()), torch.ones(())
    with recorded_traffic() as traffic:
        adam_step(weight, gradient, average, square, copy, lr, steps, implementation="triton")
    updated = (weight, average, square)
    for tensor in (*updated, gradient):
        assert traffic.loaded(tensor).tolist() == list(range(3_000))
    for tensor in (*updated, copy):
        assert traffic.stored(tensor).tolist() == list(range(3_000))
    assert traffic.strays([*updated, gradient, copy, lr, steps]) == 0
    assert traffic.bytes_loaded + traffic.bytes_stored <= 28 * 3_000 + 100


def stepped(device, monkeypatch, large, *, steps=1, recorder=None, **settings):
    """Iterations of the plain GAN in bf16, of which weights of `large` elements have a launch of their own."""
    monkeypatch.setattr(network_optimizer, "LARGE", large)
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    options = {"training__precision": "bf16", "training__cuda_graph": "off", "trunk__name": "mlp", **settings}
    config = narrow_config("gan", **options)
    iterations = Iterations(new_state(config, device), open_dataset(config.data).train)
    iterations.read_rates_on_device()
    if recorder:
        iterations.captured = Captured(iterations.state, recorder, pytest.fail)
    with count_launches() as names:
        for _ in range(steps):
            next(iterations)
    return iterations, names.count("adam_kernel")


def test_a_step_with_launches_for_large_weights_is_the_step_of_torch_s_adam(device, monkeypatch):
    """Both networks' first step, from equal weights. The interpreter's copies are truncated, and steps then differ."""
    simultaneous = {"training__update": "simultaneous"}  # G's step against D before its update
    apart, launches = stepped(device, monkeypatch, 32, **simultaneous)
    together, none = stepped(device, monkeypatch, 10**9, **simultaneous)
    assert none == 0
    large = [weight for optimizer in apart.state.optimizers.values() for weight in optimizer.large]
    assert launches == len(large) >= 4  # both networks'
    named, others = dict(apart.state.model.named_parameters()), dict(together.state.model.named_parameters())
    for name, weight in named.items():
        torch.testing.assert_close(weight, others[name], rtol=1e-5, atol=1e-6)
    moments, expected = (iterations.state.tensors()["optimizer.safetensors"] for iterations in (apart, together))
    assert moments.keys() == expected.keys()
    for name, value in moments.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-9)
    for weight, copy in apart.half_weights.copies.items():
        torch.testing.assert_close(copy.float(), weight, rtol=2**-7, atol=1e-30)
        assert weight.grad is None
        assert copy.grad is None


def test_replayed_launches_read_the_gradients_of_their_step(device, monkeypatch):
    recorder = Recorder() if device.type == "cpu" else CudaGraphs(device)
    small = {"steps": 5, "trunk__width": 2, "training__batch_size": 4}
    replayed, _ = stepped(device, monkeypatch, 32, recorder=recorder, **small)
    eager, _ = stepped(device, monkeypatch, 32, **small)
    weights = dict(eager.state.model.named_parameters())
    for name, weight in replayed.state.model.named_parameters():
        torch.testing.assert_close(weight, weights[name], rtol=1e-3, atol=1e-4)
    assert all(int(state["step"]) == 5 for o in replayed.state.optimizers.values() for state in o.adam.state.values())


@pytest.mark.parametrize(
    "settings",
    [{"training__accumulate": 2}, {"training__on_nan": "skip"}, {"training__precision": "fp16"}],
    ids=str,
)
def test_gradients_that_something_else_reads_take_torch_s_adam(settings, device, monkeypatch):
    assert stepped(device, monkeypatch, 32, **settings)[1] == 0


def test_weights_that_are_not_float32_take_torch_s_adam(device, monkeypatch):
    monkeypatch.setattr(network_optimizer, "LARGE", 64)  # more than a bias has
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    state = new_state(narrow_config("gan", training__precision="bf16", trunk__name="mlp"), device)
    for layer in state.model.discriminator.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = layer.weight.data.bfloat16()
    copies = HalfWeights([state.model.generator, state.model.discriminator], torch.bfloat16)
    large = {}
    for name, optimizer in state.optimizers.items():
        optimizer.use(copies)
        large[name] = len(optimizer.large)
    assert large["discriminator"] == 0
    assert large["generator"] > 0


def test_autograd_notices_that_a_copy_changed(device):
    weight, gradient, average, square = draw((8, 4), device, steps=0)
    copy = weight.bfloat16()
    y = torch.ones(3, 4, device=device, dtype=torch.bfloat16, requires_grad=True) @ copy.t()
    one = torch.ones((), device=device)
    adam_step(weight, gradient, average, square, copy, one, one, implementation="triton")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_operator_passes_torch_s_checks(device):
    weight, gradient, average, square = draw((8, 4), device, steps=0)
    copy, one = weight.bfloat16(), torch.ones((), device=device)
    arguments = (weight, gradient, average, square, copy, one, one, 0.5, 0.999, 1e-8)
    torch.library.opcheck(torch.ops.gan_zoo_kernels.adam_step.default, arguments)


def test_a_weight_without_a_gradient_keeps_its_moments(device, monkeypatch):
    iterations, launches = stepped(device, monkeypatch, 32, steps=2, training__discriminator_steps=3)
    optimizers = iterations.state.optimizers
    assert launches == 2 * len(optimizers["discriminator"].large)
    for name, steps in (("discriminator", 2), ("generator", 0)):
        adam = optimizers[name].adam
        assert {int(adam.state[weight]["step"]) for weight in optimizers[name].large} == {steps}
