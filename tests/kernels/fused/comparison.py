"""The error that a kernel may have."""

import torch

ULPS = 4


def assert_as_good_as_torch(fused, plain, exact, scale=1.0):
    """|fused - exact| ≤ the largest |plain - exact| + 4 ulp of the value + 4 float32 ulp of `scale`.

    `plain` is torch in the same dtype and `exact` the float64 reference on the same inputs. `scale` is the
    size of the terms that were added to get the value. Infinities and NaN stand in the same places.
    """
    assert (fused.dtype, fused.shape) == (plain.dtype, plain.shape)
    if plain.numel() == 0:
        return
    out = torch.finfo(fused.dtype)
    finite = plain.isfinite()
    assert torch.equal(fused.isfinite(), finite)
    assert torch.equal(fused[~finite].double().nan_to_num(7.0), plain[~finite].double().nan_to_num(7.0))
    fused, plain, exact = (t.detach().double()[finite] for t in (fused, plain, exact))
    if fused.numel() == 0:
        return
    allowed = (plain - exact).abs().max() + ULPS * (
        out.eps * exact.abs() + torch.finfo(torch.float32).eps * scale + out.smallest_normal * out.eps
    )
    excess = (fused - exact).abs() - allowed
    assert excess.max() <= 0, f"wrong by {(fused - exact).abs().max():.3e}, {excess.max():.3e} more than allowed"


def value_and_gradients(function, inputs, upstream=None):
    """The function's value and its gradients in those inputs that require one."""
    value = function(*inputs)
    wanted = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    upstream = torch.ones_like(value) if upstream is None else upstream.to(value.dtype)
    return value.detach(), torch.autograd.grad(value, wanted, upstream)


def as_double(inputs):
    """Copies in float64 of the floating-point tensors."""
    return [
        t.detach().double().requires_grad_(t.requires_grad)
        if isinstance(t, torch.Tensor) and t.is_floating_point()
        else t
        for t in inputs
    ]
