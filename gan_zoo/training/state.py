"""All that a run carries from one step to the next, saved to and loaded from checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_zoo.data.fingerprint import Fingerprint
from gan_zoo.errors import InputError, quoted
from gan_zoo.models.gan.model import GAN, evaluating
from gan_zoo.models.gan.prior import STATISTICS
from gan_zoo.training import checkpoint as files
from gan_zoo.training.batch_norm import measure_statistics
from gan_zoo.training.best import Best
from gan_zoo.training.ema import EMA
from gan_zoo.training.network_optimizer import NetworkOptimizer
from gan_zoo.training.origin import Origin
from gan_zoo.training.precision import Precision
from gan_zoo.training.ranks import ALONE, Ranks
from gan_zoo.trunks.style import MinibatchStd, images_of_a_pass

STATISTICS_IMAGES, STATISTICS_ROWS = 1024, 64
"""Latents that batch statistics are measured on, and those of a batch, where memory allows. Twice as many change a
Fréchet distance of 4.46 by 0.05.
"""


class State:
    """The model, its moving average, both optimizers, the gradient scaler and the counts of steps."""

    def __init__(
        self,
        model: GAN,
        ema: EMA | None,
        optimizers: dict[str, NetworkOptimizer],
        precision: Precision,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.ema = ema
        self.optimizers = optimizers
        self.precision = precision
        self.ranks = ranks
        self.data = Fingerprint({}, 0, (), {})  # of the training data, once it is open
        self.origin: Origin | None = None  # of its weights at step 0, if they are another model's
        self.step = 0  # steps done
        self.skipped = torch.zeros((), dtype=torch.int64, device=model.device)  # of them, without an update
        self.best: Best | None = None  # the best evaluation so far
        self._measured: set[str] | None = None  # within `fixed`, the networks whose statistics are measured

    def save(self, folder: Path, *, keep: int, keep_every: int = 0) -> Path:
        """Write a checkpoint; see `checkpoint.save`."""
        facts = {
            "model": self.model.config.model,
            "step": self.step,
            "skipped": int(self.skipped),
            "scaler": self.precision.scaler.state_dict(),
            **({"data": self.data.record} if self.data.images else {}),
            **({"best": asdict(self.best)} if self.best else {}),
        }
        return files.save(folder, facts, self.tensors(), keep=keep, keep_every=keep_every)

    def load(self, checkpoint: Path) -> None:
        """Load a checkpoint.

        Raises:
            InputError: If it is damaged, or of another model, schema or shape than this state.
        """
        state = files.read_state(checkpoint)
        if state["model"] != self.model.config.model:
            raise InputError(
                f"{checkpoint} is a checkpoint of model {quoted(state['model'])}, not {self.model.config.model}"
            )
        files.load_weights(self.model, checkpoint / "model.safetensors")
        if self.ema:
            averaged = files.has_average(checkpoint)
            file = checkpoint / ("ema.safetensors" if averaged else "model.safetensors")
            files.load_weights(self.ema.module, file, prefix="" if averaged else "generator.")
        self.load_moments(files.read_tensors(checkpoint / "optimizer.safetensors"), checkpoint)
        if state.get("scaler") and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.skipped.fill_(state.get("skipped", 0))
        self.best = Best(**best) if (best := state.get("best")) else None

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """A context in which no weight changes, so that batch statistics are measured once."""
        self._measured = set()
        try:
            yield
        finally:
            self._measured = None

    def _is_due(self, network: str) -> bool:
        """Whether a network's statistics are to be measured; within `fixed`, only the first time."""
        if self._measured is None:
            return True
        due = network not in self._measured
        self._measured.add(network)
        return due

    def sampler(self) -> nn.Module:
        """The generator that draws samples: the moving average, if there is one, with its own batch statistics."""
        generator = self.ema.module if self.ema else self.model.generator
        if self._is_due("generator"):
            with evaluating(generator):
                measure_statistics(generator, generator, self._latents())
        return generator

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Everything that a checkpoint stores, by file name."""
        self._measure_statistics()
        files = {"model.safetensors": self.model.state_dict(), "optimizer.safetensors": self._moments()}
        return files | ({"ema.safetensors": self.ema.module.state_dict()} if self.ema else {})

    @contextmanager
    def averaged(self) -> Iterator[GAN]:
        """The model as a checkpoint of these weights would be loaded: in evaluation mode, with the moving average, if
        there is one, as its generator, and with measured batch statistics.
        """
        generator = self._measure_statistics()
        model, trained = self.model, self.model.generator
        with evaluating(model):
            model.generator = generator
            try:
                yield model
            finally:
                model.generator = trained

    def _measure_statistics(self) -> nn.Module:
        """Measure the batch statistics of `sampler` and, on its images, those of D and its heads; return `sampler`."""
        model, generator = self.model, self.sampler()
        if not self._is_due("readers"):
            return generator
        with evaluating(model), evaluating(generator):
            readers = nn.ModuleDict({name: part for name, part in model.named_children() if name != "generator"})
            measure_statistics(readers, lambda latents: model.examine(generator(latents)), self._latents())
        return generator

    def _latents(self) -> Iterator[Tensor]:
        """Batches of the generator's inputs, the same for every run."""
        prior, device = self.model.prior, self.model.device
        group = MinibatchStd.group_of(images_of_a_pass(self.model))
        rows = max(group, min(STATISTICS_ROWS, self.model.at_once) // group * group)
        for k in range(STATISTICS_IMAGES // rows):
            yield prior.sample(rows, seed=0, step=k, stream=STATISTICS, device=device).input

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{network}/{name}/{moment}": value
            for network, optimizer in self.optimizers.items()
            for name, parameter in optimizer.parameters.items()
            for moment, value in optimizer.adam.state[parameter].items()
        }

    def load_moments(self, stored: Mapping[str, Tensor], checkpoint: Path) -> None:
        """Load Adam's moments; a parameter without any has had no gradient yet, and starts from zero.

        Those of parameters that are fixed now (`trunk.freeze_d`) are dropped.

        Raises:
            InputError: If a moment is missing beside others, unexpected or of another shape.
        """
        fixed = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        stored = {key: value for key, value in stored.items() if _parameter(key) not in fixed}
        parameters = {key.rpartition("/")[0] for key in stored}
        moments = self._moments()
        for key in [key for key in moments if key.rpartition("/")[0] not in parameters]:
            moments.pop(key).zero_()
        for key in sorted(moments.keys() ^ stored.keys()):
            name = _parameter(key)
            if key in moments:
                raise InputError(f"{checkpoint}: optimizer state is incomplete: no moments for {name}")
            raise InputError(f"{checkpoint}: optimizer state does not match: {quoted(key)} is not part of this model")
        files.copy_same_shapes(moments, stored, f"{checkpoint}: optimizer state does not match")


def _parameter(key: str) -> str:
    """The parameter's name in network/parameter/moment."""
    return key.rpartition("/")[0].partition("/")[2]
