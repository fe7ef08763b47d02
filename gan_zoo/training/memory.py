"""The memory that a training step needs, from steps on a few images."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from gan_zoo.config import Config
from gan_zoo.data.bounds import gib, memory
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.training.build import new_state
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.state import State

FEW = (4, 8)
"""The images of the steps that are made; what autograd keeps grows linearly with them."""


class StepMemory(NamedTuple):
    """Bytes that a step needs at the least: working memory of operations comes on top."""

    weights: int  # with gradients, Adam's moments and the moving average
    kept: int  # feature maps and the like that autograd keeps for the backward pass

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kept

    def __str__(self) -> str:
        total, weights, kept = (gib(size) if size >= 2**30 else f"{size >> 20} MiB" for size in (self.total, *self))
        return f"{total} or more: {weights} of weights with gradients and moments, {kept} of feature maps"


def step_memory(config: Config, dataset: Dataset, device: torch.device) -> StepMemory:
    """Estimate the memory of a step of one rank, eager, by the peak of what autograd keeps.

    Args:
        config: The configuration, with the data's facts.
        dataset: The data.
        device: Where to make the steps.
    """
    rows = config.training.micro_batch
    few, more = FEW
    state, kept = _peak(config, dataset, device, min(rows, more))
    if rows > more:
        _, less = _peak(config, dataset, device, few)
        kept += (kept - less) * (rows - more) // (more - few)
    trained = sum(p.nbytes for optimizer in state.optimizers.values() for p in optimizer.parameters.values())
    average = sum(value.nbytes for value in state.model.generator.state_dict().values()) if state.ema else 0
    everything = sum(value.nbytes for value in state.model.state_dict().values())
    return StepMemory(everything + 3 * trained + average, kept)


def check_step_memory(needed: StepMemory, device: torch.device) -> None:
    """Refuse a step that cannot fit the device.

    Raises:
        InputError: If the device has less memory.
    """
    there = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else memory()
    if needed.total > there:
        raise InputError(
            f"a step would take {needed}, and {device} has {gib(there)}; a smaller training.batch_size, a larger "
            "training.accumulate or a smaller trunk.width takes less"
        )


def _peak(config: Config, dataset: Dataset, device: torch.device, rows: int) -> tuple[State, int]:
    """A state after a step on `rows` images, and the most bytes that autograd kept in it."""
    settings = {"batch_size": rows, "accumulate": 1, "compile": False, "cuda_graph": "off"}
    state = new_state(config.model_copy(update={"training": config.training.model_copy(update=settings)}), device)
    iterations, kept = Iterations(state, dataset.train), _Kept(state)
    try:
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Saved(kept, tensor), lambda saved: saved.tensor):
            next(iterations)
    finally:
        iterations.close()
    return state, kept.most


class _Kept:
    """Counts the bytes that autograd keeps, without weights and without counting a tensor twice."""

    def __init__(self, state: State) -> None:
        self.weights = {value.untyped_storage().data_ptr() for value in state.model.state_dict().values()}
        self.holders: Counter[int] = Counter()
        self.now = self.most = 0


class _Saved:
    """A tensor that autograd keeps, for as long as it does."""

    def __init__(self, kept: _Kept, tensor: Tensor) -> None:
        self.tensor, self.kept, storage = tensor, kept, tensor.untyped_storage()
        self.key, self.bytes = storage.data_ptr(), storage.nbytes()
        if self.key in kept.weights:
            self.bytes = 0
        if not kept.holders[self.key]:
            kept.now += self.bytes
            kept.most = max(kept.most, kept.now)
        kept.holders[self.key] += 1

    def __del__(self) -> None:
        self.kept.holders[self.key] -= 1
        if not self.kept.holders[self.key]:
            self.kept.now -= self.bytes
