"""The memory that a training step needs, from steps on a few images."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan_zoo.config import Config
from gan_zoo.data.bounds import gib, memory
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.training.build import new_state
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.state import State

FEW = (4, 8)
"""The images of the steps that are made; memory grows linearly with them."""


class StepMemory(NamedTuple):
    """Bytes that a step needs at the least: libraries' workspaces come on top."""

    weights: int  # with Adam's moments and the moving average
    step: int  # feature maps, gradients and everything else that the step allocates, at its peak

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.step

    def __str__(self) -> str:
        total, weights, step = (gib(size) if size >= 2**30 else f"{size >> 20} MiB" for size in (self.total, *self))
        return f"{total} or more: {weights} of weights with Adam's moments, {step} of feature maps and gradients"


def step_memory(config: Config, dataset: Dataset, device: torch.device) -> StepMemory:
    """Measure the memory of a step of one rank, eager, on a few images, and extrapolate to the batch.

    Args:
        config: The configuration, with the data's facts.
        dataset: The data.
        device: Where to make the steps.
    """
    rows, parts = config.training.micro_batch, config.training.accumulate
    few, more = min(rows, FEW[0]), min(rows, FEW[1])
    measured = min(parts, 2)
    state, peak = _peak(config, dataset, device, more, measured)
    if rows > more or parts > measured:
        _, less = _peak(config, dataset, device, few, measured)
        peak += (peak - less) * (rows - more) // max(1, more - few)
    if parts > measured:  # fakes keep their graph through G until D is updated
        _, further = _peak(config, dataset, device, few, measured + 1)
        peak += (further - less) * rows // few * (parts - measured)
    trained = sum(p.nbytes for optimizer in state.optimizers.values() for p in optimizer.parameters.values())
    average = sum(value.nbytes for value in state.ema.module.state_dict().values()) if state.ema else 0
    everything = sum(value.nbytes for value in state.model.state_dict().values())
    return StepMemory(everything + 2 * trained + average, peak)


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


def _peak(config: Config, dataset: Dataset, device: torch.device, rows: int, parts: int) -> tuple[State, int]:
    """A state after a step on micro-batches of `rows` images, and the most bytes of tensors that existed in it."""
    settings = {"batch_size": rows * parts, "accumulate": parts, "compile": False, "cuda_graph": "off"}
    state = new_state(config.model_copy(update={"training": config.training.model_copy(update=settings)}), device)
    iterations, allocated = Iterations(state, dataset.train), _Allocated()
    try:
        with allocated:
            next(iterations)
    finally:
        iterations.close()
    return state, allocated.most


class _Allocated(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, from their results to the end of their last use."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.existing: set[int] = set()
        self.now = self.most = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)
        }
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in given | self.existing:
                self._count(storage._cdata, storage.nbytes())
                weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        return result

    def _count(self, key: int, size: int) -> None:
        self.existing.add(key)
        self.now += size
        self.most = max(self.most, self.now)

    def _forget(self, key: int, size: int) -> None:
        self.existing.remove(key)
        self.now -= size
