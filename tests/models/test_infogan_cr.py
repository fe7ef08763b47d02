"""InfoGAN-CR: what a pair has in common, who learns from it, and what it costs; without the term it is InfoGAN."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from narrow import MIX, Game, one_line, weights
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor, nn

from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import parse_codes
from gan_zoo.models.gan.prior import Prior
from gan_zoo.models.infogan_cr.model import InfoGANCR, PairNetwork
from gan_zoo.models.infogan_cr.pairs import couple, part_gaussian, part_uniform
from gan_zoo.resolve import resolve

CODES = parse_codes(MIX)
CERTAIN = 1e-4  # a test on a fixed seed fails where chance would do so once in ten thousand


def infogan_cr(**settings: Any) -> tuple[Game, InfoGANCR]:
    game = Game("infogan-cr", **settings)
    assert isinstance(game.model, InfoGANCR)
    return game, game.model


def draws(codes: str, n: int) -> tuple[Tensor, Tensor]:
    prior = Prior(0, "normal", parse_codes(codes))
    return prior.sample(n, seed=1).codes, prior.sample(n, seed=2).codes


def coupled(codes: str, n: int, gap: float) -> tuple[Tensor, Tensor, Tensor]:
    parsed = parse_codes(codes)
    shared = torch.arange(n) % len(parsed)
    return *couple(*draws(codes, n), shared, parsed, gap=gap, random=Draws(0, 0)), shared


@pytest.mark.parametrize("gap", [0.0, 0.7, 1.9])
def test_a_pair_shares_the_code_that_is_told_and_no_other(gap: float) -> None:
    one, other, shared = coupled(MIX, 4000, gap)
    apart = (one - other).abs()
    for index, code in enumerate(CODES):
        held = shared == index
        assert (apart[held, index] == 0).all()
        assert (apart[~held, index] > 0).all()
        if not code.discrete:
            assert apart[~held, index].min() >= gap - 1e-6
            assert apart[~held, index].min() < gap + 0.1
        for values in (one[:, index], other[:, index]):
            [code.check(value) for value in set(values.tolist()) if code.discrete]
            assert code.kind != "uniform" or values.abs().max() <= 1


def test_a_shared_code_is_distributed_as_in_the_prior() -> None:
    one, _, shared = coupled("uniform:2, categorical:4", 30000, gap=1.9)
    assert kstest(one[shared == 0, 0], "uniform", (-1, 2)).pvalue > CERTAIN
    assert chisquare(torch.bincount(one[shared == 2, 2].long())).pvalue > CERTAIN


def test_without_a_gap_continuous_codes_are_drawn_independently() -> None:
    first, second = draws("uniform:1, gaussian:1", 1000)
    for part, index in ((part_uniform, 0), (part_gaussian, 1)):
        a, b = part(first[:, index], second[:, index], 0.0)
        assert torch.equal(a, first[:, index])
        assert torch.equal(b, second[:, index])


@pytest.mark.parametrize("gap", [0.5, 1.5])
@pytest.mark.parametrize(("kind", "part"), [("uniform", part_uniform), ("gaussian", part_gaussian)])
def test_a_gap_is_drawn_as_if_closer_pairs_were_thrown_away(kind: str, part: Any, gap: float) -> None:
    first, second = draws(f"{kind}:1", 20_000)
    a, b = part(first[:, 0], second[:, 0], gap)
    drawn, redrawn = (d[:, 0] for d in draws(f"{kind}:2", 300_000))
    far = (drawn - redrawn).abs() >= gap
    for found, expected in ((a, drawn), (b, redrawn), (a - b, drawn - redrawn), (a + b, drawn + redrawn)):
        assert ks_2samp(found, expected[far]).pvalue > CERTAIN


def test_a_categorical_code_that_is_not_shared_takes_each_other_value_alike() -> None:
    one, other, shared = coupled("uniform:1, categorical:4", 12000, gap=0.0)
    offset = (other - one)[shared == 0, 1].long() % 4
    counts = torch.bincount(offset, minlength=4)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > CERTAIN


def test_a_gap_far_out_stays_finite() -> None:
    a, b = part_gaussian(torch.tensor([6.6, 0.0]), torch.tensor([-6.6, 0.0]), 1.9)
    assert a.isfinite().all()
    assert b.isfinite().all()
    assert (a - b).abs().min() >= 1.9 - 1e-6


def test_the_images_of_a_pair_share_their_noise_and_every_code_is_shared_in_turn() -> None:
    game, model = infogan_cr(training__batch_size=32, infogan_cr__codes=MIX)
    seen: list[Tensor] = []
    model.generator.register_forward_hook(lambda _m, inputs, images: seen.extend([inputs[0], images]))
    told = Counter[int]()
    for step in range(4):
        pairs, shared = model.pairs(game.latents(step), game.draws(step))
        assert pairs.shape == (16, 2, 28, 28)
        inputs, images = seen[-2:]
        assert torch.equal(pairs, torch.cat(images.chunk(2), 1))
        one, other = inputs.chunk(2)
        noise = model.prior.noise
        assert torch.equal(one[:, :noise], other[:, :noise])
        assert len(one[:, :noise].unique(dim=0)) == 16
        start = noise
        for index, code in enumerate(model.codes):
            columns = slice(start, start + code.width)
            same = (one[:, columns] == other[:, columns]).all(1)
            assert torch.equal(same, shared == index)
            start += code.width
        counts = torch.bincount(shared, minlength=len(CODES))
        assert counts.min() == counts.max() == 2
        told[int(shared[0])] += 1
    assert len(told) > 1


def test_pairs_leave_the_generator_s_running_statistics_alone() -> None:
    game, model = infogan_cr()
    before = {name: value.clone() for name, value in model.generator.named_buffers()}
    pairs, _ = model.pairs(game.latents(), game.random)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in model.generator.named_buffers())
    assert pairs.requires_grad
    model.generator(game.latents().input)
    assert any(not torch.equal(value, before[name]) for name, value in model.generator.named_buffers())


def reached(model: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_in_the_discriminator_s_step_the_term_reaches_h_alone() -> None:
    game, model = infogan_cr()
    tensors = game.tensors()
    terms = model.discriminator_objective(tensors).terms
    terms["discriminator/contrast"].backward()
    assert reached(model) == {"h"}
    assert all(p.grad is not None for name, p in model.named_parameters() if name.startswith("h."))


def test_in_the_generator_s_step_the_term_reaches_the_generator_alone() -> None:
    game, model = infogan_cr()
    tensors = game.tensors()
    with game.state.optimizers["discriminator"].frozen():
        terms = model.generator_objective(tensors).terms
    terms["generator/contrast"].backward()
    assert reached(model) == {"generator"}
    assert all(p.grad is not None for p in model.generator.parameters())


@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_the_term_is_the_weighted_nll_of_the_shared_code(side: str) -> None:
    game, model = infogan_cr(infogan_cr__contrast=3.0)
    assert model.h is not None
    tensors = game.tensors()
    pairs, shared = model.pairs(tensors.latents, game.draws(5))
    logits = model.h(pairs)
    objective = (
        model.discriminator_objective(replace(tensors, random=game.draws(5)))
        if side == "discriminator"
        else model.generator_objective(replace(tensors, random=game.draws(5)))
    )
    nll = nn.functional.cross_entropy(logits, shared)
    torch.testing.assert_close(objective.terms[f"{side}/contrast"], 3 * nll)
    if side == "discriminator":
        torch.testing.assert_close(objective.metrics["contrast_nll"], nll.detach())
        assert objective.metrics["contrast_accuracy"] == (logits.argmax(1) == shared).float().mean()


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, {"generator": 3, "h": 2}),
        ({"infogan_cr__contrast": 0.0}, {"generator": 1}),
        ({"infogan_cr__contrast_after": 6}, {"generator": 1}),
        ({"infogan_cr__contrast_after": 5}, {"generator": 3, "h": 2}),
    ],
)
def test_pairs_are_made_where_the_term_counts_and_not_before(settings: Any, passes: dict[str, int]) -> None:
    game, model = infogan_cr(**settings)
    counts = Counter[str]()
    model.generator.register_forward_hook(lambda *_: counts.update(["generator"]))
    if model.h is not None:
        model.h.register_forward_hook(lambda *_: counts.update(["h"]))
    objectives = game.step(5)
    assert counts == passes
    assert any("discriminator/contrast" in objective.terms for objective in objectives) == ("h" in passes)


def test_without_the_term_it_is_infogan_bit_for_bit() -> None:
    (game, model), plain = infogan_cr(infogan_cr__contrast=0.0), Game("infogan")
    assert model.h is None
    for step in range(3):
        for found, expected in zip(game.step(step), plain.step(step), strict=True):
            assert found.terms.keys() == expected.terms.keys()
            assert found.metrics.keys() == expected.metrics.keys()
            assert all(torch.equal(value, expected.terms[name]) for name, value in found.terms.items())
    after = weights(plain.model)
    assert weights(model).keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in weights(model).items())


@pytest.mark.parametrize(("after", "steps"), [(8, 8), (7, 8)])
def test_a_run_that_ends_before_its_regulariser_sets_in_says_so(after: int, steps: int) -> None:
    _, model = infogan_cr(training__steps=steps, infogan_cr__contrast_after=after)
    expected = "infogan_cr.contrast_after = 8: the regulariser does not start in the 8 steps of the run"
    assert [expected in remark for remark in model.notes()] == ([True] if after >= steps else [])
    assert not infogan_cr(training__steps=2, infogan_cr__contrast=0.0, infogan_cr__contrast_after=9)[1].notes()


def test_the_gap_falls_to_nothing_when_it_is_said() -> None:
    _, model = infogan_cr(infogan_cr__contrast_gap=1.9, infogan_cr__contrast_gap_after=7)
    assert [model.gap(step) for step in (0, 6, 7, 99)] == [1.9, 1.9, 0, 0]
    assert infogan_cr(infogan_cr__contrast_gap=1.9)[1].gap(10**9) == 1.9


@pytest.mark.parametrize(
    ("settings", "alike"),
    [
        ({"infogan_cr__contrast": 0.0}, [range(9)]),
        ({}, [range(9)]),
        ({"infogan_cr__contrast_after": 5}, [range(5), range(5, 9)]),
        ({"infogan_cr__contrast_gap": 1.9, "infogan_cr__contrast_gap_after": 7}, [range(7), range(7, 9)]),
        (
            {
                "infogan_cr__contrast_after": 2,
                "infogan_cr__contrast_gap": 1.9,
                "infogan_cr__contrast_gap_after": 7,
            },
            [range(2), range(2, 7), range(7, 9)],
        ),
    ],
)
def test_a_phase_ends_where_the_regulariser_sets_in_and_where_the_gap_falls(settings: Any, alike: list[range]) -> None:
    _, model = infogan_cr(**settings)
    phases = [{model.phase(step) for step in steps} for steps in alike]
    assert all(len(phase) == 1 for phase in phases)
    assert len(set.union(*phases)) == len(alike)


@pytest.mark.parametrize("step", [3, 4])
def test_a_step_s_pairs_keep_the_gap_of_that_step(step: int) -> None:
    settings = {"infogan_cr__contrast_gap": 1.9, "infogan_cr__contrast_gap_after": 4}
    game, model = infogan_cr(training__batch_size=32, infogan_cr__codes="uniform:3", **settings)
    inputs: list[Tensor] = []
    model.generator.register_forward_hook(lambda _m, given, _: inputs.append(given[0]))
    game.step(step)
    of_pairs = inputs[1:]
    assert len(of_pairs) == 2
    for given in of_pairs:
        one, other = given[:, -3:].chunk(2)
        apart = (one - other).abs()
        assert (apart[apart > 0].min() >= 1.9 - 1e-6) == (step < 4)


@pytest.mark.parametrize(("batch", "accumulate"), [(4, 1), (5, 1), (8, 2)])
def test_small_batches_and_parts_have_pairs_too(batch: int, accumulate: int) -> None:
    settings = {"training__batch_size": batch, "training__accumulate": accumulate}
    game, _ = infogan_cr(trunk__name="infogan-mnist", **settings)
    for objective in game.step():
        assert all(term.isfinite() for term in objective.terms.values())


def test_parts_of_a_batch_make_the_pairs_of_the_whole() -> None:
    game, model = infogan_cr(training__batch_size=24, infogan_cr__codes=MIX)
    inputs: list[Tensor] = []
    model.generator.register_forward_hook(lambda _m, given, _: inputs.append(given[0]))

    def shared(rows: int, first_row: int) -> Tensor:
        return model.pairs(game.latents(3, n=rows, first_row=first_row), game.draws(3, first_row=first_row))[1]

    whole, parts = shared(24, 0), [shared(8, first_row) for first_row in (0, 8, 16)]
    assert torch.equal(torch.cat(parts), whole)
    for member in range(2):
        assert torch.equal(torch.cat([given.chunk(2)[member] for given in inputs[1:]]), inputs[0].chunk(2)[member])


def test_h_has_a_trunk_of_the_discriminator_s_design_of_its_own_width() -> None:
    _, model = infogan_cr(infogan_cr__contrast_width=6)
    assert isinstance(model.h, PairNetwork)
    first, own = next(model.h.trunk.parameters()), next(model.discriminator.trunk.parameters())
    assert first.shape == (6, 2, *own.shape[2:])
    assert own.shape[:2] == (4, 1)
    assert model.h.head.out_features == len(model.codes)


class Quarters(nn.Module):
    """A generator without weights that shows each of four codes as the brightness of a quarter of the image."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents[:, -4:].view(-1, 1, 2, 2).repeat_interleave(14, 2).repeat_interleave(14, 3)


