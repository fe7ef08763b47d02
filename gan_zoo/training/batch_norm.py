"""Batch norm over the batch of all ranks, and its statistics for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from gan_zoo_kernels import leaky_relu
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.training.ranks import ALONE, Ranks
from gan_zoo.trunks.layers import LotNorm
from gan_zoo.trunks.style import MinibatchStd


class SyncBatchNorm(_BatchNorm):
    """Batch norm (Ioffe & Szegedy, 2015) with the mean and variance over equal batches of all ranks.

    torch's SyncBatchNorm does not support CPUs nor second derivatives.
    """

    def __init__(self, norm: _BatchNorm, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias  # the same tensors
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.slope: float = getattr(norm, "slope", 1.0)  # of a LotNorm's activation
        self.ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [n, C, …]: by the batch's statistics in training, by running ones otherwise.

        The leaky ReLU of the replaced LotNorm follows.
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
    """Replace every batch norm in `model` by one over all ranks."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                setattr(module, name, SyncBatchNorm(child, ranks))


@torch.no_grad()
def measure_statistics(network: nn.Module, forward: Callable[[Tensor], object], inputs: Iterable[Tensor]) -> None:
    """Set running statistics to their means over batches of inputs, on this rank alone.

    These are the standing statistics of Brock et al., 2019 (arXiv:1809.11096, section 4.1): running means are of past
    weights, these of the present ones.

    Args:
        network: Its batch norms and minibatch standard deviations are set; they are in training mode meanwhile.
        forward: A pass through all of them.
        inputs: Batches of what `forward` takes.
    """
    norms = [
        layer
        for layer in network.modules()
        if isinstance(layer, MinibatchStd) or (isinstance(layer, _BatchNorm) and layer.track_running_stats)
    ]
    if not norms:
        return
    attributes = ("training", "momentum", "rows", "once", "ranks")
    before = [{name: getattr(norm, name) for name in attributes if hasattr(norm, name)} for norm in norms]
    for norm in norms:
        norm.training = True
        if isinstance(norm, LotNorm):
            norm.rows, norm.once = None, False  # a kernel would be compiled for each momentum
        if isinstance(norm, SyncBatchNorm):
            norm.ranks = ALONE
    for count, batch in enumerate(inputs, start=1):
        for norm in norms:
            norm.momentum = 1 / count
        forward(batch)
    for norm, values in zip(norms, before, strict=True):
        for name, value in values.items():
            setattr(norm, name, value)
