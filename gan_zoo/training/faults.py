"""Values that are not finite: the run ends and names them, or skips the step and counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_zoo.errors import TrainingError
from gan_zoo.training.checkpoint import newest_whole
from gan_zoo.training.meter import Meter
from gan_zoo.training.run import Run
from gan_zoo.training.state import State

MIN_LOSS_SCALE = 2.0**-20
"""A loss scale of fp16 below this means that gradients are not finite at any scale."""


class Skipping:
    """Skips faulty steps without waiting for the device.

    A network whose losses or gradients are not finite is not updated (`NetworkOptimizer.update`). This class restores
    the batch statistics and other buffers, and counts the step. The moving average includes the weights as they are.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.buffers = [buffer for buffer in state.model.buffers() if buffer.numel()]
        self.before: list[Tensor] = []
        self.scale: Tensor | None = None

    def begin(self) -> None:
        """Before a step: copy the buffers that its forward passes write."""
        self.before = [buffer.clone() for buffer in self.buffers]
        self.scale = self._scale()
        for optimizer in self.state.optimizers.values():
            optimizer.norm = optimizer.fault = None

    @torch.no_grad()
    def end(self) -> dict[str, Tensor]:
        """After a step: restore the buffers if it was faulty.

        Returns:
            The norm of each network's gradient.
        """
        optimizers = self.state.optimizers
        faults = [optimizer.fault for optimizer in optimizers.values() if optimizer.fault is not None]
        faulty = torch.stack(faults).any()
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(faulty, before, buffer))
        self.state.skipped += faulty
        scale, now = self.scale, self._scale()
        if scale is not None and now is not None:  # fp16's scaler lowered it as for gradients that are too large
            self.state.precision.scaler.update(torch.where(faulty, scale, now))
        return {f"gradient_norm/{name}": o.norm for name, o in optimizers.items() if o.norm is not None}

    def _scale(self) -> Tensor | None:
        scaler = self.state.precision.scaler
        return scaler.scale(torch.ones((), device=self.state.model.device)) if scaler.is_enabled() else None


class Watch:
    """Looks for values that are not finite when a run waits for the device anyway, and ends the run if need be."""

    def __init__(self, run: Run, state: State) -> None:
        self.run, self.state, self.settings = run, state, run.config.training
        self.reported = int(state.skipped)

    def losses(self, meter: Meter, say: Callable[[str], None]) -> None:
        """Check the losses and metrics since the meter's last reset.

        Raises:
            TrainingError: If one was not finite and steps may not be skipped, or if too many were skipped.
        """
        scaler = self.state.precision.scaler
        if scaler.is_enabled() and scaler.get_scale() < MIN_LOSS_SCALE:
            raise self._end(f"fp16: gradients are not finite even with a loss scale of {scaler.get_scale():g}")
        first = meter.not_finite()
        fault = "{} was not finite at step {}".format(*first) if first else ""
        if self.settings.on_nan == "stop":
            if fault:
                raise self._end(fault)
            return
        skipped = int(self.state.skipped)
        if fault and skipped > self.reported:
            say(f"{fault}; steps skipped so far: {skipped}")
        self.reported = skipped
        if skipped > self.settings.max_skipped:
            limit = f"{skipped} steps were skipped, more than training.max_skipped = {self.settings.max_skipped}"
            raise self._end(f"{limit}; {fault}" if fault else limit)

    def weights(self) -> None:
        """Check everything that a checkpoint stores: gradients of a finite loss, or their squares, can be infinite.

        Raises:
            TrainingError: Naming the first that is not finite.
        """
        weights = {name: value for file in self.state.tensors().values() for name, value in file.items()}
        finite = torch.stack([value.isfinite().all() for value in weights.values()]).long()
        for name, is_finite in zip(weights, self.state.ranks.minimum(finite).tolist(), strict=True):
            if not is_finite:
                raise self._end(f"{name} was not finite at step {self.state.step}")

    def counts(self) -> dict[str, Any]:
        """The loss scale and the skipped steps, for a line of metrics."""
        scaler = self.state.precision.scaler
        scale = {"loss_scale": scaler.get_scale()} if scaler.is_enabled() else {}
        return scale | ({"skipped": self.reported} if self.settings.on_nan == "skip" else {})

    def _end(self, fault: str) -> TrainingError:
        return TrainingError(f"{fault}; {last_good(self.run)}")


def last_good(run: Run) -> str:
    """The newest undamaged checkpoint of a run that ends, in words."""
    newest, _ = newest_whole(run.checkpoints)
    return f"the last good checkpoint is {newest}" if newest else "there is no earlier checkpoint"
