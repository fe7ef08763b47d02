"""Checkpoints: folders of safetensors and JSON that are written atomically and detect damage when read.

step-00000500/
    model.safetensors      every weight and buffer
    ema.safetensors        the generator's moving average, if there is one
    optimizer.safetensors  Adam's moments, as network/parameter/moment
    state.json             schema, model, step, gradient scaler, skipped steps, the data's fingerprint, best evaluation
    SHA256SUMS             of each file above, as `sha256sum --check` reads it
best/                      the same, a copy of the one with the best evaluation; see `gan_zoo.training.best`
"""

from __future__ import annotations

import json
import math
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
from gan_zoo.errors import InputError, TrainingError, quoted
from gan_zoo.files import atomic_folder, digest, remove_partial, utf8_name, write
from gan_zoo.training.compact import expand

SCHEMA = 2
SUMS = "SHA256SUMS"
BEST = "best"
"""The name of the checkpoint with the best evaluation."""
REQUIRED = ("model.safetensors", "optimizer.safetensors", "state.json")
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
MAX_STATE_BYTES = 2**20
"""state.json and SHA256SUMS may not be larger."""
_NAME = re.compile(r"step-(\d{8,18})")
_SUM = re.compile(r"([0-9a-f]{64})  ([a-z0-9][a-z0-9.]*)")


class LaterSchemaError(InputError):
    """An undamaged checkpoint of a newer release: it is neither skipped nor overwritten."""


def save(
    folder: Path,
    facts: dict[str, Any],
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    keep: int,
    keep_every: int = 0,
) -> Path:
    """Write `folder/step-NNNNNNNN` atomically, verify it, then delete older checkpoints.

    Args:
        folder: Where a run's checkpoints are.
        facts: The content of state.json, but for the schema.
        tensors: By file name, then by name.
        keep: How many of the newest to keep.
        keep_every: Also keep those whose step is a multiple of it; 0 disables this.

    Raises:
        OSError: If it cannot be written; existing checkpoints stay.
        TrainingError: If the disk returns other bytes than were written; existing checkpoints stay.
    """
    step = facts["step"]
    target = folder / name_of(step)
    remove_partial(folder)
    with atomic_folder(target) as partial:  # replaces a damaged checkpoint of the same step
        sums = {name: write(partial / name, to_safetensors(_on_cpu(t))) for name, t in tensors.items()}
        text = json.dumps({"schema": SCHEMA} | facts, indent=2)
        sums["state.json"] = write(partial / "state.json", text.encode() + b"\n")
        write(partial / SUMS, _sums_text(sums).encode())
    past = [(number, path) for path in checkpoints(folder) if (number := step_of(path) or 0) <= step]
    old = [path for number, path in past[:-keep] if not keep_every or number % keep_every]
    if old:
        verify_written(target)
    for path in old:
        shutil.rmtree(path)
    return target


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def verify_written(checkpoint: Path) -> None:
    """Read a checkpoint that was just written, with its checksums.

    Raises:
        TrainingError: If the disk returns other bytes than were written.
    """
    try:
        read_state(checkpoint)
    except InputError as error:
        raise TrainingError(f"the disk does not return what was written to it: {error}") from None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    steps = {path: step for path in folder.glob("step-*") if (step := step_of(path)) is not None and path.is_dir()}
    return sorted(steps, key=steps.__getitem__)


def name_of(step: int) -> str:
    """The name of the checkpoint of a step."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int | None:
    """The step in a checkpoint's name; None if it is not a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def _with_best(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; `best` is before the one of its step, or first if it is damaged."""
    steps: dict[Path, int] = {path: step_of(path) or 0 for path in checkpoints(folder)}
    if (best := folder / BEST).is_dir():
        try:
            steps[best] = read_facts(best)["step"]
        except InputError:
            steps[best] = -1
    return sorted(steps, key=lambda path: (steps[path], path != best))


