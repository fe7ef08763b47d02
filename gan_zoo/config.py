"""The typed configuration: its keys and the values they accept. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from tyro.conf import Suppress, arg

from gan_zoo.files import path_to_text
from gan_zoo.registry import loggers, losses, models, trunks

for _names in (models, trunks, losses, loggers):
    _ = _names.entries  # raises here, not during validation, if two distributions register one name

Norm = Literal["batch", "layer", "none"]
Fit = Literal["crop", "pad", "stretch"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Stages = Annotated[tuple[Positive, ...], Field(strict=False)]


def _as_switch(value: object) -> object:
    """Accept true and false for a switch, as earlier releases did."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _as_text(value: object) -> object:
    """A path, whose name may not be UTF-8."""
    return path_to_text(value) if isinstance(value, str) else value


PathText = Annotated[str, BeforeValidator(_as_text)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_as_switch)]


class Settings(BaseModel):
    """A table of the configuration: frozen and strict, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_default=True, defer_build=True, use_attribute_docstrings=True
    )


class Recipe:
    """What a model adds to the configuration. The model's class derives from it, and `gan_zoo.registry` names it.

    It is separate from the model so that a configuration is resolved without importing torch.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of the shared tables, which presets, files and flags override."""
    settings: ClassVar[type[Settings] | None] = None
    """Type of the model's own table, if it has one."""
    extends: ClassVar[str | None] = None
    """The model whose table also applies to this one."""
    preset: ClassVar[str] = ""
    """The preset for the bundled digits if no configuration is named; empty takes the one of all models."""
    networks: ClassVar[tuple[str, ...]] = ()
    """Keys of the model's table that its weights depend on. A run that starts at a model's weights takes them over."""


def table_name(model: str) -> str:
    """The key of a model's table: its name with underscores."""
    return model.replace("-", "_")


class Data(Settings):
    """The training data."""

    name: Annotated[PathText, arg(aliases=["--data"])] = "mnist-5k"
    """A dataset's name (see `gan-zoo datasets`), a folder of images, or a .npz, .npy or .safetensors file."""
    path: PathText | None = None
    """Location of the dataset: a folder, a file, or a name on the Hugging Face Hub."""
    splits: bool = True
    """Whether folder names (train, val, test, …) define the splits; if false, all images are training data."""
    follow_links: bool = False
    """Whether to follow links that lead out of the dataset's folder."""
    skip_broken: bool = False
    """Whether to skip and report unreadable images. All images are decoded at the start to find them."""
    resolution: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Height and width of the images in pixels; defaults to the dataset's."""
    fit: Fit = "crop"
    """How images that are not square become square: crop cuts them to the centre square, pad adds black bars, stretch
    changes their proportions."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; defaults to the dataset's."""
    classes: Count | None = None
    """Number of classes; defaults to the dataset's. 0 ignores the labels."""
    balance: Annotated[tuple[Share, ...], Field(strict=False)] = ()
    """Fraction of each class's images to keep, one number per class, in both splits; empty keeps all."""
    augment: str = ""
    """Random augmentation of every image that D sees, e.g. "flip, shift:0.1, rotate:0.2, cutout:0.5"."""
    augment_fakes: bool = True
    """Whether to augment fakes like reals, differentiably (Zhao et al., 2020, DiffAugment)."""
    augment_target: Fraction = 0.0
    """Target of E[sign D(x)] over reals, 0.6 in the paper: each operation of augment applies with a probability that
    rises from 0 while the mean is above it (Karras et al., 2020, ADA). 0 always applies all operations."""
    warp: str = ""
    """Random changes that preserve an image's content, with the syntax of augment; InfoGAN's consistency term compares
    images with copies changed so."""
    memory: Weight = 2.0
    """Datasets of up to this many GiB of pixels are kept in device memory; larger ones are streamed."""
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Processes that decode a streamed dataset, or threads that decode one into memory."""
    cache: bool = True
    """Whether to cache decoded images in the user's cache folder."""


class Latent(Settings):
    """The generator's noise z."""

    noise: Annotated[int, Field(ge=0, lt=10**9)] = 62
    """Width of the noise."""
    distribution: Literal["normal", "uniform"] = "normal"
    """Standard normal, or uniform in [-1, 1]."""


