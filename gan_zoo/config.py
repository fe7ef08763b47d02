"""The typed tree of settings: what its keys are and what they accept. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from tyro.conf import Suppress, arg

from gan_zoo.files import path_to_text
from gan_zoo.registry import loggers, losses, models, trunks

for _names in (models, trunks, losses, loggers):
    _ = _names.entries  # a name that two distributions claim is refused here, and not within the check of a table

Norm = Literal["batch", "layer", "none"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


def _as_switch(value: object) -> object:
    """A switch that was true or false in earlier releases."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _as_text(value: object) -> object:
    """A place, whose name may be no UTF-8."""
    return path_to_text(value) if isinstance(value, str) else value


Place = Annotated[str, BeforeValidator(_as_text)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_as_switch)]


class Settings(BaseModel):
    """A table of the tree: frozen, with no key but its own, and values of the stated type alone."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_default=True, defer_build=True, use_attribute_docstrings=True
    )


class Recipe:
    """What a model adds to the configuration; its class derives from it, and `gan_zoo.registry` names it.

    Apart from the model's class, so that a configuration is resolved without importing torch.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of the shared tables, which presets, files and flags override."""
    settings: ClassVar[type[Settings] | None] = None
    """Type of the model's own table, if it has one."""
    extends: ClassVar[str | None] = None
    """The model whose table also applies to this one."""


def table_name(model: str) -> str:
    """The key of a model's own table: its name, with underscores."""
    return model.replace("-", "_")


class Data(Settings):
    """What is learned from."""

    name: Annotated[Place, arg(aliases=["--data"])] = "mnist-5k"
    """A dataset's name (see `gan-zoo datasets`), a folder of images, or a .npz, .npy or .safetensors file."""
    path: Place | None = None
    """Where the set lies: a folder, a file, or a name on the Hugging Face hub."""
    splits: bool = True
    """Whether names in a folder of images tell its splits (train, val, test, …); else all images are learned from."""
    follow_links: bool = False
    """Whether links that lead out of a set's folder are followed."""
    skip_broken: bool = False
    """Whether images that cannot be read are left out, and named. All are decoded at the start to find them."""
    resolution: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Side of the square images in pixels; none keeps the set's own."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; none keeps the set's own."""
    classes: Count | None = None
    """How many classes the labels tell apart; none takes it from the set. 0 means no labels."""
    balance: Annotated[tuple[Share, ...], Field(strict=False)] = ()
    """Share of each class's images that is kept, in (0, 1], one number a class, in both splits; none keeps all."""
    augment: str = ""
    """What is drawn anew for every image shown to D, e.g. "flip, shift:0.1, rotate:0.2, cutout:0.5"."""
    augment_fakes: bool = True
    """Whether fakes are augmented like the reals, differentiably (Zhao et al., 2020, DiffAugment)."""
    warp: str = ""
    """What may be done to an image without changing what it shows, in the words of augment; InfoGAN's consistency term
    compares images with such copies of them."""
    memory: Weight = 2.0
    """Sets of up to this many GiB (as bytes of pixels) are held in memory on the device; larger ones are streamed."""
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Processes that decode a streamed set; threads that decode one to be held in memory."""
    cache: bool = True
    """Whether encoded images that are decoded into memory are kept so in the user's cache folder for the next time."""


class Latent(Settings):
    """The generator's noise z."""

    noise: Count = 62
    """Width of the noise."""
    distribution: Literal["normal", "uniform"] = "normal"
    """Standard normal, or uniform in [-1, 1]."""


class TrunkSettings(Settings):
    """The networks."""

    name: Annotated[str, AfterValidator(trunks.check)] = "dcgan"
    """A trunk's name (see `gan-zoo trunks`)."""
    width: Positive = 64
    """Channels of the widest feature maps' unit: DCGAN's ngf and ndf; an mlp's hidden units are 8 times it."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator."""
    discriminator_norm: Norm = "batch"
    """Normalisation in the discriminator's trunk."""
    spectral_norm: bool = False
    """Whether the discriminator's weights are spectrally normalised (Miyato et al., 2018)."""


class Loss(Settings):
    """The adversarial game."""

    adversarial: Annotated[str, AfterValidator(losses.check)] = "non-saturating"
    """non-saturating, saturating, least-squares, hinge, wasserstein or relativistic."""
    gradient_penalty: Weight = 0.0
    """Weight of WGAN-GP's penalty (Gulrajani et al., 2017, eq. 3); 10 in the paper."""
    r1: Weight = 0.0
    """γ of the R1 penalty γ/2 E‖∇D(x)‖² on reals (Mescheder et al., 2018, eq. 9)."""
    r2: Weight = 0.0
    """γ of the R2 penalty, the same on fakes (eq. 10)."""
    penalty_interval: Positive = 1
    """Penalties are computed at every n-th step and weighted n times (Karras et al., 2020, lazy regularisation)."""


