"""A replacement for CUDA graphs on a CPU, with the same restrictions.

What is recorded is a list of operations on tensors at fixed places. Recording does not change them; a replay carries
out the operations on those tensors and runs no Python of the step. Nothing that waits for a number or takes numbers
from the host can be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from waits import aten, waits

FORBIDDEN = "operation not permitted when stream is capturing"


class Operations(TorchDispatchMode):
    """Notes the names of the operations within, but for those that only look at a tensor in another way.

    It holds no tensor: autograd copies a gradient that somebody else holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not is_view(func, args, kwargs, result):
            self.names.append(func._schema.name)
        return result


class Recorder:
    """What `gan_zoo.training.capture` records with, on a CPU.

    Attributes:
        warmed, recorded, replayed: How often each was asked for.
    """

    def __init__(self) -> None:
        self.warmed = self.recorded = self.replayed = 0
        self.replaying = False

    def warm(self, run: Callable[[], None]) -> None:
        self.warmed += 1
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        with _undone() as tape:
            run()

        def replay() -> None:
            self.replayed += 1
            self.replaying = True
            with torch.no_grad():
                for func, args, kwargs, result in tape.made:
                    fresh = func(*args, **kwargs)
                    for fixed, new in zip(tree_leaves(result), tree_leaves(fresh), strict=True):
                        if isinstance(fixed, Tensor) and fixed.data_ptr() != new.data_ptr():
                            fixed.copy_(new)
            self.replaying = False

        return replay


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, Any, Any, Any]] = []
        self.born: dict[int, Tensor] = {}
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is aten.lift_fresh and args[0].ndim:  # a single number is an argument of a launch
            raise RuntimeError(f"{FORBIDDEN}: {func} takes numbers from the host")
        if waits(func, args):
            raise RuntimeError(f"{FORBIDDEN}: {func} waits for the device")
        for tensor in written(func, args, kwargs or {}):
            key = tensor.untyped_storage().data_ptr()
            if key not in self.born and key not in self.before:
                whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload]
                self.before[key] = whole, whole.clone()
        result = func(*args, **(kwargs or {}))
        if not is_view(func, args, kwargs, result):
            self.made.append((func, *tree_map(_alias, (args, kwargs or {}, result))))
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor):
                    self.born.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return result


@contextmanager
def _undone() -> Iterator[_Tape]:
    def tensor(*args: Any, **kwargs: Any) -> Tensor:
        raise RuntimeError(f"{FORBIDDEN}: torch.tensor takes numbers from the host")

    tape = _Tape()
    try:
        with pytest.MonkeyPatch.context() as patch, tape:
            patch.setattr(torch, "tensor", tensor)
            yield tape
    finally:
        for whole, before in tape.before.values():
            whole.copy_(before)


def _alias(value: Any) -> Any:
    """A tensor at the same place, whose shape stays what it is."""
    return value.detach() if isinstance(value, Tensor) else value


def written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation writes to; of batch norm torch does not say so."""
    found = [t for t in args[3:5] if t is not None] if func.overloadpacket is aten.native_batch_norm else []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


def is_view(func: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether an operation computes nothing: its result lies where an argument does, and it writes nothing."""
    if written(func, args, kwargs or {}):
        return False
    places = {
        t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.numel()
    }
    results = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.numel()]
    return all(t.untyped_storage().data_ptr() in places for t in results)
