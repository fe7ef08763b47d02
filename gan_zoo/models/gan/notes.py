"""What a configuration does that its author may not expect, in words."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_zoo.config import Config
from gan_zoo.trunks.layers import counts_passes
from gan_zoo.trunks.style import MinibatchStd, images_of_a_pass


def notes_on(config: Config, networks: nn.Module) -> list[str]:
    """Notes for the user, one line each, on settings that every model has."""
    training, warmup, lines = config.training, config.optimizer.warmup, []
    if warmup >= training.steps:
        lines.append(f"optimizer.warmup = {warmup}: all {training.steps} steps of the run are warm-up")
    accumulating = f"training.accumulate = {training.accumulate}"
    if training.accumulate > 1 and any(isinstance(layer, _BatchNorm) for layer in networks.modules()):
        lines.append(f"{accumulating}: batch norm uses statistics of {training.micro_batch} images")
    if training.accumulate > 1 and counts_passes(networks):
        lines.append(f"{accumulating}: spectral norm iterates in each micro-batch")
    side = config.data.resolution
    if side is not None and training.precision != "fp32" and training.fp32_below > side:
        lines.append(
            f"training.fp32_below = {training.fp32_below}: every stage of {side}-pixel images computes in fp32"
        )
    images = images_of_a_pass(networks)
    if (size := MinibatchStd.group_of(images)) < MinibatchStd.group:
        tried, deviations = ("4", f"of groups of {size}") if size > 1 else ("4, 3 or 2", "0")
        cause = f"no group of {tried} divides a pass of {images} images"
        lines.append(f"{cause}: minibatch standard deviations are {deviations}")
    return lines