class TrunkSettings(Settings):
    """The networks."""

    name: Annotated[str, AfterValidator(trunks.check)] = "dcgan"
    """A trunk's name (see `gan-zoo trunks`)."""
    width: Positive = 64
    """Unit of the number of channels: DCGAN's ngf and ndf. An mlp has 8 times as many hidden units; a stage of
    r3gan has min(12, 384 / r) times as many channels at side r, and one of stylegan2 min(8, 256 / r) times as many."""
    widths: Stages = ()
    """Channels of each stage from 4×4 up, of a trunk built in stages (r3gan, stylegan2), instead of those that follow
    from trunk.width; a single number applies to all stages. Empty leaves them to trunk.width."""
    cardinality: Stages = ()
    """Groups of the 3×3 convolutions of each stage from 4×4 up, or a single number, of trunk r3gan. Empty makes groups
    of 16 channels."""
    blocks: Stages = (2,)
    """Residual blocks of each stage from 4×4 up, or a single number, of trunk r3gan."""
    mapping_layers: Positive = 8
    """Layers of the mapping network, of trunk stylegan2; 2 in StyleGAN2-ADA's configurations for small images."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator."""
    discriminator_norm: Norm = "batch"
    """Normalisation in the discriminator's trunk."""
    spectral_norm: bool = False
    """Whether to apply spectral norm to the discriminator's weights (Miyato et al., 2018)."""
    freeze_d: Count = 0
    """Number of first layers of the discriminator's trunk that stay fixed (Mo et al., 2020, FreezeD), for fine-tuning;
    of resnet, residual blocks. 0 trains all."""


class Loss(Settings):
    """The adversarial loss and its penalties."""

    adversarial: Annotated[str, AfterValidator(losses.check)] = "non-saturating"
    """non-saturating, saturating, least-squares, hinge, wasserstein or relativistic."""
    gradient_penalty: Weight = 0.0
    """Weight of WGAN-GP's gradient penalty (Gulrajani et al., 2017, eq. 3); 10 in the paper."""
    r1: Weight = 0.0
    """γ of the R1 penalty γ/2 E‖∇D(x)‖² on reals (Mescheder et al., 2018, eq. 9)."""
    r2: Weight = 0.0
    """γ of the R2 penalty, the same on fakes (eq. 10)."""
    final_penalty: Share = 1.0
    """Share of γ, of R1 and R2, at the last step, towards which they fall along a cosine (0.1 in Huang et al., 2024); 1
    keeps them."""
    penalty_interval: Positive = 1
    """Compute penalties every n-th step, with n times the weight (Karras et al., 2020, lazy regularisation)."""


class Optimizer(Settings):
    """Adam, one for the generator and one for the discriminator."""

    generator_lr: Rate = 1e-3
    """Learning rate of the generator."""
    discriminator_lr: Rate = 2e-4
    """Learning rate of the discriminator and all heads on its trunk."""
    beta1: Fraction = 0.5
    """Adam's decay of the mean gradient."""
    beta2: Fraction = 0.999
    """Adam's decay of the mean squared gradient."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Decay of the learning rates to final_lr at the last step, or constant."""
    final_lr: Fraction = 0.0
    """Share of the learning rates at the end of a schedule."""
    warmup: Count = 0
    """Steps of linear warm-up from zero."""


