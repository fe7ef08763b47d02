"""The reference against torch's own functions, published vectors and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from gan_zoo_kernels import (
    Layout,
    cross_entropy,
    gaussian_nll,
    q_head_nll,
    sample_latents,
)
from gan_zoo_kernels.reference import _normal_pairs, philox_4x32

CODES = Layout("categorical:5|gaussian:2x2|gaussian:1|bernoulli:1|categorical:3")


def q_head_inputs(batch, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(batch, CODES.width, generator=generator, dtype=dtype)
    targets = torch.randn(batch, 6, generator=generator, dtype=dtype)
    targets[:, 0] = torch.randint(5, (batch,), generator=generator)
    targets[:, 4] = torch.randint(2, (batch,), generator=generator)
    targets[:, 5] = torch.randint(3, (batch,), generator=generator)
    return parameters.requires_grad_(), targets


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gaussian_nll_is_torchs_with_its_constant(reduction):
    mean, log_var, target = torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = gaussian_nll(mean, log_var, target, reduction)
    torchs = F.gaussian_nll_loss(mean, target, log_var.exp(), full=True, reduction=reduction)
    torch.testing.assert_close(ours, torchs)
    fixed = gaussian_nll(mean, None, target, reduction)
    torch.testing.assert_close(fixed, gaussian_nll(mean, torch.zeros(()), target, reduction))


def test_gaussian_nll_takes_one_log_var_a_row_as_torch_does():
    mean, target = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(2))
    log_var = torch.linspace(-1, 1, 4)
    torchs = F.gaussian_nll_loss(mean, target, log_var.exp(), full=True, reduction="none")
    torch.testing.assert_close(gaussian_nll(mean, log_var, target, "none"), torchs)


def test_log_var_has_no_gradient_outside_its_bounds():
    log_var = torch.tensor([-9.0, -8.0, 0.0, 8.0, 9.0], requires_grad=True)
    gaussian_nll(torch.zeros(5), log_var, torch.ones(5), "sum").backward()
    assert (log_var.grad != 0).tolist() == [False, True, False, True, False]  # at 0 it is ½(1 - 1)
    with pytest.raises(ValueError, match="min < max"):
        gaussian_nll(torch.zeros(5), log_var, torch.ones(5), log_var_min=1.0, log_var_max=0.0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_torchs(reduction):
    logits = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    target = torch.arange(12).view(3, 4) % 6
    torchs = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction=reduction, ignore_index=2)
    torch.testing.assert_close(
        cross_entropy(logits, target, reduction, ignore_index=2),
        torchs.view_as(target) if reduction == "none" else torchs,
    )
    with pytest.raises(RuntimeError):
        cross_entropy(logits, target - 100)  # torch would ignore -100 unasked


def test_q_head_nll_is_the_sum_of_its_codes():
    p, c = q_head_inputs(9)
    expected = [
        F.cross_entropy(p[:, :5], c[:, 0].long()),
        gaussian_nll(p[:, 5], p[:, 6], c[:, 1]),
        gaussian_nll(p[:, 7], p[:, 8], c[:, 2]),
        gaussian_nll(p[:, 9], None, c[:, 3]),
        F.binary_cross_entropy_with_logits(p[:, 10], c[:, 4]),
        F.cross_entropy(p[:, 11:], c[:, 5].long()),
    ]
    torch.testing.assert_close(q_head_nll(p, c, CODES), torch.stack(expected))
    half = q_head_nll(p.to(torch.bfloat16), c.float(), CODES)
    assert (half.dtype, half.shape) == (torch.float32, (6,))


def test_gradients_of_both_orders():
    p, c = q_head_inputs(3)
    assert torch.autograd.gradcheck(lambda p: q_head_nll(p, c, CODES), p)
    assert torch.autograd.gradgradcheck(lambda p: q_head_nll(p, c, CODES), p)
    gaussian = tuple(torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True).unbind(0))
    assert torch.autograd.gradcheck(gaussian_nll, gaussian)
    assert torch.autograd.gradgradcheck(gaussian_nll, gaussian)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([0, 2, -1, 1])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, label, ignore_index=-1), logits)
    assert torch.autograd.gradgradcheck(lambda x: cross_entropy(x, label, ignore_index=-1), logits)


@pytest.mark.parametrize(
    ("counter", "seed", "expected"),
    [  # the known answers of philox4x32-10 that its authors publish with Random123
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, seed, expected):
    assert tuple(philox_4x32(torch.tensor(counter).view(4, 1), seed).flatten().tolist()) == expected


MIXED_CODES = "categorical:10|uniform(-2,3):1|gaussian:1|bernoulli(0.25):1|categorical:3"
MIXED = Layout(f"noise(normal):5|{MIXED_CODES}")


def test_latents_have_the_distributions_they_name():
    n = 20_000
    x, c = sample_latents(MIXED, n, seed=7, step=3)
    assert (x.shape, c.shape) == ((n, 5 + 10 + 1 + 1 + 1 + 3), (n, 5))
    for normal in (*x[:, :5].unbind(1), c[:, 2]):
        assert abs(normal.mean()) < 5 / math.sqrt(n)
        assert abs(normal.var() - 1) < 5 * math.sqrt(2 / n)
        assert abs((normal.abs() < 0.6744898).float().mean() - 0.5) < 5 * 0.5 / math.sqrt(n)
    shares = torch.bincount(c[:, 0].long(), minlength=10) / n
    assert (shares - 0.1).abs().max() < 5 * math.sqrt(0.09 / n)
    assert abs(c[:, 1].mean() - 0.5) < 5 * 5 / math.sqrt(12 * n)
    assert -2 <= c[:, 1].min() < c[:, 1].max() <= 3
    assert abs(c[:, 3].mean() - 0.25) < 5 * math.sqrt(0.1875 / n)
    correlation = torch.corrcoef(torch.cat((x[:, :5], c), 1).T) - torch.eye(10)
    assert correlation.abs().max() < 5 / math.sqrt(n)
    assert torch.equal(x[:, 5:15].argmax(1), c[:, 0].long())
    assert torch.equal(x[:, 5:15].sum(1), torch.ones(n))
    assert torch.equal(x[:, 15:18], c[:, 1:4])


def test_normals_are_those_of_the_formula_in_float64():
    words = torch.randint(0, 2**32, (200_000, 2), generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([0, 1, 2**32 - 1, 2**32 - 2, 2**31, 3_037_000_499, 3_037_000_500, 2**24 - 1, 2**32 - 100])
    octants = torch.tensor([k * 2**29 + off for k in range(8) for off in (0, 1, 2**29 - 1)])
    words[: len(edges), 0], words[: len(octants), 1] = edges, octants
    u = (words.double() + 0.5) / 2**32
    radius, angle = (-2 * u[:, 0].log()).sqrt(), 2 * math.pi * u[:, 1]
    exact = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
    error = (_normal_pairs(words).double() - exact).abs() / (exact.abs() * 2.0**-23)
    assert error.max() < 8
    assert error.median() < 0.5
    assert exact.abs().max() > 6.5  # the smallest word is among them


def test_latents_depend_on_the_global_row_and_on_nothing_else():
    def draw(batch=8, first_row=0, **key):
        return sample_latents(MIXED, batch, **{"seed": 1, "step": 2, **key}, first_row=first_row)

    whole = draw()
    for i in (0, 1):
        assert torch.equal(torch.cat((draw(3)[i], draw(5, 3)[i])), whole[i])
        for other in ({"seed": 2}, {"seed": 1 + 2**32}, {"step": 3}, {"stream": 1}, {"first_row": 8}):
            assert not torch.equal(draw(**other)[i], whole[i])
        assert torch.equal(draw(step=torch.tensor(2))[i], whole[i])
    more_noise = Layout(f"noise(uniform):62|{MIXED_CODES}")
    assert torch.equal(sample_latents(more_noise, 8, seed=1, step=2)[1], whole[1])


def test_latents_of_a_known_seed_stay_what_they_are():
    # Computed once by this function; a change here breaks the resuming of every run made before it.
    x, c = sample_latents(Layout("noise(normal):2|categorical:10|uniform(-2,3):1"), 1, seed=0, step=0)
    assert [round(value, 4) for value in x[0, :2].tolist()] == [0.9911, -0.9247]
    assert [round(value, 4) for value in c[0].tolist()] == [6, 0.9099]


def test_empty_batches():
    x, c = sample_latents(MIXED, 0, seed=1, step=2)
    assert (x.shape, c.shape) == ((0, MIXED.width), (0, 5))
    p, c = q_head_inputs(0, torch.float32)
    assert q_head_nll(p, c, CODES).isnan().all()
    assert cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "sum") == 0


def test_boundary_errors_name_the_values():
    p, c = q_head_inputs(4, torch.float32)
    with pytest.raises(ValueError, match=r"\[B, 14\] for this layout, not \[4, 13\]"):
        q_head_nll(p[:, :13], c, CODES)
    with pytest.raises(ValueError, match=r"\[4, 6\], not \[4, 5\]"):
        q_head_nll(p, c[:, :5], CODES)
    with pytest.raises(TypeError, match=r"float32, not torch\.float16"):
        q_head_nll(p, c.half(), CODES)
    with pytest.raises(TypeError, match=r"integer dtype, not torch\.float32"):
        cross_entropy(p, c[:, 0])
    with pytest.raises(ValueError, match=r"mean \[4, 14\], target \[4, 6\]"):
        gaussian_nll(p, None, c)
    with pytest.raises(ValueError, match="'total'"):
        gaussian_nll(p, None, p, "total")
    with pytest.raises(ValueError, match="seed must be 0 to"):
        sample_latents(MIXED, 1, seed=-1, step=0)
