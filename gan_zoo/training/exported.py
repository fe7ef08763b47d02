"""The format of exported models, folders in the layout of the Hugging Face Hub.

config.json          the format's version, the step, the weights' SHA-256, the configuration, the data's licence
model.safetensors    every weight and buffer, with the generator's moving average as its weights; see `compact`
README.md            the model card; not read, like any other file
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from gan_zoo.config import Config
from gan_zoo.errors import InputError, quoted
from gan_zoo.files import digest, read_text
from gan_zoo.resolve import resolve
from gan_zoo.training.origin import Origin, from_record

FORMAT = 1
DESCRIPTION, WEIGHTS = "config.json", "model.safetensors"
MAX_DESCRIPTION_BYTES = 2**18
"""config.json may not be larger."""
LONGEST_LICENSE = 200


@dataclass(frozen=True)
class Description:
    """The content of config.json.

    Attributes:
        config: The resolved configuration, with the data's facts.
        step: Steps done when the weights were saved.
        sha256: Of model.safetensors.
        data_license: Origin and licence of the data, in words; empty if it was not stated.
        origin: The model at whose weights the training started, if any.
    """

    config: Config
    step: int
    sha256: str
    data_license: str = ""
    origin: Origin | None = None

    def to_json(self) -> str:
        """The text of config.json."""
        content = {
            "library_name": "gan-zoo",
            "format": FORMAT,
            "step": self.step,
            "sha256": {WEIGHTS: self.sha256},
            **({"data_license": self.data_license} if self.data_license else {}),
            **({"origin": asdict(self.origin)} if self.origin else {}),
            "config": self.config.model_dump(mode="json", exclude_none=True),
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_description(folder: Path) -> Description:
    """The checked content of config.json.

    Raises:
        InputError: If it is invalid, or if a newer release wrote it.
    """
    file = folder / DESCRIPTION
    content = _read(file)
    if content.get("library_name") != "gan-zoo" or "format" not in content:
        raise InputError(f"{file} does not describe a gan-zoo model; gan-zoo export writes one that does")
    if (version := content["format"]) != FORMAT:
        version = version if isinstance(version, int) and 0 <= version < 10**6 else "unknown"
        raise InputError(
            f"{file} has format {version}, and this release reads {FORMAT}; pip install --upgrade gan-zoo may help"
        )
    step, sums, tree = content.get("step"), content.get("sha256"), content.get("config")
    sha256 = sums.get(WEIGHTS) if isinstance(sums, dict) else None
    data_license = content.get("data_license", "")
    if type(step) is not int or not 0 <= step < 2**63 or not isinstance(sha256, str) or not isinstance(tree, dict):
        raise InputError(f"{file} is damaged: it must have a step, the SHA-256 of {WEIGHTS} and a table config")
    if not isinstance(data_license, str):
        raise InputError(f"{file} is damaged: data_license must be a text")
    try:
        config, origin = resolve(config=tree), from_record(content.get("origin"))
        return Description(config, step, sha256, quoted(data_license, LONGEST_LICENSE), origin)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def check_weights(folder: Path) -> None:
    """Check the SHA-256 of an exported model's weights.

    Raises:
        InputError: If it is missing or has changed.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise InputError(f"{folder} is damaged: {WEIGHTS} is missing")
    if digest(file) != read_description(folder).sha256:
        raise InputError(f"{folder} is damaged: {WEIGHTS} has changed since it was written (SHA-256 differs)")


def _read(file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(read_text(file, MAX_DESCRIPTION_BYTES), parse_constant=_refuse_constant)
        if not isinstance(parsed, dict):
            raise ValueError("it is not an object")
    except RecursionError:
        raise InputError(f"{file}: not readable as JSON: it is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not readable as JSON: {error}") from None
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
