"""Conditioning on labels: the projection GAN, and InfoGAN on top of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import zoo
from narrow import Game, digits, narrow_config, narrow_train, one_line
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

import gan_zoo
from gan_zoo.analysis.classifier import classifier
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.codes import label_code
from gan_zoo.models.gan.model import GAN, Objective, StepTensors
from gan_zoo.registry import losses, trunks
from gan_zoo.training.build import new_state
from gan_zoo.training.exported import DESCRIPTION
from gan_zoo.training.precision import pick_device
from gan_zoo.trunks.conditional import ConditionalGenerator

CONDITIONAL: dict[str, dict[str, Any]] = {
    "projection-gan": {},
    "infogan": {"infogan__conditional": True},
    "infogan-cr": {"infogan_cr__conditional": True, "infogan_cr__contrast": 1.0},
}


def seen(game: Game, monkeypatch: pytest.MonkeyPatch, **step: Any) -> dict[str, StepTensors]:
    """What the objectives of one step are computed from, by player."""
    tensors: dict[str, StepTensors] = {}
    for player in ("discriminator", "generator"):
        real = getattr(GAN, f"{player}_objective")

        def noted(model: GAN, step: StepTensors, player: str = player, real: Any = real) -> Objective:
            tensors[player] = step
            return real(model, step)  # type: ignore[no-any-return]

        monkeypatch.setattr(GAN, f"{player}_objective", noted)
    game.step(**step)
    return tensors


@pytest.mark.parametrize("model", CONDITIONAL)
def test_d_s_logit_is_the_projection_on_the_label_of_each_image_plus_a_linear_function(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = Game(model, trunk__name="mlp", trunk__spectral_norm=False, **CONDITIONAL[model])
    discriminator = game.model.discriminator
    assert isinstance(discriminator.embedding, nn.Linear) and isinstance(discriminator.head, nn.Linear)
    embedding, weight, bias = (
        p.detach().clone() for p in (discriminator.embedding.weight, *discriminator.head.parameters())
    )
    step = seen(game, monkeypatch)["discriminator"]
    labels = digits(8).labels
    assert labels is not None and step.labels is not None and torch.equal(step.labels, labels)
    classes = step.latents.codes[:, -1].long()
    assert torch.equal(step.latents.input[:, -10:].argmax(1), classes)
    for output, own in ((step.real, labels), (step.fake, classes)):
        expected = [embedding[y] @ x + weight[0] @ x + bias[0] for x, y in zip(output.features, own, strict=True)]
        torch.testing.assert_close(output.logits[:, 0], torch.stack(expected))


def test_in_the_generator_s_step_the_updated_discriminator_sees_the_class_of_each_fake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = Game("projection-gan", trunk__name="mlp", trunk__spectral_norm=False)
    tensors = seen(game, monkeypatch, update_generator=True)
    fake, discriminator = tensors["generator"].fake, game.model.discriminator
    unconditional = discriminator.head(fake.features)
    by_class = discriminator.embedding(fake.features)  # type: ignore[misc]
    expected = unconditional + by_class.gather(1, tensors["generator"].latents.codes[:, -1:].long())
    torch.testing.assert_close(fake.logits, expected)
    assert (expected - unconditional).abs().max() > 1e-3


def test_the_embedding_has_spectral_norm_where_the_discriminator_has() -> None:
    for spectral in (True, False):
        embedding = Game("projection-gan", trunk__spectral_norm=spectral).model.discriminator.embedding
        assert embedding is not None and is_parametrized(embedding) == spectral


def test_penalties_differentiate_the_conditional_logit() -> None:
    game = Game("projection-gan", trunk__spectral_norm=False, loss__r1=1.0, loss__gradient_penalty=1.0)
    before = game.step(update_generator=False)[0].terms
    other = Game("projection-gan", trunk__spectral_norm=False, loss__r1=1.0, loss__gradient_penalty=1.0)
    with torch.no_grad():
        other.model.discriminator.embedding.weight.mul_(3)  # type: ignore[union-attr, operator]
    after = other.step(update_generator=False)[0].terms
    for name in ("discriminator/r1", "discriminator/gradient_penalty"):
        assert before[name].detach() != pytest.approx(float(after[name].detach()), rel=1e-3)


@pytest.mark.parametrize(
    ("trunk", "loss"), [*((trunk, "hinge") for trunk in trunks.entries), *(("mlp", loss) for loss in losses.entries)]
)
def test_it_trains_on_every_trunk_and_under_every_loss(trunk: str, loss: str) -> None:
    game = Game("projection-gan", trunk__name=trunk, loss__adversarial=loss, trunk__width=2)
    embedding = game.model.discriminator.embedding
    assert embedding is not None
    before = [p.detach().clone() for p in embedding.parameters()]
    terms = [o.terms for step in range(2) for o in game.step(step)]
    assert all(term.isfinite() for objective in terms for term in objective.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, embedding.parameters(), strict=True))


def test_infogan_s_codes_stand_beside_the_label_and_q_reads_both() -> None:
    game = Game("infogan", infogan__conditional=True, infogan__codes="uniform:2", infogan__prior="uniform")
    model = game.model
    assert [(code.name, code.conditions) for code in model.codes] == [("c1", False), ("c2", False), ("label", True)]
    assert isinstance(model.generator, ConditionalGenerator)
    assert {"mi/c1", "mi/c2", "mi/label"} <= game.step()[0].metrics.keys()
    assert model.encode(torch.zeros(3, 1, 28, 28))["label"].shape == (3, 10)  # type: ignore[operator]


def test_a_learned_prior_and_the_warped_copies_of_infogan_work_with_the_label() -> None:
    game = Game(
        "infogan", infogan__conditional=True, infogan__prior="learned", infogan__codes="categorical:3",
        infogan__consistency=1.0, data__warp="rotate:0.2",
    )  # fmt: skip
    for step in range(2):
        for objective in game.step(step):
            assert all(term.isfinite() for term in objective.terms.values())


def test_infogan_is_not_conditioned_unless_asked() -> None:
    model = Game("infogan").model
    assert model.discriminator.embedding is None
    assert not isinstance(model.generator, ConditionalGenerator)
    assert model.prior.labels(model.prior.sample(4, seed=0).codes) is None


@pytest.mark.parametrize(
    ("model", "who"), [("projection-gan", "model projection-gan"), ("infogan", r"infogan\.conditional")]
)
def test_data_without_labels_is_refused_in_one_line_and_makes_no_folder(model: str, who: str, tmp_path: Path) -> None:
    images = tmp_path / "grey.npy"
    np.save(images, np.zeros((16, 28, 28), np.uint8))
    with pytest.raises(InputError, match=f"{who} requires labels of 2 or more classes") as error:
        narrow_train(model, tmp_path / "run", training__steps=2, data=str(images), **CONDITIONAL[model])
    assert str(images) in one_line(error)
    assert not (tmp_path / "run").exists()


def test_a_batch_without_labels_is_refused() -> None:
    game = Game("projection-gan")
    micro = game.micro_batch(digits(8)._replace(labels=None))
    with pytest.raises(InputError, match="conditioned on labels, and the data has none") as error:
        game.functions.discriminator_objective(micro, torch.zeros(8, 1, 28, 28), False)
    one_line(error)


def test_a_class_is_no_noise() -> None:
    with pytest.raises(InputError, match=r"latent\.noise = 0"):
        new_state(narrow_config("projection-gan", latent__noise=0), pick_device("cpu"))
    assert label_code("x", narrow_config("gan").data).conditions is False


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, on images in the folders cat and dog."""
    from PIL import Image

    place = tmp_path_factory.mktemp("pets")
    random = np.random.default_rng(0)
    for k, kind in enumerate(["cat", "dog"] * 4):
        (place / "set" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8)).save(place / "set" / kind / f"{k}.png")
    settings: dict[str, Any] = {"data": str(place / "set"), "training__steps": 2, "data__resolution": 28}
    settings |= {"trunk__name": "mlp", "training__discriminator_steps": 1}
    for model in ("projection-gan", "acgan", "infogan"):
        narrow_train(model, place / model, **settings)
    return place


