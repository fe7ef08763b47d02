"""Small trainings for tests: narrow networks, small batches, and single steps without a run folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_zoo import api
from gan_zoo.config import Config
from gan_zoo.data.batches import Batch
from gan_zoo.draws import Draws
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.resolve import resolve
from gan_zoo.training.build import new_state
from gan_zoo.training.precision import pick_device
from gan_zoo.training.run import Run
from gan_zoo.training.state import State
from gan_zoo.training.step import ORDERS, MicroBatch, StepFunctions

NARROW: dict[str, Any] = {
    "trunk.width": 4,
    "latent.noise": 6,
    "training.batch_size": 8,
    "training.precision": "fp32",
    "training.device": "cpu",
    "logging.log_every": 1,
    "logging.sample_every": 10**6,
    "logging.checkpoint_every": 10**6,
}
STAGED: dict[str, Any] = {
    "data.resolution": 16,
    "trunk.generator_norm": "none",
    "trunk.discriminator_norm": "none",
    "trunk.spectral_norm": False,
}
"""What trunks in stages need."""
MIX = "categorical:5, uniform:1, categorical:3x2, gaussian:2, bernoulli(0.3):2"


def narrow_config(model: str, **settings: Any) -> Config:
    """A resolved tree for grey digits of 28 pixels, or of 16 on a trunk in stages.

    A setting's dots are written as double underscores.
    """
    facts = {"data.resolution": 28, "data.channels": 1, "data.classes": 10}
    return resolve(model, {}, NARROW | facts | _needs(model, settings) | _dotted(settings))


def narrow_train(model: str | None, out: Path, *, resume: bool = False, **settings: Any) -> Run:
    """`gan_zoo.train` on the bundled digits, whatever presets say; a resumed run keeps its own tree."""
    ground = {} if resume else NARROW | _needs(model, settings)
    return api.train(model, {}, out=out, resume=resume, quiet=True, **(ground | _dotted(settings)))


def digits(n: int, seed: int = 0, device: torch.device | str = "cpu", *, side: int = 28) -> Batch:
    """Random images and labels, in the bundled digits' shape."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, side, side, generator=random) * 2 - 1
    return Batch(images.to(device), torch.arange(n, device=device) % 10)


class Game:
    """A model and its players, stepped by hand."""

    def __init__(self, model: str, device: torch.device | str = "cpu", **settings: Any) -> None:
        self.config = narrow_config(model, **settings)
        self.device = pick_device(str(device))
        self.state = new_state(self.config, self.device)
        self.model: GAN = self.state.model.train()
        self.random = self.draws()
        self.functions = StepFunctions(
            self.model, self.state.precision, self.config.training.batch_size // self.config.training.accumulate
        )

    def latents(self, step: int = 0, *, n: int | None = None, first_row: int = 0) -> Latents:
        count = n or self.config.training.batch_size
        return self.model.prior.sample(count, seed=self.config.seed, step=step, first_row=first_row, device=self.device)

    def step(self, step: int = 0, *, update_generator: bool = True) -> list[Objective]:
        parts = self.config.training.accumulate
        batch = self.batch(step)
        assert batch.labels is not None
        pieces = [Batch(*pair) for pair in zip(batch.images.chunk(parts), batch.labels.chunk(parts), strict=True)]
        self.state.step = step
        for player in self.state.optimizers.values():
            player.set_rates(player.rates(step))
        return ORDERS[self.config.training.update](
            self.state,
            self.functions,
            [self.micro_batch(piece, step, k * len(piece.images)) for k, piece in enumerate(pieces)],
            update_generator=update_generator,
            penalised=self.functions.penalties.due(step),
        )

    def micro_batch(self, batch: Batch, step: int = 0, first_row: int = 0) -> MicroBatch:
        latents = self.latents(step, n=len(batch.images), first_row=first_row)
        return MicroBatch(batch, latents, self.draws(step, first_row=first_row))

    def batch(self, step: int = 0) -> Batch:
        """`digits` of the model's resolution."""
        return digits(self.config.training.batch_size, step, self.device, side=self.model.image.resolution)

    def draws(self, step: int = 0, *, first_row: int = 0) -> Draws:
        """The random numbers of a step, none of them drawn."""
        return Draws(self.config.seed, step, first_row=first_row, device=self.device)

    def tensors(self, step: int = 0) -> StepTensors:
        """A step's tensors, with a graph through both networks."""
        batch = self.batch(step)
        latents, discriminator = self.latents(step), self.model.discriminator
        fake = self.model.generator(latents.input)
        more = self.model.additional_images(batch.images, latents, self.draws(step))
        return StepTensors(
            real=discriminator(batch.images),
            fake=discriminator(fake),
            latents=latents,
            labels=batch.labels,
            random=self.draws(step),
            additional=tuple(discriminator(images) for images in more),
        )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def moved(before: dict[str, torch.Tensor], model: torch.nn.Module) -> set[str]:
    """Names of the parameters that changed."""
    return {name for name, value in weights(model).items() if not torch.equal(value, before[name])}


def same_bytes(a: Path, b: Path) -> bool:
    """Whether two checkpoints hold the same files, byte for byte."""
    names = {path.name for path in a.iterdir()}
    return names == {path.name for path in b.iterdir()} and all(
        (a / name).read_bytes() == (b / name).read_bytes() for name in names
    )


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The message of an error, after checking that it is a single line."""
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


def _needs(model: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """`STAGED` for a trunk in stages: that of the settings, or the model's."""
    trunk = settings.get("trunk__name") or (model and resolve(model, {}).trunk.name)
    return STAGED if trunk in ("r3gan", "stylegan2") else {}


def _dotted(settings: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in settings.items()}


def around_steps(monkeypatch: pytest.MonkeyPatch, wrap: Callable[..., Any]) -> None:
    """Have `wrap(play, state)` make the loop's steps, in either order; `play()` makes one."""
    for order, played in list(ORDERS.items()):

        def wrapped(state: State, *args: Any, played: Any = played, **keywords: Any) -> Any:
            return wrap(partial(played, state, *args, **keywords), state)

        monkeypatch.setitem(ORDERS, order, wrapped)


def spoil_loss(
    patch: pytest.MonkeyPatch, player: str = "discriminator", *, steps: Collection[int] = range(10**9)
) -> None:
    """Make a player's loss NaN in the given steps."""
    real = getattr(GAN, f"{player}_objective")

    def spoiled(model: GAN, tensors: StepTensors) -> Objective:
        objective: Objective = real(model, tensors)
        if tensors.latents.step in steps:
            name = f"{player}/adversarial"
            objective.terms[name] = objective.terms[name] * float("nan")
        return objective

    patch.setattr(GAN, f"{player}_objective", spoiled)
