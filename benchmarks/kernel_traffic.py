"""Record every address that interpreted kernels access, to count bytes and to find accesses outside of tensors.

Triton's interpreter checks neither bounds nor double writes; the kernels' tests check both with this record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Addresses = npt.NDArray[np.int64]


class Traffic:
    """Addresses that kernels loaded and stored, one per element, and the total bytes."""

    def __init__(self) -> None:
        self.loads: list[Addresses] = []
        self.stores: list[Addresses] = []
        self.bytes_loaded = 0
        self.bytes_stored = 0

    def loaded(self, tensor: Tensor) -> Addresses:
        """Sorted offsets, in elements from the tensor's first one, of the loads from its storage."""
        return self._inside(self.loads, tensor)

    def stored(self, tensor: Tensor) -> Addresses:
        """Sorted offsets, in elements from the tensor's first one, of the stores into its storage."""
        return self._inside(self.stores, tensor)

    def strays(self, tensors: Sequence[Tensor]) -> int:
        """The number of accesses outside the storages of all these tensors."""
        every = _joined([*self.loads, *self.stores])
        inside = np.zeros(every.shape, dtype=bool)
        for tensor in tensors:
            inside |= _in_storage(every, tensor)
        return int((~inside).sum())

    @staticmethod
    def _inside(addresses: list[Addresses], tensor: Tensor) -> Addresses:
        every = _joined(addresses)
        offsets = every[_in_storage(every, tensor)] - tensor.data_ptr()
        return np.sort(offsets) // tensor.element_size()


def _joined(addresses: list[Addresses]) -> Addresses:
    return np.concatenate([*addresses, np.empty(0, np.int64)])


def _in_storage(addresses: Addresses, tensor: Tensor) -> npt.NDArray[np.bool_]:
    storage = tensor.untyped_storage()
    return (addresses >= storage.data_ptr()) & (addresses < storage.data_ptr() + storage.nbytes())


@contextlib.contextmanager
def recorded_traffic() -> Iterator[Traffic]:
    """Record what kernels access inside the block; they must run in Triton's interpreter."""
    from triton.runtime.interpreter import InterpreterBuilder

    traffic = Traffic()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def accessed(pointers: Any, mask: Any) -> tuple[Addresses, int]:
        every = np.asarray(pointers.data)[np.asarray(mask.data, dtype=bool)].ravel().astype(np.int64)
        return every, every.size * pointers.get_element_ty().primitive_bitwidth // 8

    def recording_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        addresses, size = accessed(pointers, mask)
        traffic.loads.append(addresses)
        traffic.bytes_loaded += size
        return load(self, pointers, mask, *rest)

    def recording_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        addresses, size = accessed(pointers, mask)
        traffic.stores.append(addresses)
        traffic.bytes_stored += size
        return store(self, pointers, value, mask, *rest)

    InterpreterBuilder.create_masked_load = recording_load
    InterpreterBuilder.create_masked_store = recording_store
    try:
        yield traffic
    finally:
        InterpreterBuilder.create_masked_load = load
        InterpreterBuilder.create_masked_store = store