def newest_whole(folder: Path, model: str | None = None, *, hashed: bool = True) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint, and what is wrong with newer ones.

    Args:
        folder: Where the checkpoints are.
        model: The model's name, if checkpoints of another are to be skipped.
        hashed: Whether to check the SHA-256 of tensors, or only the length of their files.

    Raises:
        InputError: If a newer release wrote the newest one.
    """
    complaints: list[str] = []
    for path in reversed(_with_best(folder)):
        try:
            state = read_state(path, hashed=hashed)
        except LaterSchemaError:
            raise
        except InputError as error:
            complaints.append(str(error))
            continue
        if model in (None, state["model"]):
            return path, complaints
        complaints.append(f"{path} is a checkpoint of model {quoted(state['model'])}, not {model}")
    return None, complaints


def read_state(checkpoint: Path, *, hashed: bool = True) -> dict[str, Any]:
    """The content of `state.json`, after every file of the checkpoint was checked.

    Args:
        checkpoint: The checkpoint.
        hashed: Whether to check the SHA-256 of tensors, or only the length of their files.

    Raises:
        InputError: If a file is missing or changed, or if a newer release wrote the checkpoint.
    """
    sums = _read_sums(checkpoint)
    for name, expected in sums.items():
        file = checkpoint / name
        if not file.is_file():
            raise InputError(f"{checkpoint} is damaged: {name} is missing")
        check_memory(file.stat().st_size, str(file))
        try:
            only_length = file.suffix == ".safetensors" and not hashed
            same = has_expected_length(file) if only_length else digest(file) == expected
        except OSError as error:
            raise InputError(f"{checkpoint} is damaged: {name} cannot be read: {error.strerror}") from None
        if not same:
            raise InputError(f"{checkpoint} is damaged: {name} has changed since it was written (SHA-256 differs)")
    state = read_facts(checkpoint)
    if state["schema"] > SCHEMA:
        raise LaterSchemaError(
            f"{checkpoint} has schema {state['schema']}, and this release reads {SCHEMA}; upgrade with "
            "pip install --upgrade gan-zoo"
        )
    if step_of(checkpoint) not in (None, state["step"]):
        raise InputError(f"{checkpoint} is damaged: state.json is of step {state['step']}")
    for name in REQUIRED:
        if name not in sums:
            raise InputError(f"{checkpoint} is damaged: {SUMS} does not list {name}")
    return state


def has_average(checkpoint: Path) -> bool:
    """Whether an undamaged checkpoint holds a moving average."""
    return (checkpoint / "ema.safetensors").is_file()


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """The content of a checkpoint's `state.json`.

    Raises:
        InputError: If it is missing or not as `save` writes it.
    """
    try:
        state = json.loads(_small_text(checkpoint / "state.json"))
        counts = state["step"], state.get("skipped", 0), state["schema"]
        if any(type(count) is not int or not 0 <= count < 2**63 for count in counts):
            raise TypeError
        if not isinstance(state["model"], str) or state["schema"] < SCHEMA:
            raise TypeError
        if (scaler := state.get("scaler")) and (
            scaler.keys() != SCALER or any(type(value) not in (int, float) for value in scaler.values())
        ):
            raise TypeError
        if (best := state.get("best")) is not None:
            measure, value, step = best["measure"], best["value"], best["step"]
            if not isinstance(measure, str) or type(value) is not float or not math.isfinite(value):
                raise TypeError
            if type(step) is not int or not 0 <= step <= state["step"]:
                raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{checkpoint} is damaged: state.json is missing or invalid") from None
    return dict(state)


def _read_sums(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file, by name."""
    file = checkpoint / SUMS
    if not checkpoint.exists():
        raise InputError(f"{checkpoint} does not exist")
    if not file.exists():
        raise InputError(f"{checkpoint} is damaged: {SUMS} is missing")
    try:
        text = _small_text(file)
        sums = {match[2]: match[1] for line in text.splitlines() if (match := _SUM.fullmatch(line))}
    except (OSError, ValueError):
        text, sums = "", {}
    if not sums or text != _sums_text(sums):
        raise InputError(f"{checkpoint} is damaged: {SUMS} has changed since it was written")
    return sums


def _sums_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _small_text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MAX_STATE_BYTES:
        raise ValueError
    return path.read_bytes().decode()  # read_text would translate line ends, and miss a change of them


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; see `gan_zoo.training.compact` for those of int8."""
    try:
        with utf8_name(path) as name:
            tensors = load_file(name)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable as safetensors: {error}") from None
    return expand(tensors, str(path))


def has_expected_length(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says; only the header is read."""
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt"):
            return True
    except SafetensorError:
        return False


@torch.no_grad()
def load_weights(module: nn.Module, path: Path, *, prefix: str = "") -> None:
    """Load the weights of `module` from those tensors of a file whose names start with `prefix`.

    Raises:
        InputError: Naming the first weight that is missing, unexpected or of another shape.
    """
    stored = {n.removeprefix(prefix): t for n, t in read_tensors(path).items() if n.startswith(prefix)}
    weights = module.state_dict()
    for name in sorted(weights.keys() ^ stored.keys()):
        raise InputError(f"{path}: {name} is {'missing' if name in weights else 'not part of this model'}")
    copy_same_shapes(weights, stored, str(path))


def copy_same_shapes(tensors: Mapping[str, Tensor], stored: Mapping[str, Tensor], where: str) -> None:
    """Copy to each of a model's `tensors` the one of its name in `stored`.

    Raises:
        InputError: If one has another shape; the message begins with `where`.
    """
    for name, tensor in tensors.items():
        if tensor.shape != stored[name].shape:
            raise InputError(
                f"{where}: {name} has shape {list(stored[name].shape)}, and the model needs {list(tensor.shape)}"
            )
        tensor.copy_(stored[name])