class Training(Settings):
    """The training loop."""

    steps: Annotated[Positive, arg(aliases=["--steps"])] = 1500
    """Number of discriminator updates."""
    batch_size: Annotated[Positive, arg(aliases=["--batch-size"])] = 128
    """Images per step, over all ranks."""
    accumulate: Positive = 1
    """Number of micro-batches to split a batch into, to save memory; their gradients are averaged. Batch norm takes its
    statistics over a micro-batch; terms that need the whole batch raise an error."""
    gradient_checkpointing: bool = False
    """Whether to keep only the inputs of the networks' stages for the backward pass and to compute the rest again: less
    memory, the same result, more time (Chen et al., 2016)."""
    update: Literal["alternating", "simultaneous"] = "alternating"
    """alternating: G's loss uses the updated D, with a second trunk pass over the fakes. simultaneous: both losses use
    one trunk pass over the fakes."""
    discriminator_steps: Positive = 1
    """Discriminator updates per generator update."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], arg(aliases=["--precision"])] = "fp32"
    """Number format of autocast; weights, losses and reductions stay fp32. auto: bf16 if the hardware supports it."""
    fp32_below: Count = 0
    """Stages of the networks whose maps are smaller than this side compute in fp32; with 32, as in StyleGAN2-ADA, only
    the four highest resolutions of 256-pixel images are in half precision. 0 computes all stages in precision."""
    device: Annotated[str, arg(aliases=["--device"])] = "auto"
    """auto, cpu, cuda, cuda:N, mps."""
    compile: Annotated[bool, arg(aliases=["--compile"])] = False
    """Whether to compile each network's loss with torch.compile: takes half a minute, and steps are faster."""
    channels_last: Switch = "auto"
    """Whether to store feature maps as NHWC. auto: for convolutional networks on CUDA in bf16 and fp16."""
    cuda_graph: Switch = "auto"
    """Whether to capture a step as a CUDA graph and replay it. auto: on CUDA, if capture is possible."""
    tf32: bool = True
    """Whether CUDA may use TF32 (10 bits of mantissa) in fp32 matrix products and convolutions."""
    on_nan: Annotated[Literal["stop", "skip"], arg(aliases=["--on-nan"])] = "stop"
    """What to do with a step whose losses or gradients are NaN or infinite. stop: end the run and name the term. skip:
    skip the step and count it."""
    max_skipped: Count = 100
    """With on_nan = "skip", the number of skipped steps after which the run ends."""
    sync_batch_norm: bool = True
    """Whether batch norm takes its statistics over all ranks of a distributed run."""
    rank_timeout: Annotated[float, Field(gt=0, le=86400)] = 600.0
    """Seconds after which a rank of a distributed run stops waiting for the others."""
    ema: Fraction = 0.999
    """Decay of the generator's moving average, which draws the samples; 0 disables it."""
    ema_images: Count = 0
    """Half-life of the moving average in images that D has seen, in place of ema; 0 leaves it to ema."""

    @property
    def micro_batch(self) -> int:
        """Images of a micro-batch, over all ranks."""
        return self.batch_size // self.accumulate


class Logging(Settings):
    """Logs, pictures and checkpoints."""

    log_every: Annotated[Positive, arg(aliases=["--log-every"])] = 50
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: Annotated[Positive, arg(aliases=["--checkpoint-every"])] = 500
    """Steps between checkpoints."""
    sample_every: Positive = 500
    """Steps between pictures."""
    keep: Positive = 2
    """Number of newest checkpoints to keep."""
    keep_every: Count = 0
    """Also keep the checkpoints of steps that are a multiple of this; 0 disables it."""
    evaluate_every: Count = 0
    """Steps between evaluations of the moving average: L_I of each code, and the Fréchet distance to training images.
    The last step is evaluated, too. 0 disables it."""
    features: PathText = "auto"
    """Features that evaluations compare images by: inception, classifier (trained on the data's labels), random (a
    fixed random network), or a safetensors file with Inception's weights. auto: as gan-zoo evaluate chooses, or random
    where that has none; with best = "frechet" never the classifier, so that labels choose nothing."""
    best: str = ""
    """The measure whose best evaluation is kept as checkpoints/best: frechet, mi, or mi/CODE; empty keeps none."""
    trackers: Annotated[tuple[Annotated[str, AfterValidator(loggers.check)], ...], Field(strict=False)] = ()
    """Trackers that also receive metrics and pictures (see `gan-zoo loggers`), e.g. tensorboard wandb."""


class Config(Settings):
    """The whole configuration. A model's settings are in a table of the model's name, e.g. `[infogan]`."""

    model: Annotated[str, AfterValidator(models.check), Suppress]
    """A model's name (see `gan-zoo models`)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of all random numbers of a run."""
    data: Data = Data()
    latent: Latent = Latent()
    trunk: TrunkSettings = TrunkSettings()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    logging: Logging = Logging()
