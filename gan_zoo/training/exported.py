"""An exported model: a folder in the layout of the Hugging Face Hub, and how it is read.

config.json          the format's version, the step, the weights' SHA-256 and the resolved tree
model.safetensors    every weight and buffer, the generator's moving average in place of its weights
README.md            the model card; it and what else lies there is not read
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gan_zoo.config import Config
from gan_zoo.errors import InputError
from gan_zoo.files import decode_text, digest
from gan_zoo.resolve import resolve

FORMAT = 1
DESCRIPTION, WEIGHTS = "config.json", "model.safetensors"
LONGEST = 2**18
"""Bytes of JSON beyond which a file is no description of a model."""


@dataclass(frozen=True)
class Description:
    """What config.json says.

    Attributes:
        config: The resolved tree, with the data's facts.
        step: After how many steps the weights were taken.
        sha256: Of model.safetensors.
    """

    config: Config
    step: int
    sha256: str

    def to_json(self) -> str:
        """The text of config.json."""
        told = {
            "library_name": "gan-zoo",
            "format": FORMAT,
            "step": self.step,
            "sha256": {WEIGHTS: self.sha256},
            "config": self.config.model_dump(mode="json", exclude_none=True),
        }
        return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def is_exported(folder: Path) -> bool:
    """Whether a folder looks like an exported model."""
    return (folder / DESCRIPTION).is_file()


def read_description(folder: Path) -> Description:
    """The checked content of config.json.

    Raises:
        InputError: If it is not as an export writes it, or a newer release wrote it.
    """
    file = folder / DESCRIPTION
    told = _read(file)
    if told.get("library_name") != "gan-zoo" or "format" not in told:
        raise InputError(f"{file} does not describe a model of gan-zoo; `gan-zoo export` writes one that does")
    if told["format"] != FORMAT:
        format_told = told["format"] if isinstance(told["format"], int) and 0 <= told["format"] < 10**6 else "unknown"
        raise InputError(
            f"{file} has format {format_told}; this release reads {FORMAT}: pip install --upgrade gan-zoo may help"
        )
    step, sums, tree = told.get("step"), told.get("sha256"), told.get("config")
    sha256 = sums.get(WEIGHTS) if isinstance(sums, dict) else None
    if type(step) is not int or not 0 <= step < 2**63 or not isinstance(sha256, str) or not isinstance(tree, dict):
        raise InputError(f"{file} is damaged: a step, the SHA-256 of {WEIGHTS} and a table `config` are needed")
    try:
        return Description(resolve(config=tree), step, sha256)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def check_weights(folder: Path, description: Description) -> Path:
    """The file of weights, once it is found to be the one that was described.

    Raises:
        InputError: If it is missing or another.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise InputError(f"{folder} is no whole export: {WEIGHTS} is missing")
    if digest(file) != description.sha256:
        raise InputError(f"{folder} is damaged: {WEIGHTS} is not as it was written (SHA-256)")
    return file


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST:,} bytes")
        told = json.loads(decode_text(content), parse_constant=_no_number)
        if not isinstance(told, dict):
            raise ValueError("it is no table")
    except RecursionError:
        raise InputError(f"{file}: not readable as JSON: too many brackets within each other") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not readable as JSON: {error}") from None
    return told


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