@pytest.mark.parametrize("model", ["projection-gan", "acgan"])
def test_sample_takes_the_label_by_the_name_of_a_class_or_its_number(model: str, pets: Path, tmp_path: Path) -> None:
    pictures = {}
    for label in ("dog", "1", "0", "cat"):
        ended = zoo("sample", pets / model, "--label", label, "-n", "4", "--out", tmp_path / f"{label}.png")
        assert ended.code == 0, ended.err
        pictures[label] = (tmp_path / f"{label}.png").read_bytes()
    zoo("sample", pets / model, "--codes", "label=1", "-n", "4", "--out", tmp_path / "codes.png")
    assert pictures["dog"] == pictures["1"] == (tmp_path / "codes.png").read_bytes()
    assert pictures["cat"] == pictures["0"] != pictures["dog"]


def test_an_export_takes_the_number(pets: Path, tmp_path: Path) -> None:
    assert zoo("export", pets / "projection-gan", "--out", tmp_path / "export").code == 0
    assert (tmp_path / "export" / DESCRIPTION).is_file()
    out = tmp_path / "one.png"
    assert zoo("sample", tmp_path / "export", "--label", "1", "--out", out).code == 0
    ended = zoo("sample", tmp_path / "export", "--label", "dog", "--out", out)
    assert (ended.code, ended.err) == (2, "gan-zoo: unknown label 'dog'. Known: 0 to 1\n")


