"""Start a new run at another model's weights: what fits by name and shape is taken.

The generator and its moving average both start at the source's average. Its samples are the ones that made one choose
the source, exports contain nothing else, and Adam begins anew in any case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_zoo.config_text import listed
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import digest
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.infogan.q_head import QHead
from gan_zoo.resolve import networks_of
from gan_zoo.sources import Layer
from gan_zoo.training.exported import WEIGHTS
from gan_zoo.training.hub_download import written
from gan_zoo.training.origin import Origin
from gan_zoo.training.run import Run, find, find_step, is_checkpoint, is_export, load
from gan_zoo.training.state import State
from gan_zoo.trees import flat

NETWORKS = ("generator.", "discriminator.trunk.")
"""Beginnings of the names of weights, some of which a source must provide."""
CODES_OVER_NOISE = 3.0
"""Scale of the columns of new codes, over that of the trained columns of noise. With less, a trained generator leaves
continuous codes unused for hundreds of steps; see docs/finetune.md."""
CONDITIONED = ("generator.network.", "generator.")
"""How names of a conditioned generator's weights begin, and those of the same generator without labels."""
MOST_NAMED = 4
"""Names in a line of notes."""


@dataclass(frozen=True)
class Source:
    """The model at whose weights a run starts.

    Attributes:
        name: As the user wrote it.
        run: Its run.
        checkpoint: The folder of its weights.
    """

    name: str
    run: Run
    checkpoint: Path

    @property
    def networks(self) -> Layer:
        """The settings that its weights depend on."""
        return networks_of(self.run.config, f"from {self.name}")

    @property
    def is_here(self) -> bool:
        """Whether the weights are in the run's folder; those of the Hub and of the package are elsewhere."""
        return self.checkpoint.resolve().is_relative_to(self.run.folder.resolve())

    @property
    def origin(self) -> Origin:
        """The record for the new run."""
        named = self.checkpoint if is_checkpoint(Path(self.name)) else self.run.folder
        source = str(named.absolute()) if self.is_here else self.name
        return Origin(source, self.run.config.model, find_step(self.checkpoint), digest(self.checkpoint / WEIGHTS))


def open_source(source: Path | str, out: Path | None, *, resume: bool = False) -> Source:
    """The model at whose weights a run is to start.

    Args:
        source: As for `gan_zoo.training.run.find`.
        out: The folder of the new run; None is a new one in runs/.
        resume: Whether the user also asked to resume a run, which is refused.

    Raises:
        InputError: If there is no such model, or the new run would be in its folder.
    """
    name = written(source)
    if resume:
        raise InputError(
            f"--from {quoted(name)} starts a new run at the weights of another, and --resume continues the run in "
            "--out with its own; give one of them"
        )
    opened = Source(name, *find(Path(source).expanduser()))
    folder, new = opened.run.folder, out or Path("runs")
    if opened.is_here and new.resolve().is_relative_to(folder.resolve()):
        place = "the folder" if new.resolve() == folder.resolve() else "in the folder"
        other = "" if is_export(folder) else f", or continue that run: gan-zoo train --resume --out {folder}"
        raise InputError(
            f"{new} is {place} of the model of --from, which starts a new run: name another folder with --out{other}"
        )
    return opened


class Places(NamedTuple):
    """What the columns or rows of a tensor belong to: the noise, or a code of one kind."""

    dim: int
    slices: dict[str, slice]


@torch.no_grad()
def start_at(state: State, source: Source) -> list[str]:
    """Copy to a state at step 0 what fits of a source's weights.

    The generator's first layer and Q's last are taken by the columns or rows of the noise and of each code. Columns of
    new codes are random.

    Returns:
        Notes for the user: what is taken, and what is not.

    Raises:
        InputError: If nothing of the generator or the discriminator's trunk fits, or the source is damaged.
    """
    model = state.model
    other = load(source.checkpoint, device=model.device)
    weights, stored = _tensors(model), _tensors(other)
    places, stored_places = _places(model), _places(other)
    taken: dict[str, dict[str, int]] = {}  # numbers, by tensor and place
    for name in [name for name in weights if name in stored]:
        pieces = _fitting(weights[name], stored[name], places.get(name), stored_places.get(name))
        if "noise" in pieces and pieces["noise"][1].numel() and places[name].slices.keys() > {"noise"}:
            of_codes = weights[name][:, model.prior.noise :]
            of_codes *= CODES_OVER_NOISE * pieces["noise"][1].std() / of_codes.std()
        for mine, theirs in pieces.values():
            mine.copy_(theirs)
        taken[name] = {place: mine.numel() for place, (mine, _) in pieces.items()}
    if not any(taken.get(name) for name in weights if weights[name].ndim > 1 and name.startswith(NETWORKS)):
        raise InputError(_nothing_fits(source, model))
    if state.ema:
        state.ema.module.load_state_dict(model.generator.state_dict())
    state.origin = source.origin
    return _notes(model, source.name, state.origin, stored, (places, stored_places), taken)


def _nothing_fits(source: Source, model: GAN) -> str:
    ours, theirs = flat(networks_of(model.config, "").tree), flat(source.networks.tree)
    differ = {key: value for key, value in ours.items() if theirs.get(key, value) != value}
    why = f"{listed(differ, 'there', theirs)}; leave these settings to the source" if differ else "other trunks"
    return f"nothing of {quoted(source.name, 200)} fits this run's networks: {why}, or train without --from"


def _tensors(model: GAN) -> dict[str, Tensor]:
    """The weights and buffers of a model; a generator's have the same names whether it is conditioned or not."""
    return {name.replace(*CONDITIONED, 1): value for name, value in model.state_dict().items()}


