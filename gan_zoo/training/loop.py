"""The one loop, for every model: data and latents in, steps, and what is kept of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import torch
from torch import nn

from gan_zoo.config import Config
from gan_zoo.data.augment import parse_augment
from gan_zoo.data.batches import end_if_spawned
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.data.fingerprint import fingerprint, located
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.images import grid, save_image
from gan_zoo.models.gan.model import GAN, alone, evaluating
from gan_zoo.models.gan.prior import SHOWN, Latents
from gan_zoo.resolve import to_toml
from gan_zoo.terminal import silent
from gan_zoo.training.batch_norm import synchronise
from gan_zoo.training.begin import begin
from gan_zoo.training.checkpoint import State
from gan_zoo.training.ema import EMA
from gan_zoo.training.faults import Watch
from gan_zoo.training.interrupt import Interruption
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loggers.jsonlines import JSONLines
from gan_zoo.training.loggers.logger import Logger, check_trackers, open_trackers
from gan_zoo.training.penalties import Penalties, check_norm
from gan_zoo.training.player import players
from gan_zoo.training.precision import (
    Precision,
    as_started,
    kernel_path,
    pick_device,
    pick_precision,
    stores_pixel_by_pixel,
    tuned,
)
from gan_zoo.training.progress import Reporter
from gan_zoo.training.provenance import moved, open_at
from gan_zoo.training.ranks import ALONE, Ranks, joined
from gan_zoo.training.run import Run, build, open_run


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, and was saved."""

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(f"stopped at step {step}, saved; go on with: gan-zoo train --resume --out {run.folder}")
        self.run = run


def train(
    config: Config,
    *,
    out: Path | None = None,
    resume: bool = False,
    new_data: bool = False,
    quiet: bool = False,
    notes: Sequence[str] = (),
) -> Run:
    """Train a model to its last step.

    Args:
        config: The resolved tree.
        out: The run folder; by default the next free `runs/MODEL-DATA-NNN`.
        resume: Whether to go on from the newest whole checkpoint of `out`.
        new_data: Whether a run may go on with data that is not what it learned from.
        quiet: Whether to print nothing.
        notes: Lines to print first.

    Started by `torchrun`, this process is one rank of several, and all of them get the same run.

    Raises:
        InputError: If the configuration cannot be carried out; no folder is made then.
        TrainingError: If a loss is NaN or infinite, the disk refuses, or another rank is gone.
        Interrupted: After SIGINT or SIGTERM, with a checkpoint saved.
    """
    if not resume:
        check_norm(config)
    with ExitStack() as stack:
        end_if_spawned()
        stack.enter_context(as_started())
        ranks = stack.enter_context(joined(pick_device(config.training.device), config.training.rank_timeout))
        with silent(quiet or not ranks.leads):
            held = ranks.together(lambda: open_run(out) if resume and out else None)
            config, dataset, state = ranks.together(partial(prepare, config, ranks, held, new_data=new_data))
        ranks.check_same("the configuration or the data", f"{to_toml(config)}{state.data}")
        config = config.model_copy(update={"data": located(config.data)})
        stood = out is not None and out.exists()
        run, found = begin(config, out, held, state, new_data=new_data, stack=stack)
        if ranks.leads:
            stack.enter_context(run.failing())
        try:
            _loop(run, state, dataset, [*notes, *found], resumed=held is not None, quiet=quiet or not ranks.leads)
        except InputError as error:  # of an image that is streamed
            if held is None and not state.step and ranks.leads:
                shutil.rmtree(run.folder, ignore_errors=True)
                if out is None:
                    with suppress(OSError):  # other runs
                        run.folder.parent.rmdir()
                if stood:
                    run.folder.mkdir(exist_ok=True)
            if ranks.world == 1:
                raise
            raise InputError(f"rank {ranks.rank}: {error}") from error
        except (OSError, RuntimeError) as error:
            if isinstance(error, TrainingError) or not (isinstance(error, OSError) or is_out_of_memory(error)):
                raise
            told = f"{run.folder}: {error}; what was saved before is whole, go on with --resume"
            raise TrainingError(told if ranks.leads else f"rank {ranks.rank}: {told}") from error
    return run


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed because there is not enough memory."""
    told = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in told or "ALLOC_FAILED" in told


def prepare(
    config: Config, ranks: Ranks = ALONE, held: Run | None = None, *, new_data: bool = False
) -> tuple[Config, Dataset, State]:
    """Everything that a run needs before its folder is made: the tree with the data's facts, the data, step 0.

    Args:
        config: The tree.
        ranks: That train it.
        held: The run that it goes on with, if it does.
        new_data: Whether the data may be other than that run's: then its classes are counted anew.

    Raises:
        InputError: If the configuration cannot be carried out.
    """
    device = pick_device(config.training.device)
    kernel_path(device)
    if held:
        config = config.model_copy(update={"data": moved(held.config.data, config.data)})
        if new_data and config.data.classes == held.config.data.classes:
            config = config.model_copy(update={"data": config.data.model_copy(update={"classes": None})})
    dataset = open_at(config.data, held) if held and not new_data else open_dataset(config.data)
    config = with_facts(config, dataset, device)
    try:
        state = new_state(config, device, ranks)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"the networks of this configuration do not fit the memory of {device}") from None
    state.data = fingerprint(dataset)
    return config, dataset, state


def with_facts(config: Config, dataset: Dataset, device: torch.device) -> Config:
    """`config` with the data's resolution, channels and classes, and the precision that `auto` stands for."""
    facts = {
        "resolution": dataset.image.resolution,
        "channels": dataset.image.channels,
        "classes": dataset.classes,
    }
    precision = pick_precision(config.training.precision, device)
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=facts),
            "training": config.training.model_copy(update={"precision": precision}),
        }
    )


