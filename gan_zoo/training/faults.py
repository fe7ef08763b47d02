"""Numbers that are not finite: a run that meets them ends and names them, or leaves the step out and counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_zoo.errors import TrainingError
from gan_zoo.training.checkpoint import State, newest_whole
from gan_zoo.training.meter import Meter
from gan_zoo.training.run import Run

LEAST_SCALE = 2.0**-20
"""The loss scale of fp16 below which no gradient could be finite for being scaled less."""


class Skipping:
    """Leaves faulty steps out of a run, without waiting for the device.

    A network whose losses or gradients are not finite is not updated (`NetworkOptimizer.update`). This class restores
    the batch statistics and other buffers, and counts the step. The moving average includes the weights as they are.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.buffers = [buffer for buffer in state.model.buffers() if buffer.numel()]
        self.before: list[Tensor] = []
        self.scale: Tensor | None = None

    def begin(self) -> None:
        """Before a step: hold what its forward passes write."""
        self.before = [buffer.clone() for buffer in self.buffers]
        self.scale = self._scale()
        for player in self.state.optimizers.values():
            player.norm = player.fault = None

    @torch.no_grad()
    def end(self) -> dict[str, Tensor]:
        """After a step: undo it if it was faulty.

        Returns:
            The norm of each player's gradient, to be watched.
        """
        players = self.state.optimizers
        faults = [player.fault for player in players.values() if player.fault is not None]
        faulty = torch.stack(faults).any()
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(faulty, before, buffer))
        self.state.skipped += faulty
        scale, now = self.scale, self._scale()
        if scale is not None and now is not None:  # fp16's scaler took the fault for gradients that are too large
            self.state.precision.scaler.update(torch.where(faulty, scale, now))
        return {f"gradient_norm/{name}": p.norm for name, p in players.items() if p.norm is not None}

    def _scale(self) -> Tensor | None:
        scaler = self.state.precision.scaler
        return scaler.scale(torch.ones((), device=self.state.model.device)) if scaler.is_enabled() else None


class Watch:
    """Reads, where a run waits for the device anyway, whether all is well, and ends the run if not."""

    def __init__(self, run: Run, state: State) -> None:
        self.run, self.state, self.settings = run, state, run.config.training
        self.told = int(state.skipped)

    def losses(self, meter: Meter, say: Callable[[str], None]) -> None:
        """Look at what the meter took in since its last reset.

        Raises:
            TrainingError: If something was not finite and steps are not to be left out, or too many were.
        """
        scaler = self.state.precision.scaler
        if scaler.is_enabled() and scaler.get_scale() < LEAST_SCALE:
            raise self._end(f"fp16: gradients are not finite though the loss is scaled by {scaler.get_scale():g}")
        found = meter.not_finite()
        if self.settings.on_nan == "stop":
            if found:
                raise self._end("{} was not finite at step {}".format(*found))
            return
        skipped = int(self.state.skipped)
        if found and skipped > self.told:
            say("{} was not finite at step {}: ".format(*found) + f"steps left out so far: {skipped}")
        self.told = skipped
        if skipped > self.settings.max_skipped:
            last = "; {} was not finite at step {}".format(*found) if found else ""
            raise self._end(f"{skipped} steps were left out, training.max_skipped = {self.settings.max_skipped}{last}")

    def weights(self) -> None:
        """Look at all that a checkpoint keeps: a finite loss can have gradients, or their squares, that are not.

        Raises:
            TrainingError: Naming the first that is not finite.
        """
        weights = {name: value for held in self.state.tensors().values() for name, value in held.items()}
        whole = torch.stack([value.isfinite().all() for value in weights.values()]).long()
        for name, fine in zip(weights, self.state.ranks.least(whole).tolist(), strict=True):
            if not fine:
                raise self._end(f"{name} was not finite at step {self.state.step}")

    def counts(self) -> dict[str, Any]:
        """What a line of metrics says about it."""
        scaler, found = self.state.precision.scaler, {}
        if scaler.is_enabled():
            found["loss_scale"] = scaler.get_scale()
        return found | ({"skipped": self.told} if self.settings.on_nan == "skip" else {})

    def _end(self, reason: str) -> TrainingError:
        newest, _ = newest_whole(self.run.checkpoints)
        rest = f"the last good checkpoint is {newest}" if newest else "there is no checkpoint before it"
        return TrainingError(f"{reason}; {rest}")
