"""Models, trunks, datasets, losses, loggers and trained weights by name, built in or from plug-ins.

A built-in thing is one line in a table below. Another distribution adds its own through the entry-point group named
by the registry's `group`. Listing names imports neither torch nor the things themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from gan_zoo.errors import InputError, unknown


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Args:
        name: The name.
        summary: A few words on it.
        origin: Where it comes from: `gan-zoo`, or the name and version of a plug-in.
        target: `module:attribute` to import.
        recipe: Of a model: `module:attribute` of its `gan_zoo.config.Recipe`, which needs no torch; by default the
            target.
    """

    name: str
    summary: str
    origin: str
    target: str
    recipe: str = ""


class Registry:
    """The things of one kind, by name.

    Args:
        kind: What the things are called in messages, e.g. ``model``.
        builtin: ``{name: (target, summary)}`` or ``{name: (target, summary, recipe)}`` of the things in this package.
    """

    def __init__(self, kind: str, builtin: Mapping[str, tuple[str, ...]]) -> None:
        self.kind = kind
        self.plural = {"loss": "losses", "weights": "weights"}.get(kind, f"{kind}s")
        self.group = f"gan_zoo.{self.plural}"
        self._builtin = builtin

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All entries by name.

        Raises:
            InputError: If two distributions register one name.
        """
        from importlib.metadata import entry_points

        entries = {
            name: Entry(name, summary, "gan-zoo", target, *recipe)
            for name, (target, summary, *recipe) in self._builtin.items()
        }
        for point in entry_points(group=self.group):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            entry = Entry(point.name, "", origin, point.value)
            if point.name in entries:
                raise InputError(
                    f"two {self.plural} are named {point.name!r}: one from {entries[point.name].origin} and one from "
                    f"{entry.origin}; uninstall one or rename it in its entry points"
                )
            entries[point.name] = entry
        return dict(sorted(entries.items()))

    def check(self, name: str, *, where: str = "") -> str:
        """Return `name`, or raise an InputError with the nearest registered name."""
        if name not in self.entries:
            raise unknown(self.kind, name, self.entries, where=where)
        return name

    def get(self, name: str) -> Any:
        """Import and return the thing called `name`.

        Raises:
            InputError: If there is none, or if the plug-in that provides it cannot be imported.
        """
        return self._load(name, self.entries[self.check(name)].target)

    def recipe(self, name: str) -> Any:
        """Import and return the recipe of the model called `name`; of a plug-in, its class."""
        entry = self.entries[self.check(name)]
        return self._load(name, entry.recipe or entry.target)

    def _load(self, name: str, target: str) -> Any:
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # a plug-in's module may raise anything
            origin = self.entries[name].origin
            if origin == "gan-zoo":
                raise
            cause = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.kind} {name!r} from {origin} cannot be loaded: {cause}") from error


def presets() -> dict[str, Path]:
    """The presets in this package: `{name: file}`."""
    folder = Path(str(resources.files("gan_zoo") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _model(package: str, name: str, summary: str) -> tuple[str, str, str]:
    folder = f"gan_zoo.models.{package}"
    return f"{folder}.model:{name}", summary, f"{folder}.settings:{name}Recipe"


models = Registry(
    "model",
    {
        "gan": _model("gan", "GAN", "the plain GAN, on multilayer perceptrons"),
        "dcgan": _model("dcgan", "DCGAN", "convolutional trunks with batch norm"),
        "lsgan": _model("lsgan", "LSGAN", "least-squares losses"),
        "wgan-gp": _model("wgan_gp", "WGANGP", "Wasserstein losses, gradient penalty"),
        "sngan": _model("sngan", "SNGAN", "residual trunks, spectral norm, hinge losses"),
        "r3gan": _model("r3gan", "R3GAN", "relativistic pairing with R1 and R2, on trunk r3gan"),
        "stylegan2": _model("stylegan2", "StyleGAN2", "style-based generator, lazy R1, path-length regularisation"),
        "stylegan2-ada": _model("stylegan2_ada", "StyleGAN2ADA", "StyleGAN2 with adaptive augmentation"),
        "acgan": _model("acgan", "ACGAN", "class-conditional, with a class head trained on labels"),
        "projection-gan": _model(
            "projection_gan", "ProjectionGAN", "class-conditional: conditional batch norm, projection in D"
        ),
        "infogan": _model("infogan", "InfoGAN", "latent codes that Q reads from the image, learned without labels"),
        "infogan-cr": _model("infogan_cr", "InfoGANCR", "InfoGAN with a contrastive regulariser on pairs of images"),
        "infovae": _model("infovae", "InfoVAE", "a variational autoencoder with InfoGAN's codes and information term"),
    },
)

trunks = Registry(
    "trunk",
    {
        "mlp": ("gan_zoo.trunks.mlp:MLP", "multilayer perceptrons, any resolution"),
        "dcgan": ("gan_zoo.trunks.dcgan:DCGAN", "strided convolutions, 28, 32, 64, 128 or 256 pixels"),
        "resnet": ("gan_zoo.trunks.resnet:RESNET", "SNGAN's residual blocks, 28, 32, 64, 128 or 256 pixels"),
        "r3gan": ("gan_zoo.trunks.r3gan:R3GAN", "R3GAN's grouped residual blocks, any power of 2 from 4 pixels"),
        "infogan-mnist": ("gan_zoo.trunks.infogan_mnist:INFOGAN_MNIST", "the InfoGAN paper's network, 28 pixels"),
        "stylegan2": ("gan_zoo.trunks.stylegan2:STYLEGAN2", "style-based generator, 4 to 1,024 pixels (powers of 2)"),
    },
)

datasets = Registry(
    "dataset",
    {
        "mnist-5k": ("gan_zoo.data.bundled:mnist_5k", "5,000 handwritten digits, bundled; 28×28 grey, 10 classes"),
        "mnist": ("gan_zoo.data.idx:mnist", "MNIST's IDX files in the folder data.path; 28×28 grey, 10 classes"),
        "fashion-mnist": ("gan_zoo.data.idx:fashion_mnist", "clothes, IDX files; 28×28 grey, 10 classes"),
        "sprites": ("gan_zoo.data.sprites:sprites", "737,280 shapes with dSprites' factors; grey, any size"),
        "dsprites": ("gan_zoo.data.dsprites:dsprites", "dSprites' .npz file data.path, with factors; 64×64 grey"),
        "folder": ("gan_zoo.data.folder:folder", "the images below the folder data.path; subfolders are classes"),
        "array": ("gan_zoo.data.arrays:array", "the .npz, .npy or .safetensors file data.path"),
        "hub": ("gan_zoo.data.hub_dataset:hub", "the dataset data.path on the Hugging Face Hub"),
        "svhn": ("gan_zoo.data.hub_dataset:svhn", "street-view house numbers, from the Hub; 32×32 colour, 10 classes"),
        "cifar10": ("gan_zoo.data.hub_dataset:cifar10", "CIFAR-10, from the Hub; 32×32 colour, 10 classes"),
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
        "tensorboard": ("gan_zoo.training.loggers.tensorboard:TensorBoard", "event files in the run folder"),
        "wandb": ("gan_zoo.training.loggers.wandb:WandB", "Weights & Biases, offline unless WANDB_MODE=online"),
        "trackio": ("gan_zoo.training.loggers.trackio:Trackio", "trackio's folder on this machine"),
    },
)

weights = Registry(
    "weights",
    {
        "mnist-5k": ("gan_zoo.weights:MNIST_5K", "handwritten digits: the default recipe's model"),
        "fashion-mnist": ("gan_zoo.weights:FASHION_MNIST", "clothes: the digits' recipe for 3,000 steps"),
    },
)
"""A thing is the path of a folder that `gan-zoo export` wrote."""
