"""The generator's exponential moving average, which draws samples."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class EMA:
    """θ̄ ← d θ̄ + (1 - d) θ after every update.

    The decay d of update t is min(decay, (1 + t) / (10 + t)): it starts low, so that the initial weights are
    forgotten. Averages of batch statistics are not the statistics of averaged weights: `State.sampler` measures these.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module).requires_grad_(False).eval()
        self.decay = decay

    def weight(self, t: int) -> float:
        """1 - d of update number `t`."""
        return 1 - min(self.decay, (1 + t) / (10 + t))

    @torch.no_grad()
    def update(self, module: nn.Module, weight: float | Tensor) -> None:
        """Average in the weights of `module` with a weight of 1 - d.

        θ̄ - (1 - d) (θ̄ - θ) is a step of SGD with learning rate 1 - d. torch has a fused SGD that reads its learning
        rate from the device: one launch for all tensors.
        """
        mean, new = self.module.state_dict(), module.state_dict()
        floating = [name for name, value in mean.items() if value.is_floating_point()]
        means, news = [mean[n] for n in floating], [new[n] for n in floating]
        if isinstance(weight, Tensor):
            torch._fused_sgd_(
                means, news, [], weight_decay=1.0, momentum=0.0, lr=weight, dampening=0.0, nesterov=False,
                maximize=True, is_first_step=False,
            )  # fmt: skip
        else:
            torch._foreach_lerp_(means, news, weight)
        if others := mean.keys() - set(floating):
            torch._foreach_copy_([mean[n] for n in others], [new[n] for n in others])
