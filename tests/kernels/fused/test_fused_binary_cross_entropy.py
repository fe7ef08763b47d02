"""The cross-entropy of logits, fused, against plain torch in float64 and in the same dtype."""

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch, value_and_gradients
from gan_zoo_kernels import binary_cross_entropy
from gan_zoo_kernels.binary_cross_entropy import MAX_LOGITS
from gan_zoo_kernels.fused.launches import count_launches

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LABELS = [("ones",), ("zeros",), ("ones", "zeros")]


def logits(n, dtype, device, spread=3.0, seed=0):
    drawn = spread * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed))
    return drawn.to(device, dtype).requires_grad_()


def term(labels, implementation):
    def call(*tensors):
        return binary_cross_entropy(**dict(zip(labels, tensors, strict=True)), implementation=implementation)

    return call


def check(labels, inputs, upstream=None):
    fused, plain = (value_and_gradients(term(labels, path), inputs, upstream) for path in ("triton", "reference"))
    exact = value_and_gradients(softplus_terms(labels), as_double(inputs), upstream)
    found = [(a[0], *a[1]) for a in (fused, plain, exact)]
    largest = max(float(x.detach().abs().max()) for x in inputs)
    for ours, theirs, truth in zip(*found, strict=True):
        assert_as_good_as_torch(ours, theirs, truth, scale=max(1.0, largest))


def softplus_terms(labels):
    """In float64: the reference computes in float32."""

    def call(*tensors):
        signs = [-1 if label == "ones" else 1 for label in labels]
        return sum(torch.logaddexp(s * x, torch.zeros_like(x)).mean() for s, x in zip(signs, tensors, strict=True))

    return call


@pytest.mark.parametrize("labels", LABELS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 128, 512, 513, MAX_LOGITS])
def test_batches(n, dtype, labels, device):
    check(labels, [logits(n, dtype, device, seed=k) for k, _ in enumerate(labels)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_unequal_numbers_and_another_gradient_that_comes_in(dtype, device):
    upstream = torch.tensor(-0.37, device=device)
    check(("ones", "zeros"), [logits(130, dtype, device), logits(600, dtype, device, seed=1)], upstream)
    check(("ones", "zeros"), [logits(600, dtype, device), logits(3, dtype, device, seed=1)], upstream)


@pytest.mark.parametrize("labels", [("ones",), ("zeros",)], ids=str)
def test_logits_far_from_zero(labels, device):
    x = torch.tensor([-1e4, -90.0, -30.0, -1e-3, 0.0, 1e-3, 30.0, 90.0, 1e4], device=device)
    check(labels, [x.requires_grad_()])


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite(value, device):
    x = torch.tensor([0.5, value], device=device)
    for labels in (("ones",), ("zeros",)):
        fused, plain = (term(labels, path)(x) for path in ("triton", "reference"))
        assert torch.equal(fused.isfinite(), plain.isfinite())
        assert torch.equal(fused.isnan(), plain.isnan())


def test_views_are_read_in_place(device):
    joined = torch.randn(20, 2, device=device)
    real, fake = joined[:12, :1], joined[12:, 1]
    fake.requires_grad_()
    with count_launches() as names:
        fused = binary_cross_entropy(ones=real, zeros=fake, implementation="triton")
        (gradient,) = torch.autograd.grad(fused, fake)
    assert names == ["binary_cross_entropy_forward_kernel", "binary_cross_entropy_backward_kernel"]
    plain = binary_cross_entropy(ones=real, zeros=fake, implementation="reference")
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, fake)[0])


def test_a_gradient_is_computed_only_where_it_is_wanted(interpreter):
    real, fake = torch.randn(12), torch.randn(8, requires_grad=True)
    with recorded_traffic() as traffic:
        torch.autograd.grad(binary_cross_entropy(ones=real, zeros=fake, implementation="triton"), fake)
    assert traffic.loaded(real).tolist() == list(range(12))  # by the forward pass alone
    assert traffic.loaded(fake).tolist() == [k for k in range(8) for _ in range(2)]


def test_many_logits_take_plain_torch_and_none_give_nan(device):
    many, few = torch.zeros(MAX_LOGITS + 1, device=device), torch.zeros(2, device=device)
    with count_launches() as names:
        assert binary_cross_entropy(ones=many, zeros=few, implementation="triton").item() == pytest.approx(1.386294)
    assert names == []
    for implementation in ("triton", "reference"):
        assert binary_cross_entropy(ones=few[:0], zeros=few, implementation=implementation).isnan()


def test_a_second_derivative_is_refused(device):
    x = torch.randn(4, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(binary_cross_entropy(ones=x, implementation="triton"), x, create_graph=True)
    with pytest.raises(RuntimeError, match="implementation='reference'"):
        gradient.sum().backward()


def test_the_operators_pass_torch_s_checks(device):
    x, y = torch.randn(5, 1, device=device), torch.randn(3, device=device)
    operators, one = torch.ops.gan_zoo_kernels, torch.ones((), device=device)
    for ones, zeros in ((x, y), (x, None), (None, y)):
        torch.library.opcheck(operators.binary_cross_entropy.default, (ones, zeros))
        torch.library.opcheck(operators.binary_cross_entropy_backward.default, (one, ones, zeros))


def test_everything_is_read_and_written_once(interpreter):
    x, y, one = torch.randn(600, 1).half(), torch.randn(40, 1).half(), torch.ones(())
    operators = torch.ops.gan_zoo_kernels
    with recorded_traffic() as forward:
        loss = operators.binary_cross_entropy(x, y)
    with recorded_traffic() as backward:
        gradients = operators.binary_cross_entropy_backward(one, x, y)
    for tensor in (x, y):
        every = list(range(len(tensor)))
        assert forward.loaded(tensor).tolist() == backward.loaded(tensor).tolist() == every
    assert forward.stored(loss).tolist() == [0]
    assert [backward.stored(gradient).tolist() for gradient in gradients] == [list(range(600)), list(range(40))]
    assert forward.strays([x, y, loss]) == backward.strays([one, x, y, *gradients]) == 0
