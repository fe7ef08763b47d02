"""Adam's step in plain torch: torch's own values, and what it refuses."""

import pytest
import torch
from gan_zoo_kernels import adam_step


def tensors(shape=(4, 3), dtype=torch.float64):
    weight, gradient, average, square = torch.rand(4, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    lr, steps = (torch.tensor(number, dtype=dtype) for number in (0.01, 1.0))
    copy = torch.zeros(shape, dtype=torch.bfloat16)
    named = {"weight": weight, "gradient": gradient, "average": average, "square": square, "copy": copy}
    return named | {"lr": lr, "steps": steps}


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.0, 0.99)])
def test_its_steps_are_those_of_torch_s_adam(betas):
    given = tensors()
    given["average"].zero_()
    given["square"].zero_()
    weight = torch.nn.Parameter(given["weight"].clone())
    adam = torch.optim.Adam([weight], lr=0.01, betas=betas)
    for step in range(1, 6):
        weight.grad = given["gradient"] * step
        adam.step()
        adam_step(**given | {"gradient": weight.grad, "steps": torch.tensor(step).double()}, betas=betas)
    torch.testing.assert_close(given["weight"], weight.detach(), rtol=1e-9, atol=1e-12)
    assert torch.equal(given["copy"], given["weight"].bfloat16())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gradient": torch.zeros(3, 4)}, ValueError, r"gradient must be \[4, 3\], not \[3, 4\]"),
        ({"lr": torch.zeros(1)}, ValueError, r"lr must be \[\], not \[1\]"),
        ({"square": torch.zeros(4, 3)}, TypeError, "square must be torch.float64 as weight is, not torch.float32"),
        ({"copy": torch.zeros(4, 3, dtype=torch.int8)}, TypeError, "copy must be floating-point, not torch.int8"),
        ({"steps": torch.zeros((), device="meta")}, ValueError, "weight is on cpu, steps on meta"),
        ({"betas": (0.5, 1.0)}, ValueError, r"betas must be in \[0, 1\), not \(0.5, 1.0\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    given = tensors()
    before = {name: tensor.clone() for name, tensor in given.items()}
    with pytest.raises(error, match=message):
        adam_step(**given | change)
    assert all(torch.equal(given[name], tensor) for name, tensor in before.items())
