"""Fused cross-entropy against the reference in float64 and in the same dtype."""

import functools

import pytest
import torch
from comparison import as_double, assert_as_good_as_torch, value_and_gradients
from gan_zoo_kernels import cross_entropy
from gan_zoo_kernels.fused.launches import count_launches
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernel_traffic import recorded_traffic

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
REDUCTIONS = ["mean", "sum", "none"]


def draw(shape, dtype, device, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * spread
    target = torch.randint(shape[-1], shape[:-1], generator=generator)
    target.view(-1)[:2] = torch.tensor([0, shape[-1] - 1])[: min(2, target.numel())]
    return logits.to(device, dtype).requires_grad_(), target.to(device)


def check(logits, target, reduction="mean", ignore_index=None):
    options = {"reduction": reduction, "ignore_index": ignore_index}
    fused = functools.partial(cross_entropy, **options, implementation="triton")
    plain = functools.partial(cross_entropy, **options, implementation="reference")
    upstream = torch.tensor(-1.75, device=logits.device)
    if reduction == "none":
        upstream = torch.linspace(-2.0, 3.0, max(1, target.numel()), device=logits.device)[: target.numel()]
        upstream = upstream.view(target.shape)
    value, (gradient,) = value_and_gradients(fused, [logits, target], upstream)
    plain_value, (plain_gradient,) = value_and_gradients(plain, [logits, target], upstream)
    exact_value, (exact_gradient,) = value_and_gradients(plain, as_double([logits, target]), upstream)
    assert value.dtype == torch.float32
    assert_as_good_as_torch(value, plain_value, exact_value)
    rows = max(1, target.numel()) if reduction == "mean" else 1
    assert_as_good_as_torch(gradient, plain_gradient, exact_gradient, scale=3.0 / rows)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_index", [None, 3, -100])
def test_reductions(reduction, dtype, ignore_index, device):
    logits, target = draw((5, 8, 7), dtype, device)
    if ignore_index == -100:
        target[2] = ignore_index
    check(logits, target, reduction, ignore_index)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 7, 8, 9, 127, 128, 129, 1000, 4095, 4096, 4097])
def test_columns(columns, device):
    check(*draw((5, columns), torch.float16, device))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("columns", [1, 2, 15, 16, 17, 1000, 4096])
def test_columns_of_every_dtype(columns, reduction, dtype, device):
    check(*draw((19, columns), dtype, device, spread=4.0), reduction)


@pytest.mark.parametrize("rows", [0, 1, 2, 127, 128, 129, 1000])
def test_rows(rows, device):
    check(*draw((rows, 10), torch.float32, device))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("rows", [511, 512, 513, 4096, 8192])
