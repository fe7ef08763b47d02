"""Registration with torch: every kernel is an operator, which torch's compilers need not look into.

Eager PyTorch gains nothing from an operator, and its dispatcher costs as much as a launch: there the launcher is called
directly.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_library = torch.library.Library("gan_zoo_kernels", "FRAGMENT")
Result = TypeVar("Result")


def register(
    name: str, fake: Callable[..., Any], *, mutates: Sequence[str] = ()
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Make a launcher the operator `gan_zoo_kernels::name`, whose schema its annotations state.

    `fake` takes the same arguments and returns tensors of the results' shapes; `mutates` names the arguments that are
    updated in place. The decorated function calls the launcher itself in eager PyTorch, and the operator where
    something watches operators.
    """

    def decorate(launcher: Callable[..., Result]) -> Callable[..., Result]:
        hints = typing.get_type_hints(launcher)
        launcher.__annotations__ = hints | ({"return": None} if hints["return"] is type(None) else {})  # as written
        _library.define(name + torch.library.infer_schema(launcher, mutates_args=mutates))
        _library.impl(name, launcher, "CompositeExplicitAutograd")
        torch.library.register_fake(f"gan_zoo_kernels::{name}", fake, lib=_library)
        operator: Callable[..., Result] = getattr(torch.ops.gan_zoo_kernels, name).default

        @functools.wraps(launcher)
        def call(*arguments: Any) -> Result:
            watched = torch.compiler.is_compiling() or operators_are_watched(arguments)
            return (operator if watched else launcher)(*arguments)

        return call

    return decorate


def is_differentiated(*tensors: Tensor | None) -> bool:
    """Whether a function of these tensors has to be recorded: an autograd.Function costs as much as a launch."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    if torch.is_grad_enabled():
        for tensor in tensors:  # a loop: `any` of a generator calls it once for each
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def operators_are_watched(arguments: Iterable[Any]) -> bool:
    """Whether a mode, a transform, a trace or a subclass among the tensors acts on every operator that is called.

    Such are the FakeTensorMode and the proxies of torch.export, profilers of FLOPs, torch.func, torch.jit.trace.
    """
    if torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active() or torch._C._is_tracing():
        return True
    for argument in arguments:
        if isinstance(argument, Tensor) and type(argument) is not Tensor and type(argument) is not Parameter:
            return True
    return False


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
