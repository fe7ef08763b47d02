"""ModelCentrality: FactorVAE's score on another model's images, the chosen run, and the command."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import write_set, zoo
from torch import Tensor

import gan_zoo
from gan_zoo.analysis.centrality import GROUP, agreement, centrality, factor_score
from gan_zoo.models.gan.codes import parse_codes
from gan_zoo.models.gan.prior import Latents, Prior
from gan_zoo.models.infogan.q_head import Gaussian

CODES = "categorical:3, uniform:2, bernoulli:1"


class Stub:
    """A model whose image's first pixels are its latents, turned by `mix`, and whose encoder turns them back."""

    def __init__(self, mix: Tensor | None = None, noise: int = 2) -> None:
        self.prior = Prior(noise, "normal", parse_codes(CODES))
        self.mix = torch.eye(6) if mix is None else mix

    def generate(self, latents: Latents) -> Tensor:
        return (latents.input[:, self.prior.noise :] @ self.mix).view(-1, 1, 2, 3)

    def encode(self, images: Tensor) -> Mapping[str, Any]:
        told = images.flatten(1) @ self.mix.T
        return {"c1": told[:, :3], "c2": Gaussian(told[:, 3], told[:, 3]), "c3": (told[:, 4], None), "c4": told[:, 5]}


def entangled(seed: int) -> Stub:
    """A stub that mixes its codes by a random rotation."""
    return Stub(torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)))[0])


def test_the_score_is_the_accuracy_of_the_majority_behind_each_code() -> None:
    overall = torch.tensor([1.0, 4.0, 1.0])
    least = [0, 0, 0, 1, 1, 2]
    variances = torch.ones(6, 3)
    variances[range(6), least] = 0.5
    variances[:, 1] *= 4
    assert factor_score(variances, overall, torch.tensor([0, 0, 1, 1, 1, 0]), 2) == pytest.approx(5 / 6)
    assert factor_score(variances, overall, torch.tensor([0, 0, 0, 1, 1, 2]), 3) == 1
    assert factor_score(variances, overall, torch.tensor([0, 1, 0, 1, 0, 1]), 2) == pytest.approx(4 / 6)


def test_a_code_that_never_varies_casts_no_vote() -> None:
    variances = torch.tensor([[0.0, 0.2, 0.9], [0.0, 0.9, 0.2]])
    fixed = torch.tensor([0, 1])
    assert factor_score(variances, torch.tensor([0.0, 1.0, 1.0]), fixed, 2) == 1
    assert factor_score(variances, torch.tensor([1.0, 1.0, 1.0]), fixed, 2) == 0.5


def test_an_encoder_that_reads_the_world_s_codes_scores_1_also_in_another_order_and_scale() -> None:
    world = Stub()
    order = Stub()
    order.encode = (
        lambda images: {  # type: ignore[method-assign]
            "c1": 100 * images.flatten(1)[:, 4],
            "c2": images.flatten(1)[:, 5],
            "c3": -images.flatten(1)[:, 3],
            "c4": images.flatten(1)[:, :3],
        }
    )
    assert agreement(world, [world, order], samples=40, seed=0) == [1, 1]


def test_an_encoder_that_reads_noise_scores_near_chance() -> None:
    random = torch.Generator().manual_seed(0)
    blind = Stub()
    blind.encode = lambda images: {f"c{k}": torch.randn(len(images), generator=random) for k in range(4)}  # type: ignore[method-assign]
    (score,) = agreement(Stub(), [blind], samples=400, seed=0)
    assert 0.25 <= score < 0.4


def test_a_vote_s_images_share_one_code_and_the_codes_take_turns() -> None:
    seen: list[Tensor] = []
    world = Stub()
    generate = world.generate
    world.generate = lambda latents: seen.append(latents.codes) or generate(latents)  # type: ignore[func-returns-value, method-assign]
    agreement(world, [world], samples=23, seed=0)
    codes = torch.cat(seen[5:]).view(23, GROUP, 4)
    assert len(torch.cat(seen[:5])) == 5000
    for group, values in enumerate(codes):
        held = (values == values[:1]).all(0)
        assert held.tolist() == [index == group % 4 for index in range(4)]
    assert len(codes[::4, 0, 0].unique()) > 1
    assert len(codes[1::4, 0, 1].unique()) == 6


def test_of_two_that_agree_and_one_that_does_not_one_of_the_two_is_chosen() -> None:
    for odd in range(3):
        models = [Stub(), Stub()]
        models.insert(odd, entangled(odd))
        found = centrality(models, samples=80)
        assert found.chosen == (1 if odd == 0 else 0)
        assert found.centrality.argmin() == odd
        assert found.scores.diagonal().isnan().all()
        alike = [index for index in range(3) if index != odd]
        assert found.scores[alike[0], alike[1]] == found.scores[alike[1], alike[0]] == 1


