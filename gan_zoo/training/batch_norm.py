"""Batch norm over the batch of all ranks."""

from __future__ import annotations

import torch
from gan_zoo_kernels import leaky_relu
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.training.ranks import Ranks


class SyncBatchNorm(_BatchNorm):
    """Batch norm (Ioffe & Szegedy, 2015) whose mean and variance are those of equal batches on all ranks together.

    torch's own of this name refuses tensors on a CPU, and does not pass a gradient's gradient.
    """

    def __init__(self, norm: _BatchNorm, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias  # where and as they are
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.slope: float = getattr(norm, "slope", 1.0)  # of the activation inside a LotNorm
        self.ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [n, C, …], by the statistics of the batch in training and by the running ones otherwise.

        The leaky ReLU of a LotNorm in whose place this stands follows.
        """
        return leaky_relu(self._normalise(input), self.slope)

    def _normalise(self, input: Tensor) -> Tensor:
        if not self.training:
            return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        x = input.float()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean = self.ranks.mean(x.mean(axes, keepdim=True))
        variance = self.ranks.mean((x - mean).square().mean(axes, keepdim=True))
        if self.track_running_stats:
            self._record(mean.detach().flatten(), variance.detach().flatten(), self.ranks.world * x[:, 0].numel())
        normal = (x - mean) * (variance + self.eps).rsqrt()
        if self.affine:
            shape = mean.shape
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _record(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1), share)


def synchronise(model: nn.Module, ranks: Ranks) -> None:
    """Let every batch norm in `model` take its statistics over all ranks."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                setattr(module, name, SyncBatchNorm(child, ranks))
