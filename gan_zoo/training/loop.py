"""The training loop of every model: steps, and what is logged and saved between them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import torch

from gan_zoo.config import Config
from gan_zoo.config_text import to_toml
from gan_zoo.data.batches import end_if_spawned
from gan_zoo.data.dataset import Dataset
from gan_zoo.data.fingerprint import with_absolute_path
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.images import grid, save_image
from gan_zoo.models.gan.model import GAN, evaluating
from gan_zoo.models.gan.prior import SHOWN, Latents
from gan_zoo.terminal import silent
from gan_zoo.training.begin import begin, prepare
from gan_zoo.training.best import keep_best
from gan_zoo.training.build import is_out_of_memory
from gan_zoo.training.evaluation import Evaluation, MeasuresOf, open_measures
from gan_zoo.training.faults import Watch, last_good
from gan_zoo.training.fine_tuning import Source, start_at
from gan_zoo.training.interrupt import Interruption
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loggers.jsonlines import JSONLines
from gan_zoo.training.loggers.logger import Logger, open_trackers
from gan_zoo.training.penalties import check_norm
from gan_zoo.training.precision import as_started, pick_device, tuned
from gan_zoo.training.progress import Reporter
from gan_zoo.training.ranks import joined
from gan_zoo.training.run import Run, open_run
from gan_zoo.training.state import State


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and saved a checkpoint."""

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(f"stopped at step {step} and saved; resume with: gan-zoo train --resume --out {run.folder}")
        self.run = run


def train(
    config: Config,
    *,
    measures: MeasuresOf | None = None,
    out: Path | None = None,
    source: Source | None = None,
    resume: bool = False,
    new_data: bool = False,
    quiet: bool = False,
    notes: Sequence[str] = (),
) -> Run:
    """Train a model to its last step.

    Args:
        config: The resolved configuration.
        measures: Makes what `logging.evaluate_every` evaluates; training does not import the measures.
        out: The run folder; by default the next free `runs/MODEL-DATA-NNN`.
        source: The model at whose weights the run starts; by default at random ones.
        resume: Whether to resume the run in `out` from its newest undamaged checkpoint.
        new_data: Whether a resumed run may continue on data that differs from its own.
        quiet: Whether to print nothing.
        notes: Lines to print first.

    If `torchrun` started this process, it is one of several ranks, and all of them return the same run.

    Raises:
        InputError: If the configuration cannot be carried out; no folder is made then.
        TrainingError: If a loss is NaN or infinite, a file cannot be written, or another rank is gone.
        Interrupted: After SIGINT or SIGTERM, with a checkpoint saved.
    """
    if not resume:
        check_norm(config)
    with ExitStack() as stack:
        end_if_spawned()
        stack.enter_context(as_started())
        place = pick_device(config.training.device, "training.device =")
        ranks = stack.enter_context(joined(place, config.training.rank_timeout))
        with silent(quiet or not ranks.leads):
            existing = ranks.together(lambda: open_run(out) if resume and out else None)
            config, dataset, state = ranks.together(partial(prepare, config, ranks, existing, new_data=new_data))
            if source:
                notes = [*notes, *ranks.together(partial(start_at, state, source))]
            elif config.trunk.freeze_d and not existing:
                notes = [*notes, f"trunk.freeze_d = {config.trunk.freeze_d}: without --from, these layers stay random"]
            measured = ranks.together(lambda: open_measures(measures, config, dataset, state.model))
            if measured:
                config = measured.config
                ranks.together(measured.prepare if ranks.leads else lambda: None)
        ranks.check_same("the configuration or the data", f"{to_toml(config)}{state.data}")
        ranks.check_same("the model of --from", str(state.origin))
        config = config.model_copy(update={"data": with_absolute_path(config.data)})
        existed = out is not None and out.exists()
        run, resumed_notes = begin(config, out, existing, state, new_data=new_data, stack=stack)
        if ranks.leads:
            stack.enter_context(run.failing())
        quiet = quiet or not ranks.leads
        try:
            notes = [*notes, *resumed_notes, *(measured.notes if measured else ())]
            evaluation = Evaluation(measured, state, config)
            _loop(run, state, dataset, evaluation, notes, resumed=existing is not None, quiet=quiet)
        except InputError as error:  # of a streamed image
            if existing is None and not state.step and ranks.leads:
                shutil.rmtree(run.folder, ignore_errors=True)
                if out is None:
                    with suppress(OSError):  # the folder of runs has others
                        run.folder.parent.rmdir()
                if existed:
                    run.folder.mkdir(exist_ok=True)
            if ranks.world == 1:
                raise
            raise InputError(f"rank {ranks.rank}: {error}") from error
        except (OSError, RuntimeError) as error:
            if isinstance(error, TrainingError) or not (isinstance(error, OSError) or is_out_of_memory(error)):
                raise
            if not ranks.leads:
                raise TrainingError(f"rank {ranks.rank}: {run.folder}: {error}; continue with --resume") from error
            raise TrainingError(f"{run.folder}: {error}; {last_good(run)}; continue with --resume") from error
    return run


