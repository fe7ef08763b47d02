"""These tests run the kernels: in Triton's interpreter if TRITON_INTERPRET=1 is set, else on a GPU.

`tests/kernels/test_interpreter.py` starts the interpreter in a process of its own; `pytest -m gpu` runs the
same tests on a device. Where there is neither, there is nothing to collect.
"""

import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[3]))  # for benchmarks.kernel_traffic

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"

if not INTERPRETING and not torch.cuda.is_available():
    collect_ignore_glob = ["test_*.py"]
else:
    from gan_zoo_kernels import fused

    for module in fused.__all__:  # whose operators exist once it is imported
        getattr(fused, module)
    settings.register_profile("kernels", max_examples=8 if INTERPRETING else 25, deadline=None, derandomize=True)
    settings.load_profile("kernels")


QUICK = 10
"""The interpreter is slow and runs one of so many cases of a test; `make test-all` runs all."""


def pytest_collection_modifyitems(items):
    cases = Counter()
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        if not INTERPRETING:
            item.add_marker(pytest.mark.gpu)
            continue
        cases[item.path, item.originalname] += 1
        if cases[item.path, item.originalname] % QUICK != 1:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def device():
    return torch.device("cpu" if INTERPRETING else "cuda")


@pytest.fixture
def interpreter():
    if not INTERPRETING:
        pytest.skip("looks into the interpreter")


@pytest.fixture(autouse=True, scope="session")
def a_fused_multiply_add_rounds_once():
    """The interpreter's rounds the product too, and `mathematics.exp` measures that rounding with it."""
    if not INTERPRETING:
        yield
        return
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def create_fma(self, x, y, z):
        exact = x.data.astype(np.float64) * y.data.astype(np.float64) + z.data.astype(np.float64)
        return TensorHandle(exact.astype(z.data.dtype), z.dtype.scalar)

    original, InterpreterBuilder.create_fma = InterpreterBuilder.create_fma, create_fma
    yield
    InterpreterBuilder.create_fma = original
