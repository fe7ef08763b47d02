"""The consistency term: its values in closed form, what it pulls on, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from gan_zoo_kernels import Layout
from narrow import Game, one_line, weights
from torch.distributions import Categorical

from gan_zoo.errors import InputError
from gan_zoo.models.infogan.consistency import consistency
from gan_zoo.models.infogan.model import InfoGAN

TEN = Layout("categorical:10")
MIXED = Layout("gaussian:2|categorical:4|bernoulli:1x2|categorical:3|gaussian:1")
CATEGORICAL = (slice(2, 6), slice(8, 11))
SURE = 60.0
"""Logits that leave no doubt in float32."""


def sure(values: list[int], classes: int = 10) -> torch.Tensor:
    return SURE * torch.nn.functional.one_hot(torch.tensor(values), classes).float()


def parameters(layout: Layout, n: int = 7, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(n, layout.width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(
    ("images", "copies", "expected"),
    [
        (sure([*range(10)]), sure([*range(10)]), lambda spread: -spread * math.log(10)),
        (sure([0, 1, 2, 3, 4] * 2), sure([0, 1, 2, 3, 4] * 2), lambda spread: -spread * math.log(5)),
        (sure([3] * 10), sure([3] * 10), lambda spread: 0.0),
        (torch.zeros(8, 10), torch.zeros(8, 10), lambda spread: (1 - spread) * math.log(10)),
        (sure([*range(10)]), torch.zeros(10, 10), lambda spread: (1 - spread) * math.log(10)),
        (sure([3] * 10), torch.zeros(10, 10), lambda spread: math.log(10)),
        (sure([0, 1]), sure([1, 0]), lambda spread: SURE - spread * math.log(2)),
        (torch.zeros(2, 10), sure([0, 1]), lambda spread: 0.9 * SURE - spread * math.log(10)),
    ],
    ids=[
        "sure, alike, all values", "sure, alike, half of the values", "sure, alike, one value", "undecided",
        "sure, copies undecided", "one value, copies undecided", "sure and opposed", "undecided, copies sure",
    ],
)  # fmt: skip
def test_values_in_closed_form(images: torch.Tensor, copies: torch.Tensor, expected: object, spread: float) -> None:
    found = consistency(images, copies, TEN, spread=spread)
    assert found.shape == ()
    assert float(found) == pytest.approx(expected(spread), abs=2e-5)  # type: ignore[operator]


def test_the_value_computed_independently() -> None:
    images, copies = parameters(MIXED), parameters(MIXED, seed=1)
    expected = 0.0
    for columns in CATEGORICAL:
        p, q = (Categorical(logits=x[:, columns].double()) for x in (images, copies))
        cross = torch.distributions.kl_divergence(p, q) + p.entropy()
        expected += float(cross.mean() - 3 * Categorical(probs=p.probs.mean(0)).entropy())
    assert float(consistency(images, copies, MIXED, spread=3.0)) == pytest.approx(expected, abs=1e-5)


def test_codes_are_summed_and_the_others_play_no_part() -> None:
    images, copies = parameters(MIXED), parameters(MIXED, seed=1)
    whole = consistency(images, copies, MIXED, spread=2.0)
    alone = [
        consistency(images[:, at], copies[:, at], Layout(f"categorical:{at.stop - at.start}"), spread=2.0)
        for at in CATEGORICAL
    ]
    assert abs(float(alone[0] - alone[1])) > 0.1
    assert float(whole) == pytest.approx(float(sum(alone)), abs=1e-5)
    others = [column for column in range(MIXED.width) if not any(at.start <= column < at.stop for at in CATEGORICAL)]
    assert len(others) == 5
    images[:, others], copies[:, others] = 1e4, torch.nan
    assert torch.equal(consistency(images, copies, MIXED, spread=2.0), whole)


def test_without_a_categorical_code_there_is_nothing_to_agree_on() -> None:
    layout = Layout("gaussian:2x2|bernoulli:1")
    assert float(consistency(parameters(layout), parameters(layout, seed=1), layout, spread=4.0)) == 0


def test_both_sides_are_pulled_and_a_step_along_the_pull_lowers_the_term() -> None:
    images, copies = parameters(MIXED).requires_grad_(), parameters(MIXED, seed=1).requires_grad_()
    before = consistency(images, copies, MIXED, spread=2.0)
    before.backward()
    for side in (images, copies):
        assert side.grad is not None
        pulled = (side.grad != 0).all(0)
        assert pulled.tolist() == [any(at.start <= c < at.stop for at in CATEGORICAL) for c in range(MIXED.width)]
        after = consistency(
            *(x.detach() - (0.1 * side.grad if x is side else 0) for x in (images, copies)), MIXED, spread=2.0
        )
        assert after < before.detach() - 1e-3


def test_the_pull_towards_agreement_in_closed_form() -> None:
    images, copies = parameters(TEN).requires_grad_(), parameters(TEN, seed=1).requires_grad_()
    consistency(images, copies, TEN, spread=0.0).backward()
    p, log_q = images.detach().softmax(1), copies.detach().log_softmax(1)
    cross = -(p * log_q).sum(1, keepdim=True)
    torch.testing.assert_close(images.grad, p * (-log_q - cross) / 7)
    torch.testing.assert_close(copies.grad, (log_q.exp() - p) / 7)


def test_the_spread_pulls_on_the_images_alone() -> None:
    images, copies = parameters(TEN).requires_grad_(), parameters(TEN, seed=1).requires_grad_()
    pulls = [
        torch.autograd.grad(consistency(images, copies, TEN, spread=spread), (images, copies)) for spread in (0.0, 4.0)
    ]
    assert torch.equal(pulls[0][1], pulls[1][1])
    assert not torch.allclose(pulls[0][0], pulls[1][0], atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_whatever_the_networks_compute_in_the_term_is_computed_in_float32(dtype: torch.dtype) -> None:
    images, copies = parameters(TEN).to(dtype), parameters(TEN, seed=1).to(dtype)
    found = consistency(images, copies, TEN, spread=4.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, consistency(images.float(), copies.float(), TEN, spread=4.0))


def test_extreme_logits_have_a_finite_value_and_a_finite_pull() -> None:
    images, copies = (sure([0, 0, 1]) * 1e3).requires_grad_(), (sure([0, 1, 1]) * 1e3).requires_grad_()
    found = consistency(images, copies, TEN, spread=4.0)
    found.backward()
    assert found.isfinite()
    for side in (images, copies):
        assert side.grad is not None and side.grad.isfinite().all()


def game(**settings: object) -> Game:
    return Game("infogan", **{"data__warp": "rotate:0.2, scale:0.1", "infogan__consistency": 1.0, **settings})


def test_the_objective_has_the_term_with_its_weight_and_it_trains_trunk_and_head() -> None:
    terms = {}
    for weight in (1.0, 0.25):
        played = game()
        model = played.model
        assert isinstance(model, InfoGAN)
        model.consistency = weight
        tensors = played.tensors()
        objective = model.discriminator_objective(tensors)
        terms[weight] = float(objective.terms["discriminator/consistency"].detach())
    assert terms[0.25] == pytest.approx(0.25 * terms[1.0], rel=1e-5)
    objective.terms["discriminator/consistency"].backward()
    pulled = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in pulled} == {"discriminator", "q"}
    assert not any(name.startswith("discriminator.head") for name in pulled)


def test_the_term_is_of_q_on_the_images_and_on_copies_warped_by_the_step_s_numbers() -> None:
    played = game()
    model = played.model
    assert isinstance(model, InfoGAN)
    tensors = played.tensors()
    objective = model.discriminator_objective(tensors)
    copies = model.warp(tensors.real.images, played.draws())
    assert not torch.allclose(copies, tensors.real.images, atol=0.1)
    expected = consistency(
        model.q(tensors.real.features), model.q(model.discriminator.trunk(copies)), model.layout, spread=4.0
    )
    torch.testing.assert_close(objective.terms["discriminator/consistency"], expected)


def test_of_a_share_of_the_batch_the_copies_are_compared_and_the_spread_is_the_whole_batch_s() -> None:
    whole, part = parameters(TEN), parameters(TEN, seed=1)[:3]
    found = consistency(whole, part, TEN, spread=2.0)
    compared = consistency(whole[:3], part, TEN, spread=0.0)
    spread = consistency(whole, whole, TEN, spread=2.0) - consistency(whole, whole, TEN, spread=0.0)
    torch.testing.assert_close(found, compared + spread)
    played = game(infogan__consistency_share=0.3)
    tensors = played.tensors()
    assert [len(warped.images) for warped in tensors.additional] == [3]  # of 8


def test_after_its_steps_the_term_has_its_lower_weight() -> None:
    terms = []
    for after in (0.25, 0.0):
        played = game(infogan__consistency_steps=2, infogan__consistency_after=after)
        assert isinstance(played.model, InfoGAN)
        assert [played.model.phase(step) for step in range(4)] == [1.0, 1.0, after, after]
        terms.append([played.step(step)[0].terms.get("discriminator/consistency") for step in range(4)])
    early, late = game(), game(infogan__consistency=0.25)
    assert torch.equal(terms[0][0], early.step(0)[0].terms["discriminator/consistency"])
    for player in (late.model, early.model):
        assert isinstance(player, InfoGAN)
    late.model.load_state_dict(early.model.state_dict())
    name = "discriminator/consistency"
    full, faded = (
        player.model.discriminator_objective(player.tensors(2)).terms[name].detach() for player in (early, late)
    )
    torch.testing.assert_close(faded, 0.25 * full)
    assert terms[1][1] is not None
    assert terms[1][2:] == [None, None]  # no warped copies, no pass


def test_a_run_too_short_for_the_lower_weight_says_so() -> None:
    (line,) = game(infogan__consistency_steps=50, training__steps=50).model.notes()
    assert line == "infogan.consistency_steps = 50: the consistency term does not fade in the 50 steps of the run"
    assert game(infogan__consistency_steps=49, training__steps=50).model.notes() == []


def test_with_weight_0_a_warp_changes_nothing() -> None:
    after = []
    for warp in ("", "rotate:0.2"):
        played = Game("infogan", data__warp=warp, data__augment="shift:0.1")
        played.step()
        after.append(weights(played.model))
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])


@pytest.mark.parametrize(
    ("warp", "words"),
    [
        ("", ["infogan.consistency = 1", "data.warp is empty"]),
        ("rotat:0.2", ["data.warp: ", "unknown operation 'rotat'", "did you mean 'rotate'"]),
        ("rotate:9", ["data.warp: ", "'rotate'", "'9'", "3.142"]),
        ("rotate, rotate", ["data.warp ", "'rotate' twice"]),
    ],
)
def test_a_warp_that_cannot_be_is_told_in_one_line(warp: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Game("infogan", data__warp=warp, infogan__consistency=1.0)
    for word in words:
        assert word in one_line(error)


@pytest.mark.parametrize("trains", ["generator+q+trunk", "generator+q", "q"])
def test_the_term_trains_the_trunk_only_where_q_s_terms_may(trains: str) -> None:
    game = Game("infogan", **{"infogan__consistency": 1.0, "infogan__trains": trains, "data__warp": "rotate"})
    tensors = game.tensors()
    objective = game.model.discriminator_objective(tensors)
    objective.terms["discriminator/consistency"].backward()
    reached = {name.split(".")[0] for name, p in game.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == ({"discriminator", "q"} if trains == "generator+q+trunk" else {"q"})


def test_in_parts_the_spread_is_refused_and_the_agreement_is_that_of_the_whole_batch() -> None:
    settings = {"infogan__consistency": 1.0, "data__warp": "shift:0.1", "trunk__discriminator_norm": "none"}
    settings |= {"training__batch_size": 16, "infogan__head_norm": "none", "trunk__generator_norm": "none"}
    with pytest.raises(InputError) as error:
        Game("infogan", training__accumulate=4, **settings)
    assert all(word in one_line(error) for word in ("training.accumulate = 4", "infogan.spread = 4", "spread to 0"))
    found = []
    for parts in (1, 4):
        game = Game("infogan", training__accumulate=parts, infogan__spread=0.0, **settings)
        terms = [o.terms["discriminator/consistency"] for o in game.step() if "discriminator/consistency" in o.terms]
        assert len(terms) == parts
        found.append(torch.stack(terms).mean().item())
    assert found[1] == pytest.approx(found[0], rel=1e-5)
