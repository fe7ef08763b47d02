"""These tests run the kernels: in Triton's interpreter where TRITON_INTERPRET=1 is set, else on a GPU.

`tests/kernels/test_interpreter.py` starts the interpreter in a process of its own; `pytest -m gpu` runs the
same tests on a device. Where there is neither, there is nothing to collect.
"""

import os
from pathlib import Path

import pytest
import torch

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"

if not INTERPRETING and not torch.cuda.is_available():
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and not INTERPRETING:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device():
    return torch.device("cpu" if INTERPRETING else "cuda")


@pytest.fixture
def interpreter():
    if not INTERPRETING:
        pytest.skip("looks into the interpreter")