def test_many_rows(rows, reduction, dtype, device):
    check(*draw((rows, 10), dtype, device), reduction, ignore_index=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_confident_logits(dtype, device):
    logits, target = draw((64, 17), dtype, device)
    confident = torch.where(logits > 1.0, 80.0, -80.0).to(dtype).detach().requires_grad_()
    check(confident, target)
    check(confident, confident.argmax(dim=1))
    check(confident, target, "none")


def test_no_row_counts(device):
    logits, target = draw((4, 5), torch.float32, device)
    check(logits, torch.full_like(target, 9), "sum", ignore_index=9)
    value = cross_entropy(logits, torch.full_like(target, 9), ignore_index=9, implementation="triton")
    assert value.isnan()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("columns", [8192, 8193, 20_001, 32_768])
def test_long_rows(columns, reduction, device):
    logits, target = draw((6, columns), torch.float16, device, spread=3.0)
    check(logits, target, reduction)
    target[1] = 7
    check(logits, target, reduction, ignore_index=7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows_of_every_dtype(dtype, device):
    check(*draw((3, 131_072), dtype, device, spread=4.0))
    wide, target = draw((3, 20_000), dtype, device)
    check(wide.detach()[:, ::2].requires_grad_(), target % 10_000, "none")


def test_long_rows_with_infinities(device):
    logits, target = draw((4, 40_000), torch.float32, device)
    logits = logits.detach()
    logits[0, :39_000] = -float("inf")  # whole stretches without a finite logit
    logits[1] = -float("inf")
    logits[2, 5] = float("nan")
    target[0] = 39_500
    value = cross_entropy(logits, target, "none", implementation="triton")
    expected = cross_entropy(logits, target, "none", implementation="reference")
    torch.testing.assert_close(value, expected, equal_nan=True)
    assert value.isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("columns", [5, 100, 9000])
@pytest.mark.parametrize("wrong", [-1, 9000, -100, 2**40])
def test_a_label_out_of_range_is_loud(wrong, columns, device):
    logits, target = draw((4, columns), torch.float32, device)
    target[2] = wrong
    value = cross_entropy(logits, target, "none", implementation="triton")
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isnan().tolist() == [False, False, True, False]
    assert gradient.isnan().all(dim=1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_views(dtype, device):
    wide, _ = draw((6, 10, 40), dtype, device)
    labels = torch.arange(1000, device=device) % 12
    wide = wide.detach()

    def at(logits, target):
        check(logits.detach().requires_grad_(), target)

    at(wide[0, :, 1:13], labels[1:11])  # labels at 8 bytes past a 16-byte boundary
    at(wide[0, :, 1:13], labels[:20:2].int())
    at(wide[:, :, :12], labels[:60].view(6, 10))
    at(wide[:, ::2, ::3][:, :, :12], labels[:30].view(5, 6).t())
    at(wide[0].t()[:12].t(), labels[1:2].expand(10))
    at(wide[:, :1, :12].expand(6, 10, 12), labels[:60].view(10, 6).t())


@pytest.mark.parametrize("integer", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_label_dtypes(integer, device):
    logits, target = draw((9, 5), torch.float32, device)
    check(logits, target.to(integer))


def test_float16_gradients_survive_a_loss_scale(device):
    logits, target = draw((64, 1000), torch.float16, device, spread=2.5)
    scale = 2.0**16
    exact = logits.detach().double().requires_grad_()
    (unscaled,) = torch.autograd.grad(cross_entropy(exact, target, implementation="reference"), exact)
    assert (unscaled.half() * scale == 0).sum() > 1000  # divided by the batch in float16, then scaled: too late
    (gradient,) = torch.autograd.grad(cross_entropy(logits, target, implementation="triton") * scale, logits)
    assert (gradient == 0).sum() == 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("rows", [9, 1000])
def test_a_loss_may_be_changed_in_place(rows, reduction, device):
    logits, target = draw((rows, 7), torch.float32, device)
    gradients = []
    for implementation in ("triton", "reference"):
        loss = cross_entropy(logits, target, reduction, implementation=implementation)
        loss += 1
        gradients += torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("rows", "launches"), [(128, 2), (1000, 3)])
def test_launches(rows, launches, device):
    logits, target = draw((rows, 10), torch.float32, device)
    with count_launches() as names:
        cross_entropy(logits, target, implementation="triton").backward()
    assert len(names) == launches, names


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("shape", [(300, 10), (3, 1000), (2, 20_001)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_inputs_are_read_once_and_gradients_written_once(shape, reduction):
    logits, target = draw(shape, torch.float16, "cpu")
    with recorded_traffic() as forward:
        nll = cross_entropy(logits, target, reduction, implementation="triton")
    upstream, (_, _, count, kept) = torch.ones_like(nll), nll.grad_fn.saved_tensors
    with recorded_traffic() as backward:
        (gradient,) = torch.autograd.grad(nll, logits, upstream)
    every, rows = list(range(logits.numel())), list(range(shape[0]))
    # The label's logit is met in registers among few classes, else it is loaded once more, from the row's cache line.
    again = (target + torch.tensor(rows) * shape[1]).tolist() if shape[1] > 32 else []
    assert forward.loaded(logits).tolist() == sorted(every + again)
    assert forward.loaded(target).tolist() == rows
    assert forward.stored(nll).tolist() == (rows if reduction == "none" else [0])
    assert forward.stored(count).tolist() == [0] * count.numel()
    assert forward.stored(kept).tolist() == list(range(kept.numel()))
    assert forward.strays([logits, target, nll, count, kept]) == 0
    assert backward.loaded(logits).tolist() == every
    stretches = 3 if shape[1] > 8192 else 1  # each a program, which loads the row's label
    assert backward.loaded(target).tolist() == sorted(rows * stretches)
    assert backward.stored(gradient).tolist() == every
    assert backward.strays([logits, target, upstream, count, kept, gradient]) == 0


@given(
    st.tuples(st.integers(0, 150), st.integers(1, 200)),
    st.sampled_from(DTYPES),
    st.sampled_from(REDUCTIONS),
    st.floats(0.01, 60),
    st.sampled_from([None, 0]),
)
def test_any_shape(shape, dtype, reduction, spread, ignore_index):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check(*draw(shape, dtype, device, spread=spread), reduction, ignore_index)
