"""How many kernels a step launches, counted without a GPU: operations that compute something, and Triton launches.

One operation counts once, though some of torch's take several kernels (Adam's, batch norm's): a count is no forecast of
a profile. It is a sum that may not rise unnoticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from gan_zoo_kernels import dispatch
from gan_zoo_kernels.fused import launches as fused_launches
from gan_zoo_kernels.fused.launches import planned_launches
from narrow import narrow_config
from recorder import Operations

from gan_zoo.data.dataset import open_dataset
from gan_zoo.training.capture import Captured
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loop import new_state

CODES = "categorical:10, uniform:2"
WARP = "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2, elastic:0.04"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gan": ("gan", {"latent__noise": 74}),
    "infogan": ("infogan", {"infogan__codes": CODES}),
    "recipe": ("infogan", {"infogan__codes": CODES, "infogan__consistency": 1.0, "data__warp": WARP}),
    "infogan-cr": ("infogan-cr", {"infogan_cr__codes": CODES}),
}
ALLOCATIONS = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided"}


class Planned(NamedTuple):
    """A launch without its arguments: autograd copies a gradient that somebody else holds."""

    kernel: Any

    @classmethod
    def of(cls, kernel: Any, *rest: Any) -> Planned:
        return cls(kernel)


class Count:
    """Records nothing, and counts what would be."""

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()

    def warm(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        with Operations() as operations, planned_launches(32) as planned:
            run()
        self.launches.update(
            n for n in operations.names if n not in ALLOCATIONS and not n.startswith("gan_zoo_kernels::")
        )
        self.launches.update(launch.kernel.__name__ for launch in planned)
        return lambda: None


def launches(case: str, trunk: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Counter[str]:
    """Of a step in bf16, on narrow networks of the same layers."""
    monkeypatch.setenv(dispatch.ENVIRONMENT_VARIABLE, "triton")
    monkeypatch.setattr(dispatch, "interpreting", lambda: True)  # else nothing is fused on a CPU
    monkeypatch.setattr(fused_launches, "Launch", Planned.of)
    model, own = CASES[case]
    norms = {"trunk__generator_norm": "batch", "trunk__discriminator_norm": "batch"}
    config = narrow_config(model, trunk__name=trunk, training__precision="bf16", **{**norms, **own, **settings})
    count = Count()
    with planned_launches(32):
        iterations = Iterations(new_state(config, torch.device("cpu")), open_dataset(config.data).train)
        iterations.read_rates_on_device()
        iterations.captured = Captured(iterations.state, count, pytest.fail)
        while not count.launches:
            next(iterations)
    return count.launches


if __name__ == "__main__":
    for trunk in ("infogan-mnist", "dcgan"):
        for case in CASES:
            with pytest.MonkeyPatch.context() as patch:
                found = launches(case, trunk, patch)
            print(trunk, case, found.total())
            if trunk == "infogan-mnist":
                print(dict(found.most_common()))
