"""How a configuration becomes a model and a state at step 0."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gan_zoo.config import Config, Training
from gan_zoo.data.augment import parse_augment
from gan_zoo.data.bounds import check_memory
from gan_zoo.data.dataset import Dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN, alone
from gan_zoo.registry import models
from gan_zoo.training.batch_norm import synchronise
from gan_zoo.training.ema import EMA
from gan_zoo.training.loggers.logger import check_trackers
from gan_zoo.training.network_optimizer import network_optimizers
from gan_zoo.training.penalties import Penalties
from gan_zoo.training.precision import Precision, as_started, pick_precision, stores_pixel_by_pixel
from gan_zoo.training.ranks import ALONE, Ranks
from gan_zoo.training.state import State
from gan_zoo.trunks.layers import counts_passes
from gan_zoo.trunks.stages import Staged


def with_facts(config: Config, dataset: Dataset, device: torch.device) -> Config:
    """`config` with the data's resolution, channels and classes, and the precision that `auto` resolves to."""
    data = config.data.model_copy(update={**asdict(dataset.image), "classes": dataset.classes})
    training = config.training.model_copy(update={"precision": pick_precision(config.training.precision, device)})
    return config.model_copy(update={"data": data, "training": training})


def new_state(config: Config, device: torch.device, ranks: Ranks = ALONE) -> State:
    """The state at step 0.

    Raises:
        InputError: If settings contradict each other, a tracker is not installed, or memory does not suffice.
    """
    settings = config.training
    rows = _rows_of_micro_batch(config, ranks)
    check_trackers(config.logging)
    parse_augment(config.data.augment)
    parse_augment(config.data.warp, "data.warp")
    model = build_model(config, device, copies=4 if device.type == "cpu" else 1)  # gradients, and Adam's two moments
    _configure_stages(model)
    if config.trunk.freeze_d:
        model.discriminator.trunk.freeze(config.trunk.freeze_d)
    model.configure_batches(rows, settings.accumulate, ranks.mean if ranks.world > 1 else alone)
    if ranks.world > 1 and settings.sync_batch_norm:
        synchronise(model, ranks)
    if rows == 1 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        _refuse_single_images(config, ranks)
    if stores_pixel_by_pixel(model, settings, device):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile and Penalties(config.loss, settings.steps).any:
        raise InputError(
            "training.compile does not support gradient penalties, which need second derivatives; "
            "set loss.gradient_penalty, loss.r1 and loss.r2 to 0, or training.compile to false"
        )
    if settings.compile and ranks.world > 1:
        raise InputError(f"training.compile does not support several ranks ({ranks.world} here); set it to false")
    precision = Precision(pick_precision(settings.precision, device), device)
    decay = average_decay(settings)
    ema = EMA(model.generator, decay) if decay else None
    return State(model, ema, network_optimizers(model, precision, ranks), precision, ranks)


def _configure_stages(model: GAN) -> None:
    """Apply `training.fp32_below` and `training.gradient_checkpointing` to the networks' stages.

    Raises:
        InputError: If the networks have no stages, or the step does not support gradient checkpointing.
    """
    settings, trunk = model.config.training, model.config.trunk
    networks = {"generator": model.generator, "discriminator": model.discriminator}
    without = [name for name, network in networks.items() if not any(isinstance(m, Staged) for m in network.modules())]
    for name in ("fp32_below", "gradient_checkpointing"):
        if (value := getattr(settings, name)) and without:
            whose = f"the {without[0]} of trunk {trunk.name}" if len(without) == 1 else f"trunk {trunk.name}"
            off = json.dumps(type(value)())
            raise InputError(f"training.{name} applies to stages, and {whose} has none; set it to {off}")
    if settings.gradient_checkpointing and (settings.compile or counts_passes(model)):
        other = "training.compile" if settings.compile else "trunk.spectral_norm, which counts passes"
        raise InputError(f"training.gradient_checkpointing does not support {other}; set one of them to false")
    for network in model.modules():  # a model may have further ones
        if isinstance(network, Staged):
            network.fp32_below, network.recompute = settings.fp32_below, settings.gradient_checkpointing


def average_decay(settings: Training) -> float:
    """The decay of the moving average in an update of the generator; 0 if there is none."""
    if not settings.ema_images:
        return settings.ema
    return float(0.5 ** (settings.batch_size * settings.discriminator_steps / settings.ema_images))


def build_model(config: Config, device: torch.device | str = "cpu", *, copies: int = 1) -> GAN:
    """A new model, whose weights depend on the seed alone.

    Args:
        config: The resolved configuration, with the data's facts.
        device: Where to put it.
        copies: How many tensors of its size each weight will need, including itself.

    Raises:
        InputError: If they would not fit this machine's memory; checked before any is allocated.
    """
    _check_size(config, copies)
    return _model(config, torch.device("cpu")).to(device)


def _model(config: Config, device: torch.device) -> GAN:
    with as_started(), torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(config.seed)
        model: GAN = models.get(config.model)(config)
    return model


class _WithoutDrawing(TorchFunctionMode):
    """Leaves weights without memory as they are: to draw normal ones there, torch imports its compiler, for seconds."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.normal_ or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def _check_size(config: Config, copies: int) -> None:
    """Build the model without memory for its weights, and add up what they would need."""
    what = "the networks of this configuration"
    try:
        with _WithoutDrawing():
            model = _model(config, torch.device("meta"))
    except (RuntimeError, TypeError, OverflowError) as error:
        if "meta" in str(error):  # the model's constructor reads values, which a meta tensor has not
            return
        raise InputError(f"{what} are larger than any machine's memory") from None  # sizes overflow an int64
    check_memory(copies * sum(value.nbytes for value in model.state_dict().values()), what)


def _rows_of_micro_batch(config: Config, ranks: Ranks) -> int:
    settings = config.training
    micro_batches = settings.accumulate * ranks.world
    if settings.batch_size % micro_batches:
        on = f" x {ranks.world} ranks" if ranks.world > 1 else ""
        raise InputError(
            f"training.batch_size = {settings.batch_size} is not divisible by training.accumulate = "
            f"{settings.accumulate}{on}"
        )
    return settings.batch_size // micro_batches


def _refuse_single_images(config: Config, ranks: Ranks) -> None:
    micro_batches = config.training.accumulate * ranks.world
    split = f" in {micro_batches} micro-batches (training.accumulate x ranks)" if micro_batches > 1 else ""
    raise InputError(
        f"training.batch_size = {config.training.batch_size}{split} passes single images to batch norm, which needs "
        f"at least 2: set training.batch_size to {2 * micro_batches} or more, or the networks' norms to layer or none"
    )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed for lack of memory."""
    message = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in message or "ALLOC_FAILED" in message