def new_state(config: Config, device: torch.device, ranks: Ranks = ALONE) -> State:
    """A model at step 0, with its average, its optimizers and its precision."""
    settings = config.training
    parts = settings.accumulate * ranks.world
    if settings.batch_size % parts:
        on = f" on {ranks.world} ranks" if ranks.world > 1 else ""
        raise InputError(
            f"training.accumulate = {settings.accumulate}{on} does not divide training.batch_size = "
            f"{settings.batch_size}"
        )
    check_trackers(config.logging)
    parse_augment(config.data.augment)
    parse_augment(config.data.warp, "data.warp")
    model = build(config, device, copies=4 if device.type == "cpu" else 1)  # gradients, and Adam's two moments
    model.divided(settings.batch_size // parts, settings.accumulate, ranks.mean if ranks.world > 1 else alone)
    if ranks.world > 1 and settings.sync_batch_norm:
        synchronise(model, ranks)
    if settings.batch_size == parts and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        split = f" in {parts} parts (training.accumulate times ranks)" if parts > 1 else ""
        raise InputError(
            f"training.batch_size = {settings.batch_size}{split} gives batch norm a single image at a time, and it "
            f"needs 2: set training.batch_size to {2 * parts} or more, or the networks' norms to layer or none"
        )
    if stores_pixel_by_pixel(model, settings, device):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile and Penalties(config.loss).any:
        raise InputError(
            "training.compile: compiled losses have no second derivative, which gradient penalties need; "
            "set loss.gradient_penalty, loss.r1 and loss.r2 to 0"
        )
    if settings.compile and ranks.world > 1:
        raise InputError(f"training.compile: not on {ranks.world} ranks; leave it out, or train on one")
    precision = Precision(pick_precision(settings.precision, device), device)
    discriminator, generator = players(model, precision, ranks)
    ema = EMA(model.generator, settings.ema) if settings.ema else None
    return State(model, ema, {"discriminator": discriminator, "generator": generator}, precision, ranks)


def _loop(run: Run, state: State, dataset: Dataset, notes: list[str], *, resumed: bool, quiet: bool) -> None:
    config, ranks = run.config, state.ranks
    settings, logging, steps = config.training, config.logging, config.training.steps
    watch, since = Watch(run, state), state.step
    with ExitStack() as stack:
        loggers = _loggers(run, state.step, stack) if ranks.leads else []
        reporter = stack.enter_context(Reporter(steps, state.step, quiet=quiet))
        interruption = stack.enter_context(Interruption())
        for note in (*dataset.told, *notes, *state.model.remarks()):
            reporter.say(note)
        if state.step >= steps:
            reporter.say(f"{run.folder} is done: {state.step} steps; ask for more by --steps")
            return
        stack.enter_context(tuned(settings, state.model.device))
        iterations = stack.enter_context(closing(Iterations(state, dataset.train, reporter.say)))
        meter = iterations.meter
        doing = "resuming" if state.step else "training"
        reporter.say(f"{doing} {config.model} in {run.folder}{iterations.choices}")
        clock = time.perf_counter()
        while state.step < steps:
            done = next(iterations)
            reporter.advance(done)
            if resumed and ranks.leads:  # a start that fails leaves the run as it was
                run.keep(state.data)
            resumed = False

            last = ranks.vote(interruption.asked) or done == steps
            if last or done % logging.log_every == 0 or done % logging.checkpoint_every == 0:
                watch.losses(meter, reporter.say)  # waits for the device
            if last or done % logging.log_every == 0:
                speed = settings.batch_size * (done - since) / (time.perf_counter() - clock)
                record = {"step": done, "images_per_second": round(speed, 1), **meter.means(), **watch.counts()}
                for logger in loggers:
                    logger.log(record)
                reporter.log(record)
                meter.reset()
            if ranks.leads and (last or done % logging.sample_every == 0):
                _picture(run, state, loggers)
            if last or done % logging.checkpoint_every == 0:
                watch.weights()
                for logger in loggers:
                    logger.flush()  # a checkpoint is never ahead of the lines before it
                if ranks.leads:
                    state.save(run.checkpoints, keep=logging.keep, keep_every=logging.keep_every)
            if not meter:
                since, clock = done, time.perf_counter()  # pictures and checkpoints are not part of a step
            if last:
                ranks.from_first([done])  # has saved by then; a rank that ends earlier would have it ended, too
            if last and done < steps:
                raise Interrupted(run, done)


def _loggers(run: Run, start: int, stack: ExitStack) -> list[Logger]:
    log = JSONLines(run.metrics_file, start)
    stack.callback(log.close)
    return [log, *open_trackers(run.folder, run.config, start, stack)]


@torch.no_grad()
def _picture(run: Run, state: State, loggers: list[Logger]) -> None:
    """Samples of fixed latents; where there are codes, the first one turns from column to column."""
    model = state.model
    generator = state.ema.module if state.ema else model.generator
    latents, columns = preview_latents(model)
    with evaluating(generator):
        images = generator(latents.input.to(model.device))
    picture = grid(images, columns)
    save_image(picture, run.samples / f"step-{state.step:08d}.png")
    for logger in loggers:
        logger.picture(picture, state.step)


def preview_latents(model: GAN) -> tuple[Latents, int]:
    """The latents of a run's pictures, and how many stand in a row."""
    if not model.codes:
        return model.prior.sample(64, seed=model.config.seed, stream=SHOWN), 8
    values = model.codes[0].traversal()[:20]
    return model.prior.traverse(model.codes[0], values, 8, seed=model.config.seed), len(values)