def test_h_learns_to_tell_what_a_pair_has_in_common_where_it_shows() -> None:
    game, model = infogan_cr(training__batch_size=128, infogan_cr__codes="uniform:4", infogan_cr__contrast_gap=0.5)
    assert model.h is not None
    model.generator = Quarters()
    adam = torch.optim.Adam(model.h.parameters(), lr=5e-3)
    accuracies = []
    for step in range(60):
        pairs, shared = model.pairs(game.latents(step), game.draws(step))
        logits = model.h(pairs)
        adam.zero_grad()
        nn.functional.cross_entropy(logits, shared).backward()
        adam.step()
        accuracies.append(float((logits.argmax(1) == shared).float().mean()))
    assert sum(accuracies[:3]) / 3 < 0.5
    assert sum(accuracies[-10:]) / 10 > 0.8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"infogan_cr__codes": "uniform:1"}, ["infogan_cr.contrast = 2", "2 codes", "'uniform:1'"]),
        ({"training__batch_size": 3}, ["infogan_cr.contrast", "batch_size = 3", "4 images or more"]),
        ({"training__batch_size": 12, "training__accumulate": 4}, ["infogan_cr.contrast", "gives 3", "an even"]),
    ],
)
def test_what_has_no_pairs_is_refused_in_one_line(settings: Any, words: list[str]) -> None:
    norms = {"trunk__discriminator_norm": "none", "infogan_cr__head_norm": "none"}
    with pytest.raises(InputError) as error:
        infogan_cr(**settings, **norms)
    line = one_line(error)
    assert all(word in line for word in words)
    infogan_cr(infogan_cr__contrast=0.0, **settings, **norms)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"contrast_gap": 2.0}, ["infogan_cr.contrast_gap = 2.0", "less than 2"]),
        ({"contrast": -1.0}, ["infogan_cr.contrast = -1.0"]),
        ({"contrast_gap": 1.9, "contrast_gap_after": 5, "contrast_after": 5}, ["contrast_gap_after = 5", "never used"]),
    ],
)
def test_wrong_settings_are_refused_in_one_line(table: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        resolve("infogan-cr", {"infogan_cr": table})
    line = one_line(error)
    assert all(word in line for word in words)
