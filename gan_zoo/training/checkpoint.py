"""Checkpoints: folders of safetensors and JSON that appear whole or not at all, and say when they are damaged.

step-00000500/
    model.safetensors      every weight and buffer
    ema.safetensors        the generator's moving average, if there is one
    optimizer.safetensors  Adam's moments, as player/parameter/moment
    state.json             schema, model, step, gradient scaler, steps left out, the data's fingerprint
    SHA256SUMS             of each file above, as `sha256sum --check` reads it

In schema 1 the sums stood in state.json, which had none of its own.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from gan_zoo.data.bounds import check_memory
from gan_zoo.data.fingerprint import Fingerprint
from gan_zoo.errors import InputError, TrainingError, shown
from gan_zoo.files import atomic_folder, digest, remove_partial, utf8_name, write
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.ema import EMA
from gan_zoo.training.network_optimizer import NetworkOptimizer
from gan_zoo.training.precision import Precision
from gan_zoo.training.ranks import ALONE, Ranks

SCHEMA = 2
SUMS = "SHA256SUMS"
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
MOST_STATE = 2**20
"""Bytes of JSON and of sums beyond which a file is no checkpoint's."""
_NAME = re.compile(r"step-(\d{8,18})")
_SUM = re.compile(r"([0-9a-f]{64})  ([a-z0-9][a-z0-9.]*)")


class LaterSchemaError(InputError):
    """A whole checkpoint that only a newer release can read: it is neither passed over nor written over."""


class State:
    """All that a run carries from one step to the next."""

    def __init__(
        self,
        model: GAN,
        ema: EMA | None,
        players: dict[str, NetworkOptimizer],
        precision: Precision,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.ema = ema
        self.optimizers = players
        self.precision = precision
        self.ranks = ranks
        self.data = Fingerprint({}, 0, (), {})  # of what is learned from, once that is opened
        self.step = 0  # steps done
        self.skipped = torch.zeros((), dtype=torch.int64, device=model.device)  # of them, left out

    def save(self, folder: Path, *, keep: int, keep_every: int = 0) -> Path:
        """Write `folder/step-NNNNNNNN`, whole or not at all; once it can be read back, older ones are dropped.

        Args:
            folder: Where a run's checkpoints lie.
            keep: How many of the newest stay.
            keep_every: Those whose step is a multiple of it stay as well; 0 is none.

        Raises:
            OSError: If it cannot be written; what was there before stays.
            TrainingError: If the disk gives other bytes than were written; what was there before stays.
        """
        target = folder / name_of(self.step)
        remove_partial(folder)
        with atomic_folder(target) as beside:  # one of this name was passed over as damaged, and an older one read
            sums = {name: write(beside / name, to_safetensors(_held(t))) for name, t in self.tensors().items()}
            sums["state.json"] = write(beside / "state.json", json.dumps(self._facts(), indent=2).encode() + b"\n")
            write(beside / SUMS, _sums_text(sums).encode())
        past = [path for path in checkpoints(folder) if (step_of(path) or 0) <= self.step]
        old = [path for path in past[:-keep] if not keep_every or (step_of(path) or 0) % keep_every]
        if old:
            _read_back(target)
        for path in old:
            shutil.rmtree(path)
        return target

    def load(self, checkpoint: Path) -> None:
        """Go back to a checkpoint.

        Raises:
            InputError: If it is damaged, or is of another model, schema or shape than this state.
        """
        state = read_state(checkpoint)
        if state["model"] != self.model.config.model:
            raise InputError(f"{checkpoint} is of model {shown(state['model'])}, not {self.model.config.model}")
        load_weights(self.model, checkpoint / "model.safetensors")
        if self.ema:
            averaged = has_average(checkpoint)
            file = checkpoint / ("ema.safetensors" if averaged else "model.safetensors")
            load_weights(self.ema.module, file, prefix="" if averaged else "generator.")
        self._load_moments(read_tensors(checkpoint / "optimizer.safetensors"), checkpoint)
        if state.get("scaler") and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.skipped.fill_(state.get("skipped", 0))

    def _facts(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.model.config.model,
            "step": self.step,
            "skipped": int(self.skipped),
            "scaler": self.precision.scaler.state_dict(),
            **({"data": self.data.record} if self.data.images else {}),
        }

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """What is kept, by the name of its file."""
        files = {"model.safetensors": self.model.state_dict(), "optimizer.safetensors": self._moments()}
        return files | ({"ema.safetensors": self.ema.module.state_dict()} if self.ema else {})

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{player_name}/{parameter_name}/{moment}": value
            for player_name, player in self.optimizers.items()
            for parameter_name, parameter in player.parameters.items()
            for moment, value in player.adam.state[parameter].items()
        }

    def _load_moments(self, moments: Mapping[str, Tensor], checkpoint: Path) -> None:
        file, known = checkpoint / "optimizer.safetensors", set()
        for player_name, player in self.optimizers.items():
            for name, parameter in player.parameters.items():
                prefix, held = f"{player_name}/{name}/", player.adam.state[parameter]
                found = {key.removeprefix(prefix): t for key, t in moments.items() if key.startswith(prefix)}
                if found and found.keys() != held.keys():
                    raise InputError(f"{file}: the moments of {name} are not {', '.join(sorted(held))}")
                for moment, own in held.items():
                    value = found.get(moment, torch.zeros(()))  # none yet: earlier releases made them when first used
                    if found and value.shape != own.shape:
                        raise InputError(f"{file}: {name} is not of shape {list(parameter.shape)}")
                    own.copy_(value)
                known |= {prefix + moment for moment in found}
        for name in moments.keys() - known:
            raise InputError(f"{file}: {name} is not part of this model")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    steps = {path: step for path in folder.glob("step-*") if (step := step_of(path)) is not None and path.is_dir()}
    return sorted(steps, key=steps.__getitem__)


