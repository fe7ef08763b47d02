"""Several ranks on this machine: processes that communicate through gloo on the loopback address."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from gan_zoo import cli

NEEDED = [
    "gan_zoo.training.loop",
    "gan_zoo.analysis.traverse",
    "gan_zoo.analysis.monitor",
    "torchmetrics.image.fid",
    "gan_zoo.models.infogan.model",
    "torch._dynamo",
    "torch.distributed",
    "ranks",
]
"""Modules that a rank imports, loaded once before the fork."""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def start(work: Callable[..., None], world: int, said: Path, *arguments: object) -> list[BaseProcess]:
    """`work(*arguments)` on each of `world` ranks, as torchrun starts them; what rank k says lies in `said/k.txt`."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(NEEDED)
    port = free_port()
    said.mkdir(exist_ok=True)
    ranks = [processes.Process(target=_rank, args=(work, k, world, port, said, arguments)) for k in range(world)]
    for process in ranks:
        process.start()
    return ranks


def _rank(work: Callable[..., None], rank: int, world: int, port: int, said: Path, arguments: Sequence[object]) -> None:
    os.dup2(os.open(said / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in told.items()}
    work(*arguments)


def command(words: list[str]) -> None:
    """The command line."""
    cli.main(words)


def ended(ranks: Sequence[BaseProcess], seconds: float = 120) -> list[int | None]:
    """The exit codes, once all have ended; one that does not end in time is killed."""
    deadline = time.monotonic() + seconds
    for process in ranks:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
    return [process.exitcode for process in ranks]