@pytest.mark.parametrize(
    ("model", "args", "words"),
    [
        ("infogan", ("--label", "1"), ["--label 1 requires a model that is trained on labels", "infogan is not"]),
        ("projection-gan", ("--label", "dgo"), ["unknown label 'dgo'", "did you mean 'dog'", "cat, dog"]),
        ("projection-gan", ("--label", "-1"), ["unknown label '-1'"]),
        ("projection-gan", ("--label", "2"), ["label takes whole numbers from 0 to 1, not 2"]),
        ("projection-gan", ("--label", "1" * 5000), ["unknown label '111"]),
        ("infogan", ("--label", "two\nlines"), ["'two\\nlines' requires"]),
        ("projection-gan", ("--label", ""), ["unknown label ''"]),
        ("acgan", ("--label", "1", "--codes", "label=1"), ["--label and --codes both set label"]),
    ],
)
def test_sample_refuses_a_label_in_one_line(
    model: str, args: tuple[str, ...], words: list[str], pets: Path, tmp_path: Path
) -> None:
    ended = zoo("sample", pets / model, *args, "--out", tmp_path / "no.png")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err
    assert not (tmp_path / "no.png").exists()


def test_traverse_varies_the_class_like_a_code(pets: Path, tmp_path: Path) -> None:
    out = tmp_path / "classes.png"
    assert zoo("traverse", pets / "projection-gan", "--code", "label", "--out", out).code == 0
    assert out.is_file()
    images = gan_zoo.load(pets / "projection-gan").sample(2, {"label": [0, 1]})
    assert images.shape == (2, 1, 28, 28)


@pytest.mark.slow
def test_samples_of_a_label_are_read_as_it(tmp_path: Path) -> None:
    """Of 1,000 samples after 700 steps on the digits a classifier reads 98 % as their label; chance is 10 %."""
    run = narrow_train(
        "projection-gan", tmp_path, trunk__name="infogan-mnist", trunk__width=16, latent__noise=16,
        training__batch_size=64, training__steps=700, training__discriminator_steps=1, training__ema=0.99,
        optimizer__generator_lr=1e-3, optimizer__discriminator_lr=1e-3, logging__log_every=100,
    )  # fmt: skip
    labels = torch.arange(1000) % 10
    samples = to_uint8(run.load().sample(1000, {"label": labels.float()}))
    read = classifier(open_dataset(run.config.data)).predict(samples)
    assert (read == labels).float().mean() >= 0.9