def name_of(step: int) -> str:
    """The name of the checkpoint of a step."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's name; none if it is not named like one."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def newest_whole(folder: Path, model: str | None = None, *, hashed: bool = True) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint, and what is wrong with newer ones.

    Args:
        folder: Where checkpoints lie.
        model: Whose they have to be, if it is known.
        hashed: Whether every byte is looked at, or files of tensors by their length alone.

    Raises:
        InputError: If a newer release wrote the newest one.
    """
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            state = read_state(path, hashed=hashed)
        except LaterSchemaError:
            raise
        except InputError as error:
            complaints.append(str(error))
            continue
        if model in (None, state["model"]):
            return path, complaints
        complaints.append(f"{path} is of model {shown(state['model'])}, not {model}")
    return None, complaints


def read_state(checkpoint: Path, *, hashed: bool = True) -> dict[str, Any]:
    """What a checkpoint's `state.json` says, once every file is found to be as it was written.

    Args:
        checkpoint: The checkpoint.
        hashed: Whether every byte is looked at, or files of tensors by their length alone.

    Raises:
        InputError: If anything is missing or differs, or if a newer release wrote it.
    """
    sums = _read_sums(checkpoint)
    for name, expected in sums.items():
        file = checkpoint / name
        if not file.is_file():
            raise InputError(f"{checkpoint} is damaged: {name} is missing")
        check_memory(file.stat().st_size, str(file))
        try:
            tensors = file.suffix == ".safetensors"
            same = has_its_length(file) if tensors and not hashed else digest(file) == expected
        except OSError as error:
            raise InputError(f"{checkpoint} is damaged: {name} cannot be read: {error.strerror}") from None
        if not same:
            raise InputError(f"{checkpoint} is damaged: {name} is not as it was written (SHA-256)")
    state = read_facts(checkpoint)
    if state["schema"] > SCHEMA:
        told = f"{checkpoint} has schema {state['schema']}; this release reads 1 to {SCHEMA}"
        raise LaterSchemaError(f"{told}: a newer one is needed, pip install --upgrade gan-zoo")
    if step_of(checkpoint) not in (None, state["step"]):
        raise InputError(f"{checkpoint} is damaged: it holds step {state['step']}")
    needed = {"model.safetensors", "optimizer.safetensors", *(["state.json"] if state["schema"] > 1 else [])}
    for name in sorted(needed - sums.keys()):
        raise InputError(f"{checkpoint} is damaged: {SUMS} does not name {name}")
    return state


def _read_back(checkpoint: Path) -> None:
    try:
        read_state(checkpoint)
    except InputError as error:
        raise TrainingError(f"the disk does not keep what is written: {error}") from None


def has_average(checkpoint: Path) -> bool:
    """Whether a whole checkpoint holds a moving average."""
    return (checkpoint / "ema.safetensors").is_file()


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint's `state.json` says.

    Raises:
        InputError: If it is not there, or not as one is written.
    """
    try:
        state = json.loads(_small_text(checkpoint / "state.json"))
        counts = state["step"], state.get("skipped", 0), state["schema"]
        if any(type(count) is not int or not 0 <= count < 2**63 for count in counts):
            raise TypeError
        if not isinstance(state["model"], str) or not state["schema"]:
            raise TypeError
        if (scaler := state.get("scaler")) and (
            scaler.keys() != SCALER or any(type(value) not in (int, float) for value in scaler.values())
        ):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{checkpoint} is no whole checkpoint: state.json is missing or damaged") from None
    return dict(state)


def _read_sums(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file, by name."""
    file = checkpoint / SUMS
    if not file.exists():
        state = read_facts(checkpoint)
        told = state.get("sha256")
        if state["schema"] == 1 and isinstance(told, dict) and all(_SUM.fullmatch(f"{told[n]}  {n}") for n in told):
            return told
        raise InputError(f"{checkpoint} is damaged: {SUMS} is missing")
    try:
        text = _small_text(file)
        sums = {match[2]: match[1] for line in text.splitlines() if (match := _SUM.fullmatch(line))}
    except (OSError, ValueError):
        text, sums = "", {}
    if not sums or text != _sums_text(sums):
        raise InputError(f"{checkpoint} is damaged: {SUMS} is not as it was written")
    return sums


def _sums_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _small_text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MOST_STATE:
        raise ValueError
    return path.read_bytes().decode()  # as it stands: reading text would take one line end for another


def _held(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        with utf8_name(path) as name:
            return load_file(name)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable as safetensors: {error}") from None


def has_its_length(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says, which is all that is read."""
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt"):
            return True
    except SafetensorError:
        return False


@torch.no_grad()
def load_weights(module: nn.Module, path: Path, *, prefix: str = "") -> None:
    """Fill `module` from a file, whose names start with `prefix`; every weight must be there, of the right shape.

    Raises:
        InputError: Naming the first weight that is missing, left over or of another shape.
    """
    stored = {n.removeprefix(prefix): t for n, t in read_tensors(path).items() if n.startswith(prefix)}
    own = module.state_dict()
    for name in sorted(own.keys() ^ stored.keys()):
        raise InputError(f"{path}: {name} is {'missing' if name in own else 'not part of this model'}")
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            raise InputError(f"{path}: {name} is {list(stored[name].shape)}, and the model's {list(tensor.shape)}")
        tensor.copy_(stored[name])
