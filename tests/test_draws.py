"""The random numbers of a step: their distribution, and that they depend on seed, step, row and stream only."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import Tensor

from gan_zoo import draws
from gan_zoo.draws import FIRST_STREAM, Draws
from gan_zoo.models.gan.prior import SHOWN, TRAINING

CERTAIN = 1e-4  # a test on a fixed seed fails where chance would do so once in ten thousand
KINDS: dict[str, Callable[[Draws, int], Tensor]] = {
    "uniform": lambda random, rows: random.uniform(rows, 3),
    "normal": lambda random, rows: random.normal(rows, 5),
    "mixed": lambda random, rows: torch.cat(random.mixed(rows, normals=3, uniforms=2), 1),
    "integers": lambda random, rows: random.integers(rows, 1000),
}
kinds = pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)


@kinds
def test_rows_are_the_same_in_one_batch_and_in_parts(draw: Callable[[Draws, int], Tensor]) -> None:
    parts = [draw(Draws(1, 2, first_row=row), 4) for row in (0, 4)]
    assert torch.equal(torch.cat(parts), draw(Draws(1, 2), 8))
    assert not torch.equal(*parts)


@kinds
def test_every_second_row_of_parts_is_that_of_the_batch(draw: Callable[[Draws, int], Tensor]) -> None:
    def drawn(first_row: int, rows: int) -> Tensor:
        random = Draws(1, 2, first_row=first_row)
        with random.every(2, rows):
            return draw(random, -(-rows // 2))

    assert torch.equal(torch.cat([drawn(0, 4), drawn(4, 4)]), drawn(0, 8))
    odd = torch.cat([drawn(0, 3), drawn(3, 3), drawn(6, 3)])
    assert len(odd.flatten(1).unique(dim=0) if odd.ndim > 1 else odd.unique()) == 6, "no row twice"


@kinds
def test_seeds_steps_and_calls_draw_other_numbers(draw: Callable[[Draws, int], Tensor]) -> None:
    random = Draws(1, 2)
    drawn = [draw(random, 8), draw(random, 8), draw(Draws(1, 3), 8), draw(Draws(2, 2), 8)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(drawn, 2))
    assert torch.equal(draw(Draws(1, 2), 8), drawn[0])


@kinds
def test_a_step_that_is_a_tensor_draws_what_the_number_draws(draw: Callable[[Draws, int], Tensor]) -> None:
    step = torch.tensor(7)
    random = Draws(1, step)
    assert torch.equal(draw(random, 8), draw(Draws(1, 7), 8))
    step += 1  # as a captured graph advances it
    assert torch.equal(draw(Draws(1, step), 8), draw(Draws(1, 8), 8))


def test_the_streams_are_not_the_latents() -> None:
    assert max(TRAINING, SHOWN) < FIRST_STREAM


def test_numbers_are_distributed_as_said() -> None:
    random = Draws(0, 0)
    assert kstest(random.uniform(5000, 4).flatten(), "uniform").pvalue > CERTAIN
    assert kstest(random.normal(5000, 4).flatten(), "norm").pvalue > CERTAIN
    normals, uniforms = random.mixed(5000, normals=3, uniforms=((-2.0, 1.0), (0.0, 1.0)))
    assert normals.shape == (5000, 3)
    assert kstest(normals.flatten(), "norm").pvalue > CERTAIN
    assert kstest(uniforms[:, 0], "uniform", (-2, 3)).pvalue > CERTAIN
    assert kstest(uniforms[:, 1], "uniform").pvalue > CERTAIN
    assert torch.cat([normals, uniforms], 1).T.corrcoef().fill_diagonal_(0).abs().max() < 0.06
    integers = random.integers(5000, 7)
    assert integers.dtype == torch.int64
    assert chisquare(torch.bincount(integers, minlength=7)).pvalue > CERTAIN
    assert len(torch.bincount(integers)) == 7


def test_one_value_is_no_choice_and_moves_the_draws_on_as_any() -> None:
    one, many = Draws(0, 0), Draws(0, 0)
    assert torch.equal(one.integers(3, 1), torch.zeros(3, dtype=torch.int64))
    many.integers(3, 5)
    assert torch.equal(one.uniform(3), many.uniform(3))


def test_a_compiled_step_draws_the_same_numbers_and_is_compiled_once() -> None:
    def draw_all(random: Draws) -> list[Tensor]:
        return [draw(random, 4) for draw in KINDS.values()]

    torch._dynamo.reset()
    graphs = []

    def count(module: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(module)
        return module

    compiled = torch.compile(draw_all, fullgraph=True, backend=count)
    for step in range(3):
        found, expected = compiled(Draws(1, torch.tensor(step))), draw_all(Draws(1, step))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(graphs) == 1


def test_what_marks_a_constant_for_the_compiler_is_what_torch_sets() -> None:
    """It is set without importing the compiler, which takes longer than any other import."""
    marked = torch.compiler.assume_constant_result(lambda: 0)
    assert vars(marked).items() <= vars(draws._layout_of).items()
    assert vars(marked)