class Optimizer(Settings):
    """Adam, one for each player."""

    generator_lr: Rate = 1e-3
    """Learning rate of the generator."""
    discriminator_lr: Rate = 2e-4
    """Learning rate of the discriminator and every head on its trunk."""
    beta1: Fraction = 0.5
    """Adam's decay of the mean gradient."""
    beta2: Fraction = 0.999
    """Adam's decay of the mean squared gradient."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rates go to zero at the last step, if they do."""
    warmup: Count = 0
    """Steps over which the learning rates rise from zero."""


class Training(Settings):
    """The loop."""

    steps: Annotated[Positive, arg(aliases=["--steps"])] = 1500
    """Discriminator updates in the whole run."""
    batch_size: Annotated[Positive, arg(aliases=["--batch-size"])] = 128
    """Images a step, on all ranks together."""
    accumulate: Positive = 1
    """Parts that a batch is split into, to save the discriminator's memory; their gradients are averaged. Batch norm
    takes its statistics over a part; a term that is of the whole batch is refused."""
    update: Literal["alternating", "simultaneous"] = "alternating"
    """alternating: G plays against D as D's step left it, by a trunk pass of its own. simultaneous: both play at once,
    from one trunk pass over the fakes."""
    discriminator_steps: Positive = 1
    """Discriminator updates for one of the generator."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], arg(aliases=["--precision"])] = "fp32"
    """What autocast computes in; weights, losses and reductions stay fp32. auto: bf16 where it is native."""
    device: Annotated[str, arg(aliases=["--device"])] = "auto"
    """auto, cpu, cuda, cuda:N, mps."""
    compile: Annotated[bool, arg(aliases=["--compile"])] = False
    """Whether each player's loss goes through torch.compile as a whole: half a minute, for faster steps afterwards."""
    channels_last: Switch = "auto"
    """Whether feature maps are stored pixel by pixel (NHWC). auto: convolutional networks on CUDA in bf16 and fp16."""
    cuda_graph: Switch = "auto"
    """Whether a step is captured as a CUDA graph and replayed. auto: on CUDA, wherever it can be."""
    tf32: bool = True
    """Whether CUDA multiplies fp32 numbers as TF32 (10 bits of mantissa), in products and convolutions alike."""
    on_nan: Annotated[Literal["stop", "skip"], arg(aliases=["--on-nan"])] = "stop"
    """What becomes of a step whose losses or gradients are NaN or infinite. stop: the run ends and names the term.
    skip: the step is left out and counted."""
    max_skipped: Count = 100
    """With on_nan = "skip", the steps that may be left out of a whole run before it ends."""
    sync_batch_norm: bool = True
    """Whether batch norm takes its statistics over all ranks of a distributed run, as one process does."""
    rank_timeout: Annotated[float, Field(gt=0, le=86400)] = 600.0
    """Seconds that a rank of a distributed run waits for the others before it gives up."""
    ema: Fraction = 0.999
    """Decay of the generator's moving average, which samples are drawn from; 0 is none."""


class Logging(Settings):
    """What is kept of a run, and when."""

    log_every: Annotated[Positive, arg(aliases=["--log-every"])] = 50
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: Annotated[Positive, arg(aliases=["--checkpoint-every"])] = 500
    """Steps between checkpoints."""
    sample_every: Positive = 500
    """Steps between pictures."""
    keep: Positive = 2
    """How many of the newest checkpoints are kept."""
    keep_every: Count = 0
    """Checkpoints of steps that are a multiple of it are kept as well; 0 is none."""
    trackers: Annotated[tuple[Annotated[str, AfterValidator(loggers.check)], ...], Field(strict=False)] = ()
    """Where metrics and pictures go beside the run folder (see `gan-zoo loggers`), e.g. tensorboard wandb."""


class Config(Settings):
    """The whole tree. A model's own settings stand in a table of the model's name, e.g. `[infogan]`."""

    model: Annotated[str, AfterValidator(models.check), Suppress]
    """A model's name (see `gan-zoo models`)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """With the step and the row in the batch, it decides every random number of a run."""
    data: Data = Data()
    latent: Latent = Latent()
    trunk: TrunkSettings = TrunkSettings()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    logging: Logging = Logging()
