"""What `gan-zoo new model NAME` writes: a distribution with a model, its entry point and its test."""

from __future__ import annotations

import re
from keyword import iskeyword
from pathlib import Path

from gan_zoo.config import Config, table_name
from gan_zoo.errors import InputError
from gan_zoo.files import write_text
from gan_zoo.registry import models

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "gan-zoo-{name}"
version = "0.1.0"
description = "The model {name} for gan-zoo."
requires-python = ">=3.11"
dependencies = ["gan-zoo"]

[project.entry-points."gan_zoo.models"]
{name} = "{package}.model:Model"

[tool.hatch.build.targets.wheel]
only-include = ["{package}"]
"""

MODEL = '''\
"""The model {name}."""

from __future__ import annotations

import torch
from gan_zoo.config import Config, Settings, Weight
from gan_zoo.models.gan.model import GAN, Objective, StepTensors


class ModelSettings(Settings):
    """The keys of the model's own table; each is a flag, e.g. --{name}.weight."""

    weight: Weight = 0.1
    """Weight of the mean squared logit."""


class Model(GAN):
    """What it is (authors, year, arXiv number)."""

    defaults = {{"trunk": {{"name": "dcgan"}}}}
    settings = ModelSettings

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.weight = self.model_settings(config).weight

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The GAN's objective and a term; replace it by your own.

        Draw random numbers only from `step.random`: `step.random.uniform(n)` is [n, 1], uniform in [0, 1). A model
        whose objective reads `step.latents.step` must override `phase`.
        """
        objective = super().discriminator_objective(step)
        logits = torch.cat([step.real.logits, step.fake.logits]).float()
        objective.terms["discriminator/own"] = self.weight * logits.square().mean()
        return objective
'''

TEST = '''\
"""The model {name} is found by its name and trains."""

from pathlib import Path

import gan_zoo


def test_it_trains(tmp_path: Path) -> None:
    run = gan_zoo.train("{name}", out=tmp_path / "run", steps=2, batch_size=4, width=4, log_every=1, device="cpu")
    assert [line["step"] for line in run.metrics()] == [1, 2]
    assert all(line["discriminator/own"] > 0 for line in run.metrics())
    assert gan_zoo.load(run.folder).sample(3).shape == (3, 1, 28, 28)
'''

README = """\
# {name}

A model for gan-zoo.

    pip install --editable {folder}
    gan-zoo train {name} --steps 20
    pytest {folder}
"""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_model(name: str, parent: Path) -> Path:
    """Write a distribution with the model `name` into `parent`/gan_zoo_NAME.

    Returns:
        The folder.

    Raises:
        InputError: If the name is no word of a flag or is taken, or the folder is there already.
    """
    if not NAME.fullmatch(name) or len(name) > 40:
        raise InputError(
            f"new model {name[:60]!r}: a name is lower-case letters and digits in words with hyphens between them, "
            "a letter first, 40 characters at most, as in my-gan"
        )
    if name in models.entries:
        raise InputError(f"new model {name!r}: {models.entries[name].origin} has a model of that name")
    table = table_name(name)
    if iskeyword(table) or table in Config.model_fields:
        what = "a word of Python" if iskeyword(table) else "a key of every tree"
        raise InputError(f"new model {name!r}: that is {what}; choose another name")
    package = f"gan_zoo_{table}"
    folder = parent / package
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} is there already; choose another name, or another place by --out")
    words = {
        "name": name,
        "package": package,
        "folder": str(folder),
    }
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"{package}/__init__.py": '"""The model {name} for gan-zoo."""\n',
        f"{package}/model.py": MODEL,
        f"tests/test_{table}.py": TEST,
    }
    for path, content in files.items():
        write_text(content.format(**words), folder / path)
    return folder
