"""The list of private APIs that the package uses is complete, and each is there.

Look here first when a new release of torch or tyro breaks something; known to work are torch 2.13 and tyro 1.0.17.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "gan_zoo").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]


USED = {
    "torch._C._are_functorch_transforms_active": "kernels: no fused operator under vmap or grad transforms",
    "torch._C._autograd.DeviceType": "bench: the events of a profile that ran on the device",
    "torch._C._cuda_endAllocateToPool": "capture: end a failed capture's allocations, which torch 2.11 forgets",
    "torch._C._is_tracing": "kernels: no fused operator under torch.jit.trace",
    "torch._C._len_torch_dispatch_stack": "kernels: no direct call under a dispatch mode",
    "torch._foreach_add_": "one launch for a list of tensors, as in torch.optim",
    "torch._foreach_copy_": "the same",
    "torch._foreach_lerp_": "the same",
    "torch._foreach_mul_": "the same",
    "torch._functorch.config.patch": "retain a compiled graph for a second backward pass",
    "torch._fused_adam_": "bench: torch's fused Adam beside ours",
    "torch._fused_sgd_": "the moving average of the weights in one launch",
    "torch.autograd.forward_ad._current_level": "kernels: no fused operator under forward-mode differentiation",
    "torch.cuda._sleep": "bench: hold the device while launches queue up",
    "torch.nn.modules.batchnorm._BatchNorm": "the base class of every batch norm",
    "torch.nn.utils.parametrizations._SpectralNorm": "spectral norm with statistics per pass",
    "torch._subclasses.fake_tensor.DataDependentOutputException": "dry-run: know a step that reads values",
    "torch._subclasses.fake_tensor.DynamicOutputShapeException": "dry-run: know a step that reads values",
    "torch._subclasses.fake_tensor.FakeTensor": "dry-run: make a step without values",
    "torch._subclasses.fake_tensor.UnsupportedOperatorException": "dry-run: know a step that cannot be counted",
    "torch._subclasses.fake_tensor.FakeTensorMode": "dry-run: make a step without values",
    "torch.utils._python_dispatch.TorchDispatchMode": "dry-run: count what a step allocates",
    "torch.utils._pytree.tree_leaves": "the same",
    "torch.utils.data.DataLoader._iterator._shutdown_workers": "stop the workers of a stream at once",
    "torch.utils.data.DataLoader._iterator._workers": "the exit code of a worker that was killed",
    "tyro._errors.on_parse_error": "one-line messages instead of tyro's boxes; without it, tyro prints its boxes",
    "tyro._experimental_options": "no colours with NO_COLOR",
}
"""Each name, and what it is for."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used(tree: ast.AST) -> set[str]:
    """The private names that a module takes from torch or tyro, dotted as far as they are private or above."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("torch", "tyro"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Attribute) and ast.unparse(node).split(".")[0] in ("torch", "tyro"):
            names.add(ast.unparse(node))
    return {name for name in names if any(private(part) for part in name.split("."))}


def test_every_private_name_is_listed() -> None:
    names = {name for path in SOURCES for name in used(ast.parse(path.read_text(encoding="utf-8")))}
    assert {name for name in names if not any(name.startswith(one) or one.startswith(name) for one in USED)} == set()


def test_every_listed_name_is_there() -> None:
    for name in USED:
        if "DataLoader." in name:  # of an instance
            continue
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name