def _places(model: GAN) -> dict[str, Places]:
    """The tensors whose columns or rows belong to the noise and to single codes."""
    places = {}
    codes = {f"{code.name} {code.spec}": code.width for code in model.codes if not code.conditions}
    for name, layer in model.named_modules():
        of_latents = isinstance(layer, nn.Linear) and layer.in_features == model.prior.width - model.prior.classes
        if of_latents and name.startswith("generator."):
            weight = f"{name}.weight".replace(*CONDITIONED, 1)
            places[weight] = Places(1, _slices({"noise": model.prior.noise} | codes))
            break
    if isinstance(q := getattr(model, "q", None), QHead):
        widths = [columns.stop - columns.start for columns in q.layout.columns]
        rows = {f"{code.name} {code.spec} {n}": n for code, n in zip(model.codes, widths, strict=True)}
        last = f"q.{len(q) - 1}"
        places |= {f"{last}.weight": Places(0, _slices(rows)), f"{last}.bias": Places(0, _slices(rows))}
        places["q.variances"] = Places(0, _slices(dict.fromkeys(rows, 1)))
    return places


def _slices(widths: Mapping[str, int]) -> dict[str, slice]:
    ends = accumulate(widths.values())
    return {key: slice(end - width, end) for (key, width), end in zip(widths.items(), ends, strict=True)}


def _fitting(
    mine: Tensor, theirs: Tensor, places: Places | None, their_places: Places | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Views of a tensor that have the shape of the source's, by place; the whole tensor has the place ""."""
    pairs = {"": (mine, theirs)}
    if places and their_places:
        dim, pairs = places.dim, {}
        for key in [key for key in places.slices if key in their_places.slices]:
            here, there = places.slices[key], their_places.slices[key]
            width = min(here.stop - here.start, there.stop - there.start)  # noise of another width
            pairs[key] = mine.narrow(dim, here.start, width), theirs.narrow(dim, there.start, width)
    return {key: pair for key, pair in pairs.items() if pair[0].shape == pair[1].shape}


def _notes(
    model: GAN,
    name: str,
    origin: Origin,
    stored: Mapping[str, Tensor],
    places: tuple[Mapping[str, Places], Mapping[str, Places]],
    taken: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """What was taken of a source's weights and what was not, in a few lines."""
    weights, parameters = _tensors(model), dict(model.named_parameters())
    count = sum(sum(taken.get(name.replace(*CONDITIONED, 1), {}).values()) for name in parameters)
    lines = [
        f"starting at {quoted(name, 200)} ({origin.model}, step {origin.step:,}): {count:,} of "
        f"{sum(p.numel() for p in parameters.values()):,} parameters are taken; optimizers and schedules begin anew"
    ]
    divided = defaultdict(list)
    for tensor in [one for one, pieces in taken.items() if pieces and one in places[0] and one in places[1]]:
        divided[_division(places[0][tensor].slices, places[1][tensor].slices)].append(tensor)
    lines += [f"{', '.join(names)}: {text}" for text, names in divided.items() if text]
    other_shape = [name for name, pieces in taken.items() if not pieces]
    missing = [name for name in weights if name not in stored]
    unused = [name for name in stored if name not in weights]
    if other_shape:
        lines.append(f"new, since they do not fit: {_listed(other_shape, weights, stored)}")
    if missing:
        lines.append(f"new, since the source has none: {_listed(missing, weights)}")
    if unused:
        lines.append(f"not used of the source: {_listed(unused, stored)}")
    return lines


def _division(ours: Mapping[str, slice], theirs: Mapping[str, slice]) -> str:
    """For what a tensor's columns or rows are taken, and for what not; empty if it is taken whole."""
    widths = {(part[place].stop - part[place].start) for part in (ours, theirs) for place in part if place == "noise"}
    noise = {"noise": f"{min(widths)} of {max(widths)} columns of noise"} if len(widths) > 1 else {}
    if ours.keys() == theirs.keys() and not noise:
        return ""
    new = dict(place.split()[:2] for place in ours if place not in theirs)  # kinds by the code's name
    unused = dict(place.split()[:2] for place in theirs if place not in ours)
    parts = {
        "taken for": [noise.get(place, place.split()[0]) for place in ours if place in theirs],
        "new for": [f"{c} (there {unused[c]})" if unused.get(c, kind) != kind else c for c, kind in new.items()],
        "without the source's": [code for code in unused if code not in new],
    }
    named = {what: ", ".join(names) for what, names in parts.items()}
    return ", ".join(f"{what} {names}" for what, names in named.items() if names)


def _listed(names: Collection[str], tensors: Mapping[str, Tensor], there: Mapping[str, Tensor] | None = None) -> str:
    """Names of tensors in a line, with their shapes here and there; a module's name stands for all its tensors."""
    items = []
    for group, count in _groups(names, tensors).items():
        shape = f" {[*tensors[group].shape]}" if group in tensors else f" ({count} tensors)"
        items.append(group + shape + (f" (there {[*there[group].shape]})" if there and group in there else ""))
    more = [f"and {len(items) - MOST_NAMED} more"] if len(items) > MOST_NAMED else []
    return ", ".join([*items[:MOST_NAMED], *more])


def _groups(names: Collection[str], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Names of tensors, or of the largest modules all of whose tensors are among them, with the number of tensors."""
    groups = {}
    for name in names:
        words = name.split(".")
        for depth in range(1, len(words) + 1):
            prefix = ".".join(words[:depth])
            inside = [other for other in tensors if f"{other}.".startswith(f"{prefix}.")]
            if all(other in names for other in inside):
                groups[prefix if inside[1:] else name] = len(inside)
                break
    return groups
