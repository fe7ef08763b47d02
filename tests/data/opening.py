"""Datasets by their path, opened or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.errors import InputError


def opened(folder: Path, **settings: Any) -> Dataset:
    return open_dataset(Data(**{"name": str(folder), **settings}))


def refused(folder: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
