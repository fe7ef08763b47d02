"""The cross-entropy of logits in plain torch: torch's own values, and what it refuses."""

import pytest
import torch
from gan_zoo_kernels import binary_cross_entropy
from torch.nn.functional import binary_cross_entropy_with_logits


@pytest.mark.parametrize("shape", [(9,), (9, 1), (3, 1, 4, 4)], ids=str)
def test_each_term_is_torch_s_loss_of_one_label(shape):
    real, fake = 4 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    of_ones = binary_cross_entropy_with_logits(real, torch.ones(shape))
    of_zeros = binary_cross_entropy_with_logits(fake, torch.zeros(shape))
    torch.testing.assert_close(binary_cross_entropy(ones=real), of_ones)
    torch.testing.assert_close(binary_cross_entropy(zeros=fake), of_zeros)
    torch.testing.assert_close(binary_cross_entropy(ones=real, zeros=fake), of_ones + of_zeros)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_loss_is_float32(dtype):
    assert binary_cross_entropy(ones=torch.zeros(3, dtype=dtype), zeros=torch.zeros(2)).dtype == torch.float32


def test_the_reference_is_differentiable_twice():
    x = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (gradient,) = torch.autograd.grad(binary_cross_entropy(ones=x), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    sigmoid = x.sigmoid()
    torch.testing.assert_close(second, sigmoid * (1 - sigmoid) / 4, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "needs logits: ones, zeros, or both"),
        ({"ones": torch.zeros(2, dtype=torch.int64)}, TypeError, "ones must be float32, float16, bfloat16 or float64"),
        (
            {"ones": torch.zeros(2), "zeros": torch.zeros(2, device="meta")},
            ValueError,
            "ones are on cpu, zeros on meta",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        binary_cross_entropy(**given)
