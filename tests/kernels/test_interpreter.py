"""Run the tests of the kernels in Triton's interpreter.

A process of its own: the interpreter is chosen when triton is imported, and nothing can be compiled there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUSED = Path(__file__).parent / "fused"

pytest.importorskip("triton")


def run(marker, folder=FUSED):
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "GAN_ZOO_KERNELS": "auto",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marker, str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
    return result.stdout


def test_kernels_interpreted():
    run("not slow")


@pytest.mark.slow
def test_kernels_interpreted_at_every_size():
    run("slow")
