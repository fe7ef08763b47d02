"""The processes (ranks) that train one model together, each on some rows of every batch.

`torchrun` starts them and sets their ranks. Random numbers are functions of (seed, step, row), with rows counted over
all ranks, so a run is the same on any number of them; gradients and metrics are means over the ranks. Only rank 0
writes. Ranks exchange tensors only: torch's collectives for Python objects unpickle what they receive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from gan_zoo.errors import InputError, TrainingError, first_line

T = TypeVar("T")

GONE = re.compile(r"connection|socket|broken pipe|time[d -]*out|remote (process|error)|ncclRemoteError", re.IGNORECASE)
"""In the messages of gloo and NCCL when another process has ended or does not answer; both raise RuntimeError."""


class Ranks:
    """This process among `world` processes; a single one exchanges nothing.

    Args:
        rank: Its number, from 0.
        world: The number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world
        self._vote: tuple[Tensor, dist.Work] | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in one exchange.

        Raises:
            TrainingError: If another rank is gone, or does not answer within the timeout.
        """
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._reaching():
            dist.all_reduce(flat)
        flat /= self.world
        means = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [m.view(t.shape) for m, t in zip(means, tensors, strict=True)])

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of all ranks' tensors, differentiable to any order: its gradient is the mean of theirs."""
        if self.world == 1:
            return tensor
        mean: Tensor = _Mean.apply(tensor, self)  # type: ignore[no-untyped-call]
        return mean

    def minimum(self, tensor: Tensor) -> Tensor:
        """The minimum over the ranks, elementwise."""
        if self.world > 1:
            tensor = tensor.clone()
            with self._reaching():
                dist.all_reduce(tensor, op=dist.ReduceOp.MIN)
        return tensor

    def from_first(self, numbers: Sequence[int]) -> list[int]:
        """Rank 0's numbers; every rank must pass as many."""
        if self.world == 1:
            return list(numbers)
        received = torch.tensor(numbers, dtype=torch.int64)
        with self._reaching():
            dist.broadcast(received, 0)
        return received.tolist()

    def text_from_first(self, text: str) -> str:
        """Rank 0's text."""
        content = text.encode(errors="surrogateescape")  # a path may contain any bytes
        (length,) = self.from_first([len(content)])
        letters = list(content) if self.leads else [0] * length
        return bytes(self.from_first(letters)).decode(errors="surrogateescape") if length else ""

    def together(self, work: Callable[[], T]) -> T:
        """The result of `work`; an InputError on rank 0 is raised on all ranks.

        Raises:
            InputError: Rank 0's, on every rank; or this rank's, prefixed by the rank.
        """
        if self.world == 1:
            return work()
        result, failure = None, None
        try:
            result = work()
        except InputError as error:
            failure = error
        if message := self.text_from_first(str(failure or "")):
            raise InputError(message) from failure
        if failure:
            raise InputError(f"rank {self.rank}: {failure}") from failure
        return cast(T, result)

    def check_same(self, what: str, facts: str) -> None:
        """Check that all ranks have the same facts.

        Raises:
            InputError: If this rank's differ from rank 0's.
        """
        mine = [int.from_bytes(blake2b(facts.encode(), digest_size=7).digest())]
        if self.from_first(mine) != mine:
            raise InputError(f"rank {self.rank}: {what} differs from rank 0's")

    def vote(self, mine: bool) -> bool:
        """Cast a vote; returns whether any rank voted yes the time before. A single process gets its own vote.

        Votes are exchanged while the next step is computed, so no rank waits for them, and all ranks get the result at
        the same step.
        """
        if self.world == 1:
            return mine
        before = self._vote
        ballot = torch.tensor([int(mine)])
        with self._reaching():
            if before:
                before[1].wait()
            self._vote = ballot, dist.all_reduce(ballot, op=dist.ReduceOp.MAX, async_op=True)
        return bool(before and before[0].item())

    def close(self) -> None:
        """Wait for a vote that is still being exchanged."""
        if self._vote:
            with self._reaching():
                self._vote[1].wait()
            self._vote = None

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            gone = isinstance(error, dist.DistNetworkError | dist.DistStoreError) or GONE.search(str(error))
            cause = "another rank has ended or does not answer" if gone else first_line(error)
            raise TrainingError(f"rank {self.rank} of {self.world}: {cause}; continue with --resume") from error


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        mean = tensor.clone(memory_format=torch.contiguous_format)
        ranks.average([mean])
        return mean

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.mean(gradients[0]), None


ALONE = Ranks()


@contextmanager
def joined(device: torch.device, timeout: float) -> Iterator[Ranks]:
    """Join the ranks that `torchrun` set in the environment; `ALONE` without torchrun.

    Args:
        device: Where this rank computes.
        timeout: Seconds to wait for the other ranks.

    Raises:
        InputError: If the environment variables are invalid.
        TrainingError: If the other ranks do not join.
    """
    if dist.is_initialized():  # by the calling program
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        yield ranks
        ranks.close()
        return
    if _from_environment("WORLD_SIZE", 1) == 1:
        yield ALONE
        return
    ranks = Ranks(_from_environment("RANK", 0), _from_environment("WORLD_SIZE", 1))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        with ranks._reaching():
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    except ValueError as error:
        raise InputError(
            f"torchrun's environment variables are incomplete: {next(iter(str(error).splitlines()), '')}"
        ) from None
    try:
        yield ranks
        ranks.close()
    except BaseException:
        if backend == "gloo":  # NCCL would wait for an exchange that never ends; it ends with the process
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def local_rank() -> int:
    """The number of this process on its machine."""
    return _from_environment("LOCAL_RANK", 0)


def global_rank() -> int:
    """The number of this process among all."""
    return _from_environment("RANK", 0)


def _from_environment(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdigit():
        raise InputError(f"the environment variable {name} must be a number, as torchrun sets it, not {value!r}")
    return int(value)
