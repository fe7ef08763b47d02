"""The functions and shapes of the suite `kernels`, and the minimum number of bytes that each moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from gan_zoo_kernels import (
    Implementation,
    Layout,
    adam_step,
    cross_entropy,
    gaussian_nll,
    q_head_nll,
    sample_latents,
)
from torch import Tensor
from torch.nn import functional as F

Direction = Literal["forward", "backward", "both"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "both")


class Work(NamedTuple):
    """A function of gan_zoo_kernels and its inputs."""

    function: Callable[..., Any]  # takes the inputs and `implementation`
    inputs: tuple[Tensor, ...]
    learned: int  # number of leading inputs that get a gradient
    written: int  # bytes of the outputs
    torch: Callable[..., Any] | None = None  # torch's function of the same inputs

    def floor(self, direction: Direction) -> int:
        """Bytes moved if every input is read once and every output written once.

        Backward reads the inputs and the gradient of the outputs, and writes the gradients of the inputs. `both` reads
        the inputs once.
        """
        read, gradients = _bytes(self.inputs), _bytes(self.inputs[: self.learned])
        if direction == "forward":
            return read + self.written
        return read + gradients + self.written * (1 if direction == "backward" else 2)

    def copies(self, count: int) -> list[tuple[Tensor, ...]]:
        """`count` sets of the inputs in separate memory."""
        return [self.inputs] + [
            tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in self.inputs) for _ in range(count - 1)
        ]


class Problem(NamedTuple):
    """A function at a shape."""

    kernel: str
    shape: str
    make: Callable[[torch.device, torch.dtype], Work]
    large: bool = False  # GPU only
    representative: bool = False  # a quick run compiles only the reference of these

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that the function has."""
        return DIRECTIONS[:1] if self.kernel in ("adam_step", "sample_latents") else DIRECTIONS


def _q_head(batch: int, layout: Layout, prior: Layout, device: torch.device, dtype: torch.dtype) -> Work:
    parameters = torch.randn(batch, layout.width, device=device, dtype=dtype, requires_grad=True)
    targets = sample_latents(prior, batch, seed=0, step=0, device=device, implementation="reference")[1]
    return Work(partial(q_head_nll, layout=layout), (parameters, targets), 1, 4 * len(layout.columns))


def _latents(batch: int, prior: Layout, device: torch.device, dtype: torch.dtype) -> Work:
    def draw(step: Tensor, implementation: Implementation) -> tuple[Tensor, Tensor]:
        return sample_latents(
            prior, batch, seed=0, step=step, device=device, dtype=dtype, implementation=implementation
        )

    def normal(step: Tensor) -> Tensor:
        return torch.randn(batch, prior.width, device=device, dtype=dtype)

    step = torch.zeros((), dtype=torch.int64, device=device)
    return Work(draw, (step,), 0, batch * (prior.width * dtype.itemsize + 4 * len(prior.columns)), normal)


def _cross_entropy(rows: int, classes: int, device: torch.device, dtype: torch.dtype) -> Work:
    logits = torch.randn(rows, classes, device=device, dtype=dtype, requires_grad=True)
    labels = torch.randint(classes, (rows,), device=device)
    return Work(cross_entropy, (logits, labels), 1, 4, F.cross_entropy)


def _gaussian(rows: int, columns: int, device: torch.device, dtype: torch.dtype) -> Work:
    mean, log_var, target = (torch.randn(rows, columns, device=device, dtype=dtype) for _ in range(3))
    inputs = (mean.requires_grad_(), log_var.requires_grad_(), target)
    return Work(gaussian_nll, inputs, 2, 4, _torch_gaussian_nll)


def _torch_gaussian_nll(mean: Tensor, log_var: Tensor, target: Tensor) -> Tensor:
    """torch's function takes the variance, and synchronises to check that it is not negative."""
    return F.gaussian_nll_loss(mean, target, log_var.exp(), full=True)


BETAS = (0.5, 0.999)


def _adam(rows: int, columns: int, device: torch.device, dtype: torch.dtype) -> Work:
    weight, average, square = (torch.rand(rows, columns, device=device) for _ in range(3))
    gradient = torch.randn(rows, columns, device=device, dtype=dtype)
    lr, steps = torch.full((), 1e-4, device=device), torch.ones((), device=device)

    def step(*tensors: Tensor, implementation: Implementation) -> tuple[Tensor, ...]:
        weight, gradient, average, square, lr, steps = tensors
        copy = torch.empty_like(gradient)
        adam_step(weight, gradient, average, square, copy, lr, steps, betas=BETAS, implementation=implementation)
        return weight, average, square, copy

    return Work(
        step, (weight, gradient, average, square, lr, steps), 0, rows * columns * (12 + dtype.itemsize), _torch_adam
    )


def _torch_adam(weight: Tensor, gradient: Tensor, average: Tensor, square: Tensor, lr: Tensor, steps: Tensor) -> Tensor:
    """torch's fused Adam between the casts of the gradient and of the weight."""
    beta1, beta2 = BETAS
    torch._fused_adam_(
        [weight], [gradient.float()], [average], [square], [], [steps],
        lr=lr, beta1=beta1, beta2=beta2, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip
    return weight.to(gradient.dtype)


# The codes of InfoGAN's experiments on MNIST and on CelebA (Chen et al. 2016, appendix C).
_MNIST = Layout("categorical:10|gaussian:2x2"), Layout("noise(normal):62|categorical:10|uniform:1x2")
_CELEBA = Layout("categorical:10x10"), Layout("noise(normal):128|categorical:10x10")

PROBLEMS = (
    Problem("q_head_nll", "128: 10 + 2 gaussian", partial(_q_head, 128, *_MNIST), representative=True),
    Problem("q_head_nll", "128: 10 x 10", partial(_q_head, 128, *_CELEBA)),
    Problem("q_head_nll", "8192: 10 x 10", partial(_q_head, 8192, *_CELEBA), large=True),
    Problem("q_head_nll", "65536: 10 x 10", partial(_q_head, 65536, *_CELEBA), large=True, representative=True),
    Problem("cross_entropy", "128 x 10", partial(_cross_entropy, 128, 10), representative=True),
    Problem("cross_entropy", "8192 x 4096", partial(_cross_entropy, 8192, 4096), large=True, representative=True),
    Problem("cross_entropy", "32768 x 256", partial(_cross_entropy, 32768, 256), large=True),
    Problem("cross_entropy", "1024 x 131072", partial(_cross_entropy, 1024, 131072), large=True),
    Problem("gaussian_nll", "128 x 2", partial(_gaussian, 128, 2), representative=True),
    Problem("gaussian_nll", "8192 x 4096", partial(_gaussian, 8192, 4096), large=True, representative=True),
    Problem("adam_step", "128 x 1024", partial(_adam, 128, 1024)),
    Problem("adam_step", "6272 x 1024", partial(_adam, 6272, 1024), large=True, representative=True),
    Problem("sample_latents", "128: 62 + 10 + 2 uniform", partial(_latents, 128, _MNIST[1])),
    Problem("sample_latents", "128: 128 + 10 x 10", partial(_latents, 128, _CELEBA[1])),
    Problem("sample_latents", "8192: 128 + 10 x 10", partial(_latents, 8192, _CELEBA[1]), large=True),
    Problem("sample_latents", "65536: 128 + 10 x 10", partial(_latents, 65536, _CELEBA[1]), large=True),
)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
