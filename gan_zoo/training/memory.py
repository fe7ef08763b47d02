"""The memory that a training step needs, without making one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan_zoo.config import Config
from gan_zoo.data.bounds import gib, memory
from gan_zoo.data.dataset import Split
from gan_zoo.errors import InputError
from gan_zoo.training.build import new_state
from gan_zoo.training.iterations import Iterations, StepKind

UNCOUNTED = DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException
UNCOUNTED_MESSAGES = ".numpy() is not supported", "There was no fake impl registered"
"""What an operation raises that needs values, or that does not say the shape of its result."""


class StepMemory(NamedTuple):
    """Bytes that a step needs; libraries' workspaces come on top. fp32 gradients of large weights, which a GPU does not
    keep in bf16, are counted.
    """

    weights: int  # with copies in half precision, Adam's moments and the moving average
    step: int  # feature maps, gradients and everything else that the step allocates, at its peak

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.step

    def __str__(self) -> str:
        total, weights, step = (gib(size) if size >= 2**30 else f"{size >> 20} MiB" for size in (self.total, *self))
        return f"{total} or more: {weights} of weights with Adam's moments, {step} of feature maps and gradients"


def step_memory(config: Config) -> StepMemory | None:
    """Count what an eager step on one device allocates, by making it with tensors that have no values.

    Args:
        config: The configuration, with the data's facts.

    Returns:
        The memory; None for a model whose step reads values, or has operators without a shape function.
    """
    eager = config.training.model_copy(update={"compile": False, "cuda_graph": "off"})
    state = new_state(config.model_copy(update={"training": eager}), torch.device("cpu"))
    image, rows = state.model.image, config.training.batch_size
    images = torch.zeros(1, image.channels, image.resolution, image.resolution, dtype=torch.uint8)
    labels = torch.zeros(1, dtype=torch.int64).expand(rows) if config.data.classes else None
    iterations = Iterations(state, Split(images.expand(rows, -1, -1, -1), labels))
    try:
        step = max(_allocated(iterations, first) for first in _first_steps(iterations, config.training.steps))
    except RuntimeError as error:
        if isinstance(error, UNCOUNTED) or any(message in str(error) for message in UNCOUNTED_MESSAGES):
            return None
        raise
    trained = sum(p.nbytes for optimizer in state.optimizers.values() for p in optimizer.parameters.values())
    average = sum(value.nbytes for value in state.ema.module.state_dict().values()) if state.ema else 0
    halves = sum(copy.nbytes for copy in iterations.half_weights.copies.values())
    everything = sum(value.nbytes for value in state.model.state_dict().values())
    return StepMemory(everything + halves + 2 * trained + average, step)


def _first_steps(iterations: Iterations, steps: int) -> list[int]:
    """The first step of each kind, without kinds whose work another kind includes."""
    first: dict[StepKind, int] = {}
    for step in range(steps):
        first.setdefault(iterations.kind(step), step)
    return [
        step
        for kind, step in first.items()
        if not any(
            kind.phase == other.phase
            and other.update_generator >= kind.update_generator
            and other.penalised >= kind.penalised
            and other != kind
            for other in first
        )
    ]


def _allocated(iterations: Iterations, step: int) -> int:
    """Bytes that a step allocates at its peak."""
    iterations.state.step = step
    kind = iterations.prepare()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    allocated = Allocated(lambda t: t if isinstance(t, FakeTensor) else fake.from_tensor(t))
    gc.collect()  # so that it starts anew, and frees cycles after the same operations each time
    with fake, allocated:
        iterations.iterate(kind)
    return allocated.most


def check_step_memory(needed: StepMemory, device: torch.device) -> None:
    """Refuse a step that cannot fit the device.

    Raises:
        InputError: If the device has less memory.
    """
    there = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else memory()
    if needed.total > there:
        raise InputError(
            f"a step would take {needed}, and {device} has {gib(there)}; a smaller training.batch_size, a larger "
            "training.accumulate, a smaller trunk.width or training.gradient_checkpointing takes less"
        )


class Allocated(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, each until its last use.

    Args:
        stand_in: The tensor that operations compute with in place of a given one.

    Attributes:
        most: The bytes at the peak.
    """

    def __init__(self, stand_in: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stand_in = stand_in
        self.counted: set[int] = set()
        self.now = self.most = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in _storages((args, kwargs), self.stand_in)}
        result = operation(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in given | self.counted:
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
                self.counted.add(storage._cdata)
                self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        return result

    def _freed(self, key: int, size: int) -> None:
        self.counted.remove(key)
        self.now -= size


def _storages(tree: Any, stand_in: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> list[torch.UntypedStorage]:
    return [stand_in(leaf).untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
