from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from commandline import write_set
from PIL import Image

import gan_zoo
from gan_zoo.config import Data
from gan_zoo.data.dataset import open_dataset


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InfoGAN on the bundled digits, trained for a few large steps, so that images depend on the codes."""
    folder = tmp_path_factory.mktemp("explore") / "digits"
    gan_zoo.train(
        "infogan",
        config="mnist-5k",
        out=folder,
        quiet=True,
        device="cpu",
        precision="fp32",
        steps=12,
        batch_size=32,
        width=8,
        log_every=2,
        ema=0.0,
        generator_lr=0.02,
    )
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain GAN, which has no codes."""
    place = tmp_path_factory.mktemp("plain")
    data = write_set(place / "set.npz")
    gan_zoo.train("gan", out=place / "gan", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu")
    return place / "gan"


@pytest.fixture(scope="session")
def digit() -> bytes:
    """A digit that was held back, as a PNG file."""
    test = open_dataset(Data(name="mnist-5k")).test
    assert test is not None
    file = BytesIO()
    Image.fromarray(test.images[3][0].numpy()).save(file, "PNG")
    return file.getvalue()
