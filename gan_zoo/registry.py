"""Names to things: models, trunks, datasets, losses and loggers, built in or brought by other distributions.

A built-in is one line in a table below. Another distribution adds its own through the entry-point group of the
same name as the registry's `group`. Listing names imports neither torch nor what the names stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_zoo.errors import InputError, unknown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Entry:
    """A registered name: what it is in a few words, where it comes from, and `module:attribute` to import."""

    name: str
    summary: str
    origin: str
    target: str


class Registry:
    """The things of one kind, by name.

    Args:
        kind: What the things are called in messages, e.g. ``model``.
        builtin: ``{name: (target, summary)}`` of the things in this package.
    """

    def __init__(self, kind: str, builtin: Mapping[str, tuple[str, str]]) -> None:
        self.kind = kind
        self.group = f"gan_zoo.{kind}s" if kind != "loss" else "gan_zoo.losses"
        self._builtin = builtin

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All entries by name.

        Raises:
            InputError: If two distributions register one name.
        """
        from importlib.metadata import entry_points

        found = {n: Entry(n, summary, "gan-zoo", target) for n, (target, summary) in self._builtin.items()}
        for point in entry_points(group=self.group):
            entry = Entry(point.name, "", _origin(point), point.value)
            if point.name in found:
                raise InputError(
                    f"two {self.kind}s are named {point.name!r}: one from {found[point.name].origin} and one from "
                    f"{entry.origin}; uninstall one or rename it in its entry points"
                )
            found[point.name] = entry
        return dict(sorted(found.items()))

    def check(self, name: str, *, where: str = "") -> str:
        """`name` itself, or the error that names the nearest registered one."""
        if name not in self.entries:
            raise unknown(self.kind, name, self.entries, where=where)
        return name

    def get(self, name: str) -> Any:
        """Import and return the thing called `name`.

        Raises:
            InputError: If there is none, or if a plug-in that brings it cannot be imported.
        """
        entry = self.entries[self.check(name)]
        module, _, attribute = entry.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # another distribution's module may fail in any way
            if entry.origin == "gan-zoo":
                raise
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.kind} {name!r} from {entry.origin} cannot be loaded: {reason}") from error


def presets() -> dict[str, Path]:
    """The presets in this package: `{name: file}`."""
    folder = Path(str(resources.files("gan_zoo") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


models = Registry(
    "model",
    {
        "gan": ("gan_zoo.models.gan.model:GAN", "the plain GAN, on multilayer perceptrons"),
        "dcgan": ("gan_zoo.models.dcgan.model:DCGAN", "convolutional trunks with batch norm"),
        "lsgan": ("gan_zoo.models.lsgan.model:LSGAN", "least-squares losses"),
        "wgan-gp": ("gan_zoo.models.wgan_gp.model:WGANGP", "Wasserstein losses, gradient penalty"),
        "sngan": ("gan_zoo.models.sngan.model:SNGAN", "residual trunks, spectral norm, hinge losses"),
        "r3gan": ("gan_zoo.models.r3gan.model:R3GAN", "relativistic pairing with R1 and R2"),
        "acgan": (
            "gan_zoo.models.acgan.model:ACGAN",
            "class-conditional, with a class head trained on labels",
        ),
        "infogan": (
            "gan_zoo.models.infogan.model:InfoGAN",
            "latent codes that the image tells, without labels",
        ),
        "infogan-cr": (
            "gan_zoo.models.infogan_cr.model:InfoGANCR",
            "InfoGAN whose codes are told apart in pairs of images",
        ),
    },
)

trunks = Registry(
    "trunk",
    {
        "mlp": ("gan_zoo.trunks.mlp:MLP", "multilayer perceptrons, any resolution"),
        "dcgan": ("gan_zoo.trunks.dcgan:DCGAN", "strided convolutions, 28, 32, 64 or 128 pixels"),
        "resnet": ("gan_zoo.trunks.resnet:RESNET", "SNGAN's residual blocks, 28, 32, 64 or 128 pixels"),
        "infogan-mnist": (
            "gan_zoo.trunks.infogan_mnist:INFOGAN_MNIST",
            "the InfoGAN paper's network, 28 pixels",
        ),
    },
)

datasets = Registry(
    "dataset",
    {
        "mnist-5k": (
            "gan_zoo.data.bundled:mnist_5k",
            "5,000 handwritten digits, bundled; 28×28 grey, 10 classes",
        ),
        "mnist": (
            "gan_zoo.data.idx:mnist",
            "MNIST's IDX files in the folder data.path; 28×28 grey, 10 classes",
        ),
        "fashion-mnist": ("gan_zoo.data.idx:fashion_mnist", "clothes, IDX files; 28×28 grey, 10 classes"),
        "sprites": (
            "gan_zoo.data.sprites:sprites",
            "737,280 drawn shapes, known factors as in dSprites; 64×64 grey or another side",
        ),
        "dsprites": (
            "gan_zoo.data.dsprites:dsprites",
            "dSprites' own .npz file data.path, with its factors; 64×64 grey",
        ),
        "folder": (
            "gan_zoo.data.folder:folder",
            "the images below the folder data.path; subfolders are classes",
        ),
        "array": ("gan_zoo.data.arrays:array", "the .npz, .npy or .safetensors file data.path"),
        "hub": ("gan_zoo.data.hub_dataset:hub", "a set of the Hugging Face hub, named by data.path"),
        "svhn": (
            "gan_zoo.data.hub_dataset:svhn",
            "street-view house numbers, from the hub; 32×32 colour, 10 classes",
        ),
        "cifar10": ("gan_zoo.data.hub_dataset:cifar10", "CIFAR-10, from the hub; 32×32 colour, 10 classes"),
    },
)

losses = Registry(
    "loss",
    {
        "non-saturating": ("gan_zoo.losses.adversarial:NON_SATURATING", "generator maximises log D(G(z))"),
        "saturating": ("gan_zoo.losses.adversarial:SATURATING", "generator minimises log(1 − D(G(z)))"),
        "least-squares": ("gan_zoo.losses.adversarial:LEAST_SQUARES", "squared distance to 0 and 1"),
        "hinge": ("gan_zoo.losses.adversarial:HINGE", "margins at ±1"),
        "wasserstein": ("gan_zoo.losses.adversarial:WASSERSTEIN", "difference of means"),
        "relativistic": ("gan_zoo.losses.adversarial:RELATIVISTIC", "each fake paired with a real"),
    },
)

loggers = Registry(
    "logger",
    {
        "tensorboard": (
            "gan_zoo.training.loggers.tensorboard:TensorBoard",
            "event files in the run folder (the extra tensorboard)",
        ),
        "wandb": (
            "gan_zoo.training.loggers.wandb:WandB",
            "Weights & Biases, offline unless WANDB_MODE=online (the extra wandb)",
        ),
        "trackio": (
            "gan_zoo.training.loggers.trackio:Trackio",
            "trackio's own folder on this machine (the extra trackio)",
        ),
    },
)
