"""The learned prior: its entropy, its draws and their slope, who moves it, and where it is used."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from narrow import MIX, Game, moved, narrow_train, one_line, weights
from scipy.stats import chisquare
from torch.nn.functional import kl_div

import gan_zoo
from gan_zoo.analysis.traverse import draw_traversals
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import parse_codes
from gan_zoo.models.gan.prior import Latents, Prior
from gan_zoo.models.infogan.consistency import consistency, mismatch
from gan_zoo.models.infogan.learned_prior import LearnedPrior, straight_through
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan.q_head import q_layout

SHARES = torch.tensor([0.5, 0.25, 0.14, 0.08, 0.03])


FLOOR = 0.1


def teach(prior: LearnedPrior) -> LearnedPrior:
    """Give each code the first of SHARES as its probabilities."""
    for logits in prior.logits.values():
        shares = SHARES[: len(logits)] / SHARES[: len(logits)].sum()
        logits.data.copy_((shares - prior.floor / len(logits)).log() + 3)
    return prior


def prior_of(text: str = MIX, noise: int = 6, *, floor: float = FLOOR, temperature: float = 0.5) -> LearnedPrior:
    return teach(LearnedPrior(noise, "normal", parse_codes(text), floor=floor, temperature=temperature))


def learning(**settings: object) -> tuple[Game, InfoGAN, LearnedPrior]:
    game = Game("infogan", **{"infogan__codes": MIX, "infogan__prior": "learned"} | settings)
    assert isinstance(game.model, InfoGAN) and game.model.learned is not None
    return game, game.model, game.model.learned


def gradients(prior: LearnedPrior) -> list[torch.Tensor | None]:
    return [logits.grad for logits in prior.logits.values()]


def test_it_begins_uniform_with_the_entropies_of_uniform_codes() -> None:
    _, model, prior = learning()
    for name, probabilities in prior.probabilities().items():
        assert torch.allclose(probabilities, torch.full_like(probabilities, 1 / len(probabilities))), name
    assert list(prior.probabilities()) == ["c1", "c3", "c4"]
    torch.testing.assert_close(model.entropies(), model.entropy)


def test_entropy_and_its_slope_in_the_logits_are_the_closed_form() -> None:
    prior = prior_of("categorical:5, uniform:1")
    found = prior.entropies(torch.tensor([9.0, math.log(2)]))
    entropy = float(-(SHARES * SHARES.log()).sum())
    assert found.tolist() == pytest.approx([entropy, math.log(2)])
    found[0].backward()
    soft = (SHARES - FLOOR / 5) / (1 - FLOOR)
    pull = -(SHARES.log() + 1) * (1 - FLOOR)
    torch.testing.assert_close(prior.logits["c1"].grad, soft * (pull - soft @ pull))


def test_with_next_to_no_floor_the_slope_of_the_entropy_is_the_textbook_s() -> None:
    prior = prior_of("categorical:5", floor=1e-9)
    found = prior.entropies(torch.zeros(1))[0]
    found.backward()
    torch.testing.assert_close(prior.logits["c1"].grad, -SHARES * (SHARES.log() + found.detach()))


def test_no_probability_falls_below_the_floor() -> None:
    prior = prior_of("categorical:5")
    prior.logits["c1"].data.copy_(torch.tensor([500.0, 0.0, -500.0, 0.0, 0.0]))
    assert prior.probabilities()["c1"].tolist() == pytest.approx([0.92, 0.02, 0.02, 0.02, 0.02])
    assert prior.entropies(torch.zeros(1)).isfinite().all()


def test_a_draw_is_one_hot_forward_and_the_softmax_backward() -> None:
    random = torch.Generator().manual_seed(0)
    scores = (3 * torch.randn(40, 7, generator=random)).requires_grad_()
    pull = torch.randn(40, 7, generator=random)
    hard = straight_through(scores, 0.3)
    assert torch.equal(hard, torch.nn.functional.one_hot(scores.argmax(1), 7).float())
    (found,) = torch.autograd.grad((hard * pull).sum(), scores)
    (expected,) = torch.autograd.grad(((scores / 0.3).softmax(1) * pull).sum(), scores)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found.any()


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (5, 77)])
def test_draws_follow_the_probabilities(seed: int, step: int) -> None:
    n = 20_000
    codes = prior_of("categorical:5").sample(n, seed=seed, step=step).codes
    counts = torch.bincount(codes[:, 0].long(), minlength=5)
    assert chisquare(counts.numpy(), (n * SHARES.double() / SHARES.double().sum()).numpy()).pvalue > 1e-3


def test_codes_are_drawn_independently_of_each_other() -> None:
    first, second = prior_of("categorical:5x2", noise=0).sample(20_000, seed=0).codes.long().unbind(1)
    joint = torch.bincount(5 * first + second, minlength=25)
    expected = 20_000 * torch.outer(SHARES, SHARES).double().flatten()
    assert chisquare(joint.numpy(), (expected / expected.sum() * 20_000).numpy()).pvalue > 1e-3


def test_the_input_holds_noise_one_hots_and_values_in_the_order_of_any_prior() -> None:
    prior = prior_of()
    drawn = prior.sample(200, seed=1)
    plain = Prior(6, "normal", prior.codes)
    assert prior.width == plain.width
    assert drawn.input.shape == (200, prior.width)
    assert torch.equal(drawn.input, plain.compose(drawn.input[:, :6], drawn.codes).input)
    assert torch.equal(drawn.input[:, :6], plain.sample(200, seed=1).input[:, :6])
    uniform, gaussian, bernoulli = drawn.codes[:, 1], drawn.codes[:, 4:6], drawn.codes[:, 6:]
    assert uniform.abs().max() <= 1 and uniform.min() < -0.9
    assert gaussian.abs().max() > 1.5
    assert bernoulli.mean() == pytest.approx(0.3, abs=0.1)
    assert not drawn.codes.requires_grad


def test_draws_are_a_function_of_seed_step_and_row() -> None:
    prior = prior_of()
    whole = prior.sample(24, seed=2, step=9)
    for first, n in ((0, 24), (0, 4), (5, 11), (23, 1)):
        part = prior.sample(n, seed=2, step=9, first_row=first)
        assert torch.equal(part.input, whole.input[first : first + n])
        assert torch.equal(part.codes, whole.codes[first : first + n])
    for other in ({"seed": 3, "step": 9}, {"seed": 2, "step": 8}, {"seed": 2, "step": 9, "stream": 1}):
        assert not torch.equal(prior.sample(24, **other).codes[:, [0, 2, 3]], whole.codes[:, [0, 2, 3]])


def test_a_uniform_of_zero_does_no_harm() -> None:
    prior = prior_of("categorical:5", noise=0)
    extremes = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1 - 2**-24, 0.5, 0.5, 0.0]])
    columns, codes = prior.from_drawn(extremes, torch.zeros(2, 5))
    assert codes[:, 0].tolist() == [0, 1]
    columns[:, 2].sum().backward()
    assert prior.logits["c1"].grad is not None and prior.logits["c1"].grad.isfinite().all()


def test_a_temperature_changes_the_slope_and_not_the_draw() -> None:
    cold, warm = prior_of("categorical:5", temperature=0.1), prior_of("categorical:5", temperature=2.0)
    slopes = []
    for prior in (cold, warm):
        drawn = prior.sample(64, seed=0).input
        (drawn * torch.arange(drawn.shape[1])).sum().backward()
        slopes.append(prior.logits["c1"].grad)
    assert torch.equal(cold.sample(64, seed=0).input, warm.sample(64, seed=0).input)
    assert not torch.allclose(slopes[0], slopes[1], rtol=0.1)  # type: ignore[arg-type]


def test_the_discriminator_s_step_leaves_the_prior_alone() -> None:
    game, model, prior = learning(infogan__consistency=1.0, data__warp="shift:0.1")
    latents = game.latents()
    fake = model.generator(latents.input).detach()
    real, judged = model.discriminator(torch.rand_like(fake)), model.discriminator(fake)
    model.discriminator_objective(replace(game.tensors(), real=real, fake=judged, latents=latents)).loss.backward()
    assert gradients(prior) == [None, None, None]


@pytest.mark.parametrize("term", ["adversarial", "information", "prior"])
def test_each_term_of_the_generator_moves_the_prior(term: str) -> None:
    game, model, prior = learning()
    tensors = game.tensors()
    real = tensors.real.detached
    with game.state.optimizers["discriminator"].frozen():
        judged = model.discriminator(model.generator(tensors.latents.input))
        model.generator_objective(replace(tensors, real=real, fake=judged)).terms[f"generator/{term}"].backward()
    assert all(gradient is not None and gradient.any() for gradient in gradients(prior))
    assert all(p.grad is None for n, p in model.named_parameters() if n.startswith(("q.", "discriminator.")))
    moved_generator = any(p.grad is not None for p in model.generator.parameters())
    assert moved_generator == (term != "prior")


def test_the_match_pulls_the_prior_to_the_mean_code_of_the_reals() -> None:
    _, model, prior = learning(infogan__codes="uniform:1, categorical:5")
    teach(prior)
    parameters = torch.randn(30, model.layout.width, generator=torch.Generator().manual_seed(0))
    mean = parameters[:, 1:].softmax(1).mean(0)
    found = mismatch(parameters, model.layout, prior.log_probabilities())
    assert float(found.detach()) == pytest.approx(float(kl_div(SHARES.log(), mean, reduction="sum")), rel=1e-5)
    found.backward()
    probabilities = SHARES.clone().requires_grad_()
    mismatch(parameters, model.layout, [probabilities.log()]).backward()
    soft, slope = (SHARES - FLOOR / 5) / (1 - FLOOR), -(1 - FLOOR) * mean / SHARES
    torch.testing.assert_close(probabilities.grad, -mean / SHARES)
    torch.testing.assert_close(prior.logits["c2"].grad, soft * (slope - soft @ slope))
    almost = prior_of("uniform:1, categorical:5", floor=1e-9)
    mismatch(parameters, model.layout, almost.log_probabilities()).backward()
    torch.testing.assert_close(almost.logits["c2"].grad, SHARES - mean)


def test_consistency_spreads_towards_the_prior_and_under_a_uniform_one_as_without() -> None:
    layout = q_layout(parse_codes("categorical:5, uniform:1, categorical:3"), "fixed", (-2, 2))
    random = torch.Generator().manual_seed(0)
    warped = torch.randn(30, layout.width, generator=random)
    parameters = torch.randn(30, layout.width, generator=random).requires_grad_()

    def value_and_slope(log_priors: list[torch.Tensor] | None, spread: float) -> tuple[float, torch.Tensor]:
        value = consistency(parameters, warped, layout, spread=spread, log_priors=log_priors)
        return float(value.detach()), torch.autograd.grad(value, parameters)[0]

    uniform = [torch.full((k,), -math.log(k)) for k in (5, 3)]
    plain, slope = value_and_slope(None, 2.0)
    told, same = value_and_slope(uniform, 2.0)
    assert told == pytest.approx(plain + 2.0 * math.log(15), abs=1e-5)
    torch.testing.assert_close(same, slope, rtol=1e-4, atol=1e-7)

    uneven = [SHARES.log(), torch.tensor([0.7, 0.2, 0.1]).log()]
    agreement, _ = value_and_slope(uneven, 0.0)
    told, _ = value_and_slope(uneven, 2.0)
    divergence = float(mismatch(parameters.detach(), layout, uneven))
    assert told == pytest.approx(agreement + 2.0 * divergence, abs=1e-5)


def test_a_whole_step_moves_the_prior_at_its_own_rate() -> None:
    game, model, prior = learning(infogan__prior_lr=0.03)
    before = weights(model)
    game.step()
    changed = {n for n in moved(before, model) if n.startswith("prior.")}
    assert changed == {"prior.logits.c1", "prior.logits.c3", "prior.logits.c4"}
    steps = torch.cat([(logits.detach() - 0).abs() for logits in prior.logits.values()])
    assert steps.max() == pytest.approx(0.03, rel=1e-3)  # Adam's first step is its rate
    rates = [group["lr"] for group in game.state.optimizers["generator"].adam.param_groups]
    assert rates == [1e-3, 0.03, 0.03, 0.03]
    assert [group["lr"] for group in game.state.optimizers["discriminator"].adam.param_groups] == [2e-4]


def test_the_prior_keeps_still_until_its_delay_is_over() -> None:
    game, model, _ = learning(infogan__prior_delay=2)
    still = weights(model)
    for step in range(2):
        game.step(step)
    assert not {n for n in moved(still, model) if n.startswith("prior.")}
    game.step(2)
    assert {n for n in moved(still, model) if n.startswith("prior.")}


def test_the_prior_keeps_still_in_steps_of_the_discriminator_alone() -> None:
    game, model, _ = learning()
    before = weights(model)
    game.step(update_generator=False)
    assert not {n for n in moved(before, model) if n.startswith(("prior.", "generator."))}


def test_a_batch_in_parts_is_refused_since_its_mean_code_is_the_whole_batch_s() -> None:
    with pytest.raises(InputError) as error:
        learning(training__accumulate=2)
    line = one_line(error)
    assert all(word in line for word in ("training.accumulate = 2", "infogan.prior = 'learned'", "whole batch"))


def test_a_run_that_ends_before_its_prior_moves_says_so() -> None:
    _, model, _ = learning(training__steps=5, infogan__prior_delay=5)
    (remark,) = model.notes()
    assert remark == "infogan.prior_delay = 5: the prior does not learn in the 5 steps of the run"
    assert not learning(training__steps=5, infogan__prior_delay=4)[1].notes()


def test_without_a_head_that_steers_the_prior_still_learns() -> None:
    game, model, _ = learning(infogan__trains="q")
    before = weights(model)
    assert "generator/information" not in {n for o in game.step() for n in o.terms}
    assert {n for n in moved(before, model) if n.startswith("prior.")}


def test_what_is_logged_is_the_entropy_and_the_extremes() -> None:
    game, model, prior = learning(infogan__codes="categorical:5, uniform:1")
    teach(prior)
    tensors = game.tensors()
    metrics = model.discriminator_objective(tensors).metrics
    assert set(metrics) == {"mi", "mi/c1", "mi/c2", "entropy/c1", "prior/c1/least", "prior/c1/greatest"}
    assert float(metrics["entropy/c1"]) == pytest.approx(float(-(SHARES * SHARES.log()).sum()))
    assert (float(metrics["prior/c1/least"]), float(metrics["prior/c1/greatest"])) == pytest.approx((0.03, 0.5))
    assert not any(value.requires_grad for value in metrics.values())


def test_samples_are_drawn_from_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model, prior = learning(infogan__codes="categorical:5")
    prior.floor = 1e-9
    prior.logits["c1"].data.copy_(torch.tensor([-9.0, -9.0, 0.0, -9.0, 0.0]))
    seen: list[Latents] = []
    monkeypatch.setattr(model, "generate", lambda latents: seen.append(latents) or torch.zeros(64, 1, 28, 28))
    model.sample(64)
    assert set(seen[0].codes[:, 0].tolist()) == {2.0, 4.0}
    model.sample(64, {"c1": 1})
    assert set(seen[1].codes[:, 0].tolist()) == {1.0}


def test_a_traversal_takes_every_value_however_rare() -> None:
    _, model, prior = learning(infogan__codes="categorical:5, uniform:1")
    teach(prior)
    latents = prior.traverse(model.codes[0], model.codes[0].traversal(), 3, seed=0)
    assert latents.codes[:, 0].tolist() == [0, 1, 2, 3, 4] * 3
    assert draw_traversals(model, model.codes, rows=2, count=3).size[0] > 100


def test_a_trained_run_gives_its_prior_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = narrow_train("infogan", tmp_path / "run", training__steps=3, infogan__prior="learned")
    last = run.metrics()[-1]
    model = gan_zoo.load(run.folder)
    probabilities = model.prior.probabilities()["c1"]
    assert last["prior/c1/least"] < 0.1 < last["prior/c1/greatest"]
    assert probabilities.min() < 0.1 < probabilities.max()
    assert "generator/prior" in last
    assert [n for n in model.state_dict() if n.startswith("prior.")] == ["prior.logits.c1"]


def test_a_uniform_prior_has_nothing_to_learn() -> None:
    model = Game("infogan").model
    assert not [n for n in model.state_dict() if n.startswith("prior")]
    assert type(model.prior) is Prior
    assert model.prior.probabilities() == {} == model.schedules


def test_a_prior_without_a_categorical_code_cannot_be_learned() -> None:
    with pytest.raises(InputError) as error:
        Game("infogan", infogan__codes="uniform:2", infogan__prior="learned")
    assert "prior = 'learned' requires a categorical code" in one_line(error)


def test_the_bound_s_slope_in_the_prior_knows_which_values_cannot_be_told() -> None:
    prior = prior_of("uniform:1, categorical:4", floor=1e-6)
    layout = q_layout(prior.codes, "fixed", (-8.0, 4.0))
    certain, told = 3.0, torch.tensor([0, 1, 2, 2])
    codes = prior.sample(20_000, seed=0).codes
    answers = certain * torch.nn.functional.one_hot(told[codes[:, 1].long()], 4).float()
    answers[:, 3] = answers[:, 2]  # the last two values look alike
    prior.score(torch.cat([torch.zeros(len(codes), 1), answers], 1), codes, layout).sum().backward()
    (found,) = gradients(prior)
    logits = prior.logits["c2"].detach().clone().requires_grad_()
    log_q = (
        certain * torch.eye(4)[told] + certain * torch.tensor([0.0, 0, 1, 1])[:, None] * torch.eye(4)[3]
    ).log_softmax(1)
    (logits.softmax(0) * log_q.diagonal()).sum().backward()
    torch.testing.assert_close(found, logits.grad, atol=0.01, rtol=0)
    assert found[0] > 0 > found[2]


def test_the_score_is_0_and_only_slope() -> None:
    game, model, prior = learning()
    latents = game.latents()
    parameters = torch.randn(len(latents.codes), model.layout.width, requires_grad=True)
    found = prior.score(parameters, latents.codes, model.layout)
    assert found.tolist() == [0.0] * len(model.codes)
    found.sum().backward()
    assert parameters.grad is None