def test_centrality_is_the_mean_of_what_both_directions_say() -> None:
    models = [Stub(), entangled(1), entangled(2)]
    found = centrality(models, samples=60, seed=3)
    b = found.scores.tolist()
    for i, value in enumerate(found.centrality.tolist()):
        assert value == pytest.approx(sum((b[i][j] + b[j][i]) / 2 for j in range(3) if j != i) / 2)
        assert 0 < value <= 1
    again, other = centrality(models, samples=60, seed=3), centrality(models, samples=60, seed=4)
    assert torch.equal(found.centrality, again.centrality)
    assert not torch.equal(found.centrality, other.centrality)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a, b, c of the same codes, and others that cannot be compared with them."""
    place = tmp_path_factory.mktemp("runs")
    small = {"trunk": {"name": "mlp", "width": 2}, "noise": 2, "steps": 1, "batch_size": 4, "device": "cpu"}
    sides = {side: write_set(place / f"{side}.npz", resolution=side) for side in (8, 12)}
    for name, model, codes, side in [
        ("a", "infogan", CODES, 8),
        ("b", "infogan", CODES, 8),
        ("c", "infogan-cr", CODES, 8),
        ("codes", "infogan", "uniform:2", 8),
        ("one", "infogan", "uniform:1", 8),
        ("large", "infogan", CODES, 12),
        ("plain", "gan", None, 8),
    ]:
        own = {} if codes is None else {"codes": codes}
        seed = {"seed": ord(name[0])}
        gan_zoo.train(model, {}, out=place / name, quiet=True, data=sides[side], **small, **own, **seed)
    return place


def test_the_command_names_the_most_central_run_and_writes_the_scores(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    runs = [Path(name) for name in "abc"]
    out = tmp_path / "new" / "scores.json"
    ended = zoo("centrality", *runs, "--samples", "20", "--seed", "1", "--out", out)
    assert ended.code == 0, ended.err
    told = json.loads(out.read_text())
    assert told["runs"] == [str(run) for run in runs]
    assert (told["samples"], told["seed"]) == (20, 1)
    assert told["chosen"] == told["runs"][max(range(3), key=told["centrality"].__getitem__)]
    for i, row in enumerate(told["scores"]):
        assert [score is None for score in row] == [i == j for j in range(3)]
        assert all(0 < score <= 1 for j, score in enumerate(row) if i != j)
    found = centrality([gan_zoo.load(run) for run in runs], samples=20, seed=1)  # type: ignore[misc]
    assert told["centrality"] == found.centrality.tolist()
    assert ended.out.splitlines()[-1] == f"most central: {told['chosen']}"
    for i, value in enumerate(told["centrality"]):
        (line,) = (line for line in ended.out.splitlines()[:-1] if line.split()[-1:] == [str(runs[i])])
        shown = [f"{score:.3f}" for score in told["scores"][i] if score is not None]
        assert line.split() == [str(i + 1), *shown, f"{value:.3f}", str(runs[i])]
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]
    assert json.loads(zoo("centrality", *runs, "--samples", "20", "--seed", "1", "--json").out) == told


def test_two_runs_are_said_to_be_no_choice(place: Path) -> None:
    ended = zoo("centrality", place / "b", place / "a" / "checkpoints" / "step-00000001", "--samples", "4")
    assert ended.code == 0, ended.err
    assert "3 or more" in ended.out
    assert ended.out.splitlines()[-1] == f"most central: {place / 'b'}"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("a",), ["3 or more", "1"]),
        (("a", "b", "a"), ["a is named twice"]),
        (("a", "nowhere"), ["nowhere", "does not exist"]),
        (("a", "plain"), ["plain", "model gan has no codes"]),
        (("one", "a"), ["one", "2 or more codes", "uniform"]),
        (("a", "codes"), ["codes has other codes than", "uniform, uniform", "categorical:3, uniform, uniform"]),
        (("a", "large"), ["large has other images than", "12×12", "8×8"]),
        (("a", "b", "--samples", "0"), ["--samples", "0"]),
        (("a", "b", "--seed", "-1"), ["--seed", "-1"]),
        (("a", "b", "--device", "cudo"), ["cudo"]),
        (("a", "b", "--out", "."), [".json"]),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    args: tuple[str, ...], words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    ended = zoo("centrality", *args)
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert all(word in ended.err for word in words), ended.err
    assert sorted(place.rglob("*")) == before


def test_scores_are_finite_where_a_code_is_dead() -> None:
    dead = Stub()
    dead.encode = lambda images: {f"c{k}": torch.zeros(len(images)) for k in range(4)}  # type: ignore[method-assign]
    found = centrality([Stub(), dead, Stub()], samples=20)
    assert found.chosen == 0
    assert all(math.isfinite(value) for value in found.centrality.tolist())
