"""A watch over operators that need a value on the host."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense,  # .item(), float(), bool(), .tolist()
    aten.is_nonzero,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
}


class Waits(TorchDispatchMode):
    """Notes the operators that need a value on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def waits(func: Any, args: Any) -> bool:
    """Whether an operator needs a value on the host."""
    masks = func.overloadpacket is aten.index and any(i is not None and i.dtype == torch.bool for i in args[1])
    return masks or func.overloadpacket in WAITING