def _loop(
    run: Run,
    state: State,
    dataset: Dataset,
    evaluation: Evaluation,
    notes: Sequence[str],
    *,
    resumed: bool,
    quiet: bool,
) -> None:
    config, ranks = run.config, state.ranks
    settings, logging, steps = config.training, config.logging, config.training.steps
    watch, since = Watch(run, state), state.step
    with ExitStack() as stack:
        loggers: list[Logger] = []
        if ranks.leads:
            log = stack.enter_context(closing(JSONLines(run.metrics_file, state.step)))
            loggers = [log, *open_trackers(run.folder, config, state.step, stack)]
        reporter = stack.enter_context(Reporter(steps, state.step, quiet=quiet))
        interruption = stack.enter_context(Interruption())
        for note in (*dataset.notes, *notes, *state.model.notes()):
            reporter.say(note)
        if state.step >= steps:
            reporter.say(f"{run.folder} is complete: {state.step} steps; train on with a larger --steps")
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
            if resumed and ranks.leads:  # only now: a resume that fails before its first step leaves the run unchanged
                run.keep(state.data)
            resumed = False

            last = ranks.vote(interruption.asked) or done == steps
            evaluated = evaluation.due(done)
            with state.fixed():
                if last or evaluated or done % logging.log_every == 0 or done % logging.checkpoint_every == 0:
                    watch.losses(meter, reporter.say)  # waits for the device
                if last or evaluated or done % logging.log_every == 0:
                    speed = settings.batch_size * (done - since) / (time.perf_counter() - clock)
                    record = {"step": done, "images_per_second": round(speed, 1), **meter.means(), **watch.counts()}
                    record |= evaluation.measure() if evaluated else {}
                    for logger in loggers:
                        logger.log(record)
                    reporter.log(record)
                    meter.reset()
                if ranks.leads and (last or done % logging.sample_every == 0):
                    _picture(run, state, [*loggers, reporter])
                improved = evaluated and evaluation.improved
                if last or improved or done % logging.checkpoint_every == 0:
                    watch.weights()
                    _save(run, state, loggers, best=improved)
            if not meter:
                since, clock = done, time.perf_counter()  # the speed excludes evaluations, pictures and checkpoints
            if last:
                ranks.from_first([done])  # waits until rank 0 has saved: torchrun ends all ranks when one ends
            if last and done < steps:
                raise Interrupted(run, done)


def _save(run: Run, state: State, loggers: list[Logger], *, best: bool) -> None:
    """Save a checkpoint, which may be the best so far."""
    for logger in loggers:
        logger.flush()  # a checkpoint must not be ahead of the log
    if state.ranks.leads:
        logging = run.config.logging
        saved = state.save(run.checkpoints, keep=logging.keep, keep_every=logging.keep_every)
        if best:
            keep_best(saved)


@torch.no_grad()
def _picture(run: Run, state: State, loggers: Sequence[Logger | Reporter]) -> None:
    """Save and log samples of fixed latents; the first code, if any, varies over the columns."""
    model = state.model
    generator = state.sampler()
    latents, columns = preview_latents(model)
    with evaluating(generator):
        images = model.in_passes(generator, latents.input.to(model.device))
    picture = grid(images, columns)
    save_image(picture, run.samples / f"step-{state.step:08d}.png")
    for logger in loggers:
        logger.picture(picture, state.step)


def preview_latents(model: GAN) -> tuple[Latents, int]:
    """The latents of a run's pictures, and the number of columns."""
    if not model.codes:
        return model.prior.sample(64, seed=model.config.seed, stream=SHOWN), 8
    values = model.codes[0].traversal()[:20]
    return model.prior.traverse(model.codes[0], values, 8, seed=model.config.seed), len(values)
