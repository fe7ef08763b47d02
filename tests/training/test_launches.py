"""How many kernels a step launches, counted without a GPU: operations that compute something, and Triton launches.

One operation counts once, though some of torch's launch several kernels (Adam's, batch norm's), so a count does not
predict a profile. The test only ensures that it does not rise unnoticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from gan_zoo_kernels import dispatch
from gan_zoo_kernels.fused import launches as fused_launches
from gan_zoo_kernels.fused.launches import planned_launches
from narrow import narrow_config
from recorder import Operations

from gan_zoo.data.dataset import open_dataset
from gan_zoo.training.build import new_state
from gan_zoo.training.capture import Captured
from gan_zoo.training.iterations import Iterations

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


CEILINGS = {
    ("infogan-mnist", "gan"): 95,
    ("infogan-mnist", "infogan"): 107,
    ("infogan-mnist", "recipe"): 139,
    ("infogan-mnist", "infogan-cr"): 319,
    ("dcgan", "gan"): 84,
    ("dcgan", "infogan"): 96,
    ("dcgan", "recipe"): 128,
    ("dcgan", "infogan-cr"): 290,
}
"""The current counts. A change that lowers a count should lower its ceiling."""


@pytest.fixture(scope="module")
def counted() -> Iterator[dict[tuple[str, str], Counter[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        yield {(trunk, case): launches(case, trunk, patch) for trunk, case in CEILINGS}


@pytest.mark.parametrize(("trunk", "case"), CEILINGS)
def test_a_step_launches_no_more_than_it_did(trunk: str, case: str, counted: Any) -> None:
    found = counted[trunk, case]
    assert found.total() <= CEILINGS[trunk, case], found.most_common()
    assert found["sample_latents_kernel"] >= 1  # the fused path was taken


@pytest.mark.parametrize("trunk", ["infogan-mnist", "dcgan"])
def test_the_information_term_adds_at_most_sixteen_launches_to_the_plain_gan_s(trunk: str, counted: Any) -> None:
    added = counted[trunk, "infogan"] - counted[trunk, "gan"]
    assert counted[trunk, "infogan"].total() - counted[trunk, "gan"].total() <= 16, added


def test_a_large_weight_is_updated_and_cast_in_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two linear layers of 6.4 M weights; two more launches count both networks' steps."""
    found = launches("gan", "infogan-mnist", monkeypatch, trunk__width=64)
    assert found["adam_kernel"] == 2
    assert found.total() <= CEILINGS["infogan-mnist", "gan"] + 4


def test_a_whole_warp_and_the_consistency_term_are_launches_of_their_own(counted: Any) -> None:
    recipe = counted["infogan-mnist", "recipe"]
    kernels = ("random_warp_kernel", "consistency_forward_kernel", "consistency_backward_kernel")
    assert [recipe[name] for name in kernels] == [1, 1, 1]
