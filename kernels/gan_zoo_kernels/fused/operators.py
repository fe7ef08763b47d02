"""Registration with torch: every kernel is an operator, which torch's compilers need not look into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_library = torch.library.Library("gan_zoo_kernels", "FRAGMENT")


def register(schema: str, launcher: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Define `gan_zoo_kernels::schema` with its launcher and its shapes; return the operator."""
    name = schema[: schema.index("(")]
    _library.define(schema)
    _library.impl(name, launcher, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gan_zoo_kernels::{name}", fake, lib=_library)
    operator: Callable[..., Any] = getattr(torch.ops.gan_zoo_kernels, name).default
    return operator


class _OnceDifferentiable(torch.autograd.Function):
    """The identity, with an error instead of a wrong second derivative."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "the fused kernels are differentiable once: pass implementation='reference' for double backward"
        )


def once_differentiable(gradient: Tensor, *sources: Tensor) -> Tensor:
    """`gradient`, such that differentiating it again in one of `sources` raises and says what to do."""
    if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
        guarded: Tensor = _OnceDifferentiable.apply(gradient, *sources)  # type: ignore[no-untyped-call]
        return guarded
    return gradient
