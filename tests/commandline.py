"""Call the command line in this process or a new one; small datasets to train on."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import numpy as np

from gan_zoo.cli import main

TINY = ("--batch-size", "4", "--trunk.width", "2", "--steps", "2", "--precision", "fp32", "--device", "cpu")


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


def zoo(*args: object, encoding: str | None = None) -> Ended:
    """`gan-zoo` with these arguments, in this process, on streams of any text or of one encoding."""
    out, err = (TextIOWrapper(BytesIO(), encoding) if encoding else StringIO() for _ in range(2))
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    for stream in (out, err):
        stream.seek(0)
    return Ended(code, out.read(), err.read())


def zoo_process(*args: object, python: tuple[str, ...] = (), cwd: Path | None = None, **variables: str) -> Ended:
    """Run `gan-zoo` with these arguments in a new process, with further environment variables.

    PYTHONPATH goes before this process's own.
    """
    if "PYTHONPATH" in variables:
        variables["PYTHONPATH"] = os.pathsep.join([variables["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, *python, "-m", "gan_zoo", *map(str, args)],
        env={**os.environ, **variables},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",  # the output may have another encoding
        timeout=300,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def pip_install(source: Path, site: Path) -> None:
    """Install the distribution in `source` into the folder `site`, offline, outside of this environment."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    ended = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", site, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def write_set(path: Path, *, resolution: int = 28, channels: int = 1, classes: int = 10, images: int = 24) -> Path:
    """An .npz file of random images [n, C, H, W] with labels."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, channels, resolution, resolution), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(images) % classes)
    return path
