"""Checkpoints: folders of safetensors and JSON that appear whole or not at all, and say when they are damaged.

step-00000500/
    model.safetensors      every weight and buffer
    ema.safetensors        the generator's moving average, if there is one
    optimizer.safetensors  Adam's moments, as player/parameter/moment
    state.json             schema, step, gradient scaler, and the SHA-256 of each file above
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.training.ema import EMA
from gan_zoo.training.player import Player
from gan_zoo.training.precision import Precision

SCHEMA = 1
_NAME = re.compile(r"step-(\d{8,})")


class State:
    """All that a run carries from one step to the next."""

    def __init__(self, model: GAN, ema: EMA | None, players: dict[str, Player], precision: Precision) -> None:
        self.model = model
        self.ema = ema
        self.players = players
        self.precision = precision
        self.step = 0  # steps done

    def save(self, folder: Path, *, keep: int) -> Path:
        """Write `folder/step-NNNNNNNN`, whole or not at all, then drop all but the newest `keep`.

        The files are written and synced beside their place, and the folder is renamed last.
        """
        target = folder / f"step-{self.step:08d}"
        beside = folder / f".{target.name}.{os.getpid()}"
        for left in folder.glob(".step-*"):  # by a process that ended while it wrote
            shutil.rmtree(left, ignore_errors=True)
        beside.mkdir(parents=True)
        files = {"model.safetensors": self.model.state_dict(), "optimizer.safetensors": self._moments()}
        if self.ema:
            files["ema.safetensors"] = self.ema.module.state_dict()
        for name, tensors in files.items():
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, beside / name)
        state = {
            "schema": SCHEMA,
            "model": self.model.config.model,
            "step": self.step,
            "scaler": self.precision.scaler.state_dict(),
            "sha256": {name: _digest(beside / name) for name in sorted(files)},
        }
        (beside / "state.json").write_text(json.dumps(state, indent=2) + "\n")
        for path in beside.iterdir():
            _sync(path)
        _sync(beside)
        if target.exists():  # written before an interruption, whole: the same step of the same run
            shutil.rmtree(target)
        beside.rename(target)
        _sync(folder)
        past = [path for path in checkpoints(folder) if (step_of(path) or 0) <= self.step]
        for old in past[:-keep]:
            shutil.rmtree(old)
        return target

    def load(self, checkpoint: Path) -> None:
        """Go back to a checkpoint.

        Raises:
            InputError: If it is damaged, or is of another model, schema or shape than this state.
        """
        state = read_state(checkpoint)
        if state["model"] != self.model.config.model:
            raise InputError(f"{checkpoint} is of model {state['model']}, not {self.model.config.model}")
        load_weights(self.model, checkpoint / "model.safetensors")
        if self.ema:
            averaged = "ema.safetensors" in state["sha256"]
            file = checkpoint / ("ema.safetensors" if averaged else "model.safetensors")
            load_weights(self.ema.module, file, prefix="" if averaged else "generator.")
        self._load_moments(read_tensors(checkpoint / "optimizer.safetensors"), checkpoint)
        if state.get("scaler") and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{player_name}/{parameter_name}/{moment}": value
            for player_name, player in self.players.items()
            for parameter_name, parameter in player.parameters.items()
            for moment, value in player.optimizer.state[parameter].items()
        }

    def _load_moments(self, moments: Mapping[str, Tensor], checkpoint: Path) -> None:
        file, known = checkpoint / "optimizer.safetensors", set()
        for player_name, player in self.players.items():
            state = {}
            for index, name in enumerate(player.parameters):
                prefix = f"{player_name}/{name}/"
                state[index] = {key.removeprefix(prefix): t for key, t in moments.items() if key.startswith(prefix)}
                parameter = player.parameters[name].detach()
                for moment, value in state[index].items():
                    if value.ndim and value.shape != parameter.shape:
                        raise InputError(f"{file}: {name} is not of shape {list(parameter.shape)}")
                    if value.ndim:  # Adam walks through a parameter and its moments in one order
                        state[index][moment] = torch.empty_like(parameter, device=value.device).copy_(value)
                known |= {prefix + moment for moment in state[index]}
            held = {index: own for index, own in state.items() if own}
            if held and len(held) < len(state):  # none at all: a player that has not moved yet
                raise InputError(f"{file}: moments of the {player_name} are missing")
            groups = player.optimizer.state_dict()["param_groups"]
            player.optimizer.load_state_dict({"state": held, "param_groups": groups})
        for name in moments.keys() - known:
            raise InputError(f"{file}: {name} is not part of this model")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    steps = {path: step for path in folder.glob("step-*") if (step := step_of(path)) is not None and path.is_dir()}
    return sorted(steps, key=steps.__getitem__)


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's name; none if it is not named like one."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint, and what is wrong with newer ones."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            read_state(path)
        except InputError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    return None, complaints


def read_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's `state.json`, once every file is found to be as it was written.

    Raises:
        InputError: If anything is missing or differs.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        schema, digests = state["schema"], dict(state["sha256"])
        if not isinstance(state["step"], int) or not isinstance(state["model"], str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{checkpoint} is no whole checkpoint: state.json is missing or damaged") from None
    if schema != SCHEMA:
        raise InputError(f"{checkpoint} has schema {schema!r}; this release reads {SCHEMA}")
    for name, digest in {"model.safetensors": "", "optimizer.safetensors": "", **digests}.items():
        path = checkpoint / name
        if Path(name).name != name or not path.is_file() or _digest(path) != digest:
            raise InputError(f"{checkpoint} is damaged: {name} is missing or not as it was written")
    return dict(state)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable as safetensors: {error}") from None


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
