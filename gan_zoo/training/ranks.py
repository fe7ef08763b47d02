"""The processes that train one model together, each on its part of every batch.

`torchrun` starts them and tells each its rank. What a step draws is a function of (seed, step, row), rows being counted
over all ranks, so that a run means the same on any number of them; gradients and metrics are means over the ranks. Only
rank 0 writes. Tensors are all that is exchanged: torch's collectives for Python objects would unpickle them.
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

from gan_zoo.errors import InputError, TrainingError, reason

T = TypeVar("T")

GONE = re.compile(r"connection|socket|broken pipe|time[d -]*out|remote (process|error)|ncclRemoteError", re.IGNORECASE)
"""What gloo and NCCL say where another process has ended, or does not answer; they raise it as a plain RuntimeError."""


class Ranks:
    """This process among `world` of them. One that is alone exchanges nothing.

    Args:
        rank: Its number, from 0.
        world: How many there are.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world
        self._vote: tuple[Tensor, dist.Work] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and tells."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over the ranks in the place of each tensor, in one exchange.

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
        """The mean of all ranks' tensors, differentiable as often as asked: its gradient is the mean of theirs."""
        if self.world == 1:
            return tensor
        mean: Tensor = _Mean.apply(tensor, self)  # type: ignore[no-untyped-call]
        return mean

    def least(self, tensor: Tensor) -> Tensor:
        """The least of all ranks' values, elementwise."""
        if self.world > 1:
            tensor = tensor.clone()
            with self._reaching():
                dist.all_reduce(tensor, op=dist.ReduceOp.MIN)
        return tensor

    def from_first(self, numbers: Sequence[int]) -> list[int]:
        """Rank 0's numbers, of which every rank names as many."""
        if self.world == 1:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.int64)
        with self._reaching():
            dist.broadcast(told, 0)
        return told.tolist()

    def text_from_first(self, text: str) -> str:
        """Rank 0's text."""
        content = text.encode(errors="surrogateescape")  # of a path, whose names may be any bytes
        (length,) = self.from_first([len(content)])
        letters = list(content) if self.leads else [0] * length
        return bytes(self.from_first(letters)).decode(errors="surrogateescape") if length else ""

    def together(self, work: Callable[[], T]) -> T:
        """What `work` gives; where rank 0 is refused, all ranks are, in its words.

        Raises:
            InputError: Rank 0's, on every rank; or this rank's own, which then names the rank.
        """
        result, refusal = None, None
        try:
            result = work()
        except InputError as error:
            if self.world == 1:
                raise
            refusal = error
        if told := self.text_from_first(str(refusal or "")):
            raise InputError(told) from refusal
        if refusal:
            raise InputError(f"rank {self.rank}: {refusal}") from refusal
        return cast(T, result)

    def check_same(self, what: str, facts: str) -> None:
        """Refuse to go on with facts that are not rank 0's.

        Raises:
            InputError: If they are not.
        """
        mine = [int.from_bytes(blake2b(facts.encode(), digest_size=7).digest())]
        if self.from_first(mine) != mine:
            raise InputError(f"rank {self.rank}: {what} is not that of rank 0")

    def vote(self, mine: bool) -> bool:
        """Cast a vote, and learn whether any rank said yes at the vote before; alone, the vote itself.

        The answers travel while the next step is computed, so that nobody waits for them, and all ranks come to know
        them at the same step.
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
        """Take in the answer that is still on its way."""
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
            told = "another rank is gone or does not answer" if gone else reason(error)
            raise TrainingError(f"rank {self.rank} of {self.world}: {told}; go on with --resume") from error


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
    """The ranks of this training, by what `torchrun` says in the environment; `ALONE` where it says nothing.

    Args:
        device: Where this rank computes.
        timeout: Seconds that a rank waits for the others before it gives up.

    Raises:
        InputError: If the environment is not understood.
        TrainingError: If the others do not come.
    """
    if dist.is_initialized():  # by the program that calls this one
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        yield ranks
        ranks.close()
        return
    if _told("WORLD_SIZE", 1) == 1:
        yield ALONE
        return
    ranks = Ranks(_told("RANK", 0), _told("WORLD_SIZE", 1))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        with ranks._reaching():
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    except ValueError as error:
        raise InputError(f"the environment is not torchrun's: {next(iter(str(error).splitlines()), '')}") from None
    try:
        yield ranks
        ranks.close()
    except BaseException:
        if backend == "gloo":  # NCCL would wait for an exchange that nobody ends: the process's end is its end
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def local_rank() -> int:
    """The number of this process on its machine."""
    return _told("LOCAL_RANK", 0)


def global_rank() -> int:
    """The number of this process among all."""
    return _told("RANK", 0)


def _told(name: str, otherwise: int) -> int:
    said = os.environ.get(name, str(otherwise))
    if not said.isdigit():
        raise InputError(f"the environment variable {name} is {said!r}; torchrun sets it to a number")
    return int(said)
