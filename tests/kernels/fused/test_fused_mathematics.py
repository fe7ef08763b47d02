"""The device functions and the second launch of a reduction, each alone."""

import pytest
import torch
import triton
import triton.language as tl
from gan_zoo_kernels.fused import mathematics
from gan_zoo_kernels.fused.column_sums import column_sums


@triton.jit
def exp_kernel(x, out, size: tl.constexpr):
    i = tl.arange(0, size)
    tl.store(out + i, mathematics.exp(tl.load(x + i)))


@triton.jit
def log1p_of_exp_kernel(x, out, size: tl.constexpr):
    i = tl.arange(0, size)
    tl.store(out + i, mathematics.log1p_of_exp(tl.load(x + i)))


def apply(kernel, x):
    out = torch.empty_like(x)
    kernel[(1,)](x, out, x.numel())
    return out


def test_exp_is_within_a_few_ulp_over_its_range(device):
    x = torch.linspace(-86.0, 80.0, 8192, device=device)
    relative = (apply(exp_kernel, x).double() / x.double().exp() - 1).abs().max()
    assert relative <= 4 * torch.finfo(torch.float32).eps


def test_exp_at_its_ends(device):
    x = torch.tensor([-float("inf"), -1e30, -200.0, 0.0, -0.0, float("nan"), 1.0, -1.0], device=device)
    out = apply(exp_kernel, x)
    assert out[:5].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert out[5].isnan()


def test_log1p_of_exp_keeps_its_relative_precision(device):
    x = torch.linspace(-80.0, 0.0, 4096, device=device)
    exact = x.double().exp().log1p()
    relative = (apply(log1p_of_exp_kernel, x).double() / exact - 1).abs().max()
    assert relative <= 8 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 129])
@pytest.mark.parametrize("columns", [1, 2, 16, 17])
def test_column_sums(rows, columns, device):
    partials = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(device)
    out = torch.empty(columns, device=device)
    column_sums(partials, out, 3.0)
    torch.testing.assert_close(out, partials.sum(0) / 3.0)


def test_column_sums_as_a_ratio(device):
    partials = torch.tensor([[1.0, 2.0], [3.0, 6.0]], device=device)
    out = torch.empty(2, device=device)
    column_sums(partials, out, ratio=True)
    assert out.tolist() == [0.5, 8.0]
