"""`gan-zoo train`, whose flags are the keys of the configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from gan_zoo import registry
from gan_zoo.cli.parse import call
from gan_zoo.cli.types import at
from gan_zoo.errors import InputError, quoted

if TYPE_CHECKING:
    from gan_zoo.config import Config
    from gan_zoo.resolve import Resolved
    from gan_zoo.training.fine_tuning import Source
    from gan_zoo.training.run import Run


def train(args: list[str]) -> None:
    """Run `gan-zoo train`, with the keys of the named model's configuration as flags."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--config")
    peek.add_argument("--data", "--data.name")
    peek.add_argument("--out", type=Path)
    peek.add_argument("--from", dest="source", type=Path)
    peek.add_argument("--checkpoint")
    peek.add_argument("--resume", action="store_true")
    try:
        known, _ = peek.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise InputError(f"{error.argument_name} requires a value; see gan-zoo train --help") from None
    positional = bool(args) and not args[0].startswith("-")
    model = args[0] if positional else None
    if model in registry.presets().keys() - registry.models.entries.keys():
        raise InputError(f"{model} is a preset, not a model: gan-zoo train infogan --config {model}")
    if model:
        registry.models.check(model)
    helping = not {"-h", "--help"}.isdisjoint(args)
    if not (model or known.config or known.source or known.resume or helping):
        raise InputError(f"gan-zoo train requires a MODEL: {', '.join(registry.models.entries)}")

    from gan_zoo.resolve import trace
    from gan_zoo.trees import flat

    origin, networks, existing = None, None, None
    if known.checkpoint and not (known.source or helping):
        raise InputError("--checkpoint requires --from; a run resumes from its newest checkpoint")
    if known.source and not helping:
        from gan_zoo.training.fine_tuning import open_source

        origin = open_source(at(known.source, known.checkpoint), known.out, resume=known.resume)
        networks = origin.networks
        model = model or (None if known.config else origin.run.config.model)
    if known.resume and not helping:
        from gan_zoo.training.run import existing_run

        existing = existing_run(known.out)
        if not (existing or model or known.config):
            raise InputError(f"{known.out} holds no run to resume; name a model to start one there")
    if existing and known.config:
        print(f"gan-zoo: --config is ignored: {known.out} resumes with its own configuration", file=sys.stderr)
    source = existing.base_config(model) if existing else known.config
    named = {} if known.data is None else {"data.name": known.data}
    base = trace(model, source, named, networks).config
    given, options = call(train_command(base), args[1:] if positional else args, f"gan-zoo train {base.model}")
    before = flat(base.model_dump())
    changed = {key: value for key, value in flat(given).items() if value != before[key]}
    resolved = trace(model, source, named | changed, networks)
    if options.pop("dry_run"):
        _dry_run(resolved, origin, existing, new_data=options["new_data"])
    else:
        _train(resolved, **options | {"source": origin, "resume": existing is not None})


