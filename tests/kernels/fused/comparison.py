"""What a kernel is allowed to be wrong by, and a record of the memory it touches."""

import contextlib

import numpy as np
import torch

ULPS = 4


def assert_as_good_as_torch(fused, plain, exact, scale=1.0):
    """|fused - exact| ≤ the largest |plain - exact| + 4 ulp of the value + 4 float32 ulp of `scale`.

    `plain` is torch in the same dtype and `exact` the float64 reference on the same inputs. `scale` is the
    size of the terms that were added to get the value. Infinities and NaN stand in the same places.
    """
    assert (fused.dtype, fused.shape) == (plain.dtype, plain.shape)
    if plain.numel() == 0:
        return
    out = torch.finfo(fused.dtype)
    finite = plain.isfinite()
    assert torch.equal(fused.isfinite(), finite)
    assert torch.equal(fused[~finite].double().nan_to_num(7.0), plain[~finite].double().nan_to_num(7.0))
    fused, plain, exact = (t.detach().double()[finite] for t in (fused, plain, exact))
    if fused.numel() == 0:
        return
    allowed = (plain - exact).abs().max() + ULPS * (
        out.eps * exact.abs() + torch.finfo(torch.float32).eps * scale + out.smallest_normal * out.eps
    )
    excess = (fused - exact).abs() - allowed
    assert excess.max() <= 0, (
        f"wrong by {(fused - exact).abs().max():.3e}, {excess.max():.3e} more than allowed"
    )


def value_and_gradients(function, inputs, upstream=None):
    """The function's value and its gradients in those inputs that require one."""
    value = function(*inputs)
    wanted = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    upstream = torch.ones_like(value) if upstream is None else upstream.to(value.dtype)
    return value.detach(), torch.autograd.grad(value, wanted, upstream)


def as_double(inputs):
    """Copies in float64 of the floating-point tensors."""
    return [
        t.detach().double().requires_grad_(t.requires_grad)
        if isinstance(t, torch.Tensor) and t.is_floating_point()
        else t
        for t in inputs
    ]


class Traffic:
    """The addresses that the interpreted kernels loaded and stored, an entry for each element."""

    def __init__(self):
        self.loads, self.stores = [], []

    def loaded(self, tensor):
        return self._inside(self.loads, tensor)

    def stored(self, tensor):
        return self._inside(self.stores, tensor)

    @staticmethod
    def _inside(addresses, tensor):
        """Sorted offsets, in elements from the tensor's first, of the accesses to its storage."""
        storage = tensor.untyped_storage()
        every = np.concatenate([*addresses, np.empty(0, np.uint64)]).astype(np.int64)
        low = storage.data_ptr()
        inside = every[(every >= low) & (every < low + storage.nbytes())]
        return np.sort(inside - tensor.data_ptr()) // tensor.element_size()

    def strays(self, tensors):
        """Accesses outside the storages of all these tensors."""
        every = np.concatenate([*self.loads, *self.stores, np.empty(0, np.uint64)]).astype(np.int64)
        known = np.zeros(every.shape, dtype=bool)
        for tensor in tensors:
            storage = tensor.untyped_storage()
            known |= (every >= storage.data_ptr()) & (every < storage.data_ptr() + storage.nbytes())
        return int((~known).sum())


@contextlib.contextmanager
def recorded_traffic(monkeypatch):
    """Record the memory accesses of kernels interpreted inside the block."""
    from triton.runtime.interpreter import InterpreterBuilder

    traffic = Traffic()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def recording_load(self, pointers, mask, *rest):
        traffic.loads.append(np.asarray(pointers.data)[np.asarray(mask.data, dtype=bool)].ravel())
        return load(self, pointers, mask, *rest)

    def recording_store(self, pointers, value, mask, *rest):
        traffic.stores.append(np.asarray(pointers.data)[np.asarray(mask.data, dtype=bool)].ravel())
        return store(self, pointers, value, mask, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(InterpreterBuilder, "create_masked_load", recording_load)
        patch.setattr(InterpreterBuilder, "create_masked_store", recording_store)
        yield traffic
