"""The moving average of the generator, which samples are drawn from."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class EMA:
    """θ̄ ← d θ̄ + (1 - d) θ after every update, of weights and of batch statistics alike.

    The decay d rises with the number of updates t as min(decay, (1 + t) / (10 + t)), so that the first averages do
    not remember the initial weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, t: int) -> None:
        """Take in `module` after its update number `t`."""
        decay = min(self.decay, (1 + t) / (10 + t))
        mean, new = self.module.state_dict(), module.state_dict()
        floating = [name for name, value in mean.items() if value.is_floating_point()]
        torch._foreach_lerp_([mean[n] for n in floating], [new[n] for n in floating], 1 - decay)
        for name in mean.keys() - set(floating):
            mean[name].copy_(new[name])