def train_command(config: Config | None) -> Callable[..., tuple[Mapping[str, Any], dict[str, Any]]]:
    """The command `train`, with the keys of `config` as flags and their values as defaults.

    It returns the values of the keys, and its other arguments by name.
    """

    def train(
        tree: Any = config,
        config: str | None = None,
        out: Path | None = None,
        from_: Annotated[Path | None, arg(name="from", metavar="RUN")] = None,
        checkpoint: Annotated[
            str | None, arg(metavar="best|STEP", help="A checkpoint of --from: best, or its step.")
        ] = None,
        resume: bool = False,
        new_data: bool = False,
        dry_run: bool = False,
    ) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Train a model and print the run folder and its pictures.

        Settings and defaults are those of the model in the line above; gan-zoo train MODEL --help shows another's.

        Args:
            tree: Keys of the configuration.
            config: A preset (see `gan-zoo configs`), a TOML file, or another model's name for its networks, loss and
                optimizer. Precedence: flags, then this, then the model's defaults. Defaults to the preset that fits
                the data. A resumed run keeps its own configuration.
            out: Run folder; defaults to the next free one in runs/.
            from_: Start a new run at the weights of a trained model: a run folder, one of its checkpoints, an exported
                model, the name of weights, or hf://org/name. The new run has its networks, unless a file or flags state
                others; what fits is taken, and what does not is named.
            resume: Resume the run in --out from its newest complete checkpoint.
            new_data: Allow a resumed run to continue on other data than it was trained on.
            dry_run: Print the resolved configuration with the origin of each value, the sizes of the networks and the
                memory of a step; write nothing. It ends with an error if the device has less memory than a step needs.

        Examples:
            gan-zoo train infogan                                       # the bundled digits
            gan-zoo train infogan --config celeba-64 --data ~/faces     # a folder of images
            gan-zoo train r3gan --batch-size 64 --seed 1                # any key of the configuration is a flag
            gan-zoo train infogan --from runs/gan-mnist-5k-001          # codes for a trained GAN
            gan-zoo train --resume --out runs/infogan-mnist-5k-001
        """
        return tree, {"out": out, "resume": resume, "new_data": new_data, "dry_run": dry_run}

    train.__annotations__["tree"] = Annotated[type(config), arg(name="")]
    return train


def _dry_run(resolved: Resolved, source: Source | None, existing: Run | None, *, new_data: bool) -> None:
    """Print the configuration that a training would use, and the sizes of its networks."""
    from gan_zoo.analysis.monitor import Monitor
    from gan_zoo.cli.console import console
    from gan_zoo.config_text import changes, to_toml
    from gan_zoo.training.begin import prepare
    from gan_zoo.training.evaluation import open_measures
    from gan_zoo.training.fine_tuning import start_at
    from gan_zoo.training.memory import check_step_memory, step_memory
    from gan_zoo.training.penalties import check_norm

    if not existing:
        check_norm(resolved.config)
    filled, dataset, state = prepare(resolved.config, existing=existing, new_data=new_data)
    if measures := open_measures(Monitor, filled, dataset, state.model):
        filled = measures.config
    determined = {change.partition(":")[0] for change in changes(resolved.config, filled)}
    origins = {key: "data" if key.startswith("data.") else "device" for key in determined}
    for note in [*resolved.notes, *(start_at(state, source) if source else [])]:
        console.print(f"# {quoted(note, 2000)}")
    console.print(to_toml(filled, {**resolved.origins, **origins}), end="")
    for name, module in state.model.named_children():
        console.print(f"# {name}: {sum(p.numel() for p in module.parameters()):,} parameters")
    needed = step_memory(filled)
    uncounted = "not counted, as a step of this model reads values of tensors or has operators of its own"
    console.print(f"# memory of a step: {needed or uncounted}")
    if needed:
        check_step_memory(needed, state.model.device)


def _train(resolved: Resolved, *, out: Path | None, source: Source | None, resume: bool, new_data: bool) -> None:
    """Train, and print the run folder and its pictures."""
    from gan_zoo.analysis.monitor import Monitor
    from gan_zoo.analysis.result_tables import kept_for
    from gan_zoo.analysis.traverse import write_traversals
    from gan_zoo.cli.console import console, printed_first
    from gan_zoo.training import loop
    from gan_zoo.training.best import recorded_best
    from gan_zoo.training.checkpoint import BEST
    from gan_zoo.training.ranks import global_rank

    run = loop.train(
        resolved.config,
        measures=Monitor,
        out=out,
        source=source,
        resume=resume,
        new_data=new_data,
        notes=resolved.notes,
    )
    if global_rank():
        return
    console.print(f"run: {run.folder}")
    if best := recorded_best(run.checkpoints):
        console.print(f"best: {run.checkpoints / BEST} (step {best.step:,}, {kept_for(best)})")
    model = run.load()
    with printed_first() as attempt:
        traversal = run.samples / "traversal.png"
        drawn = attempt(lambda: write_traversals(model, traversal)) if model.codes else None
        for name, probabilities in model.prior.probabilities().items():
            console.print(f"prior of {name}: {' '.join(f'{p:.3f}' for p in probabilities.tolist())}")
        for picture in sorted(run.samples.glob("step-*.png"))[-1:]:
            console.print(f"samples: {picture}")
        if drawn:
            console.print(f"traversal: {drawn}")
