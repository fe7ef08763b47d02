"""InfoGAN's two objectives through the fused information term and through its definition."""

from dataclasses import replace

import pytest
import torch
from gan_zoo_kernels.fused.launches import count_launches
from narrow import MIX, Game

from gan_zoo.models.infogan.model import InfoGAN

FUSED = ["hidden_kernel", "likelihood_kernel", "hidden_backward_kernel", "outer_backward_kernel"]


def play(device, **settings):
    """Terms, metrics, gradients and Q's buffers of one pass of each objective; and the names of the launches."""
    settings = {"infogan__codes": MIX, "infogan__variance": "learned", "training__batch_size": 16} | settings
    game = Game("infogan", device, trunk__name="mlp", **settings)
    model = game.model
    assert isinstance(model, InfoGAN)
    tensors = game.tensors()
    fake = model.generator(tensors.latents.input)
    found, names = {}, []
    for player in ("discriminator", "generator"):
        judged = model.discriminator(fake.detach() if player == "discriminator" else fake)
        with count_launches() as launched:
            if player == "discriminator":
                objective = model.discriminator_objective(replace(tensors, real=judged, fake=judged))
                objective.loss.backward()
            else:
                with game.state.optimizers["discriminator"].frozen():
                    judged = model.discriminator(fake)
                    objective = model.generator_objective(replace(tensors, real=judged.detached, fake=judged))
                objective.loss.backward()
        names.append([name for name in launched if not name.startswith(("batch_norm", "binary_cross_entropy"))])
        found |= {name: term.detach() for name, term in objective.terms.items()} | objective.metrics
        found |= {f"{player}: {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
    found |= {f"buffer {name}": buffer for name, buffer in model.q.named_buffers()}
    return found, names


@pytest.mark.parametrize("trains", ["generator+q+trunk", "generator+q", "q"])
@pytest.mark.parametrize("prior", ["uniform", "learned"])
def test_the_fused_term_is_the_formula(trains, prior, device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "reference")
    settings = {"infogan__trains": trains, "infogan__prior": prior}
    plain, none = play(device, **settings)
    assert none == [[], []]
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    fused, (in_discriminator_step, in_generator_step) = play(device, **settings)
    assert in_discriminator_step[-4:] == FUSED or in_discriminator_step == FUSED
    if prior == "uniform":
        assert in_generator_step == ([] if trains == "q" else FUSED)
    assert fused.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(fused[name], value, rtol=2e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_what_does_not_fit_takes_the_formula(device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    for settings in ({"infogan__head_norm": "layer"}, {"infogan__codes": "categorical:129"}):
        _, names = play(device, **settings)
        assert not set(FUSED) & set(names[0] + names[1])
        assert "q_head_nll_forward_kernel" in names[0]
