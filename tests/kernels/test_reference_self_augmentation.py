"""The definitions of the warp and of the consistency term against finite differences, and what is refused."""

import pytest
import torch
from gan_zoo_kernels import Layout, WarpSteps, consistency, random_warp
from gan_zoo_kernels.reference_warp import warp

EVERY = WarpSteps(flip=0.5, scale=True, height=True, shear=True, rotate=True, shift=True, elastic=0.05)
LAYOUT = Layout("categorical:4|gaussian:2|categorical:3")


def draws(n, steps=EVERY, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(n, steps.normals, generator=generator)
    return normals, torch.rand(n, steps.values, generator=generator) * 0.6 - 0.3


def test_values_and_normals_are_the_steps_in_order():
    assert (EVERY.values, EVERY.normals) == (7, 32)
    assert (WarpSteps().values, WarpSteps().normals) == (0, 0)
    images = torch.rand(3, 2, 6, 5)
    normals, values = draws(3)
    expected = warp(
        images,
        mirror=values[:, 0] < 0.5,
        factor=values[:, 1].exp(),
        stretch=values[:, 2].exp(),
        slant=values[:, 3],
        angle=values[:, 4],
        offset=values[:, 5:],
        bend=0.05 * normals.view(3, 2, 4, 4),
    )
    assert torch.equal(random_warp(images, normals, values, EVERY), expected)


@pytest.mark.parametrize("shape", [(2, 1, 6, 6), (2, 2, 5, 7)])
def test_the_warp_is_differentiable_twice(shape):
    images = torch.rand(shape, dtype=torch.float64).requires_grad_()
    normals, values = draws(2)

    def warped(images):
        return random_warp(images, normals, values, EVERY).square()

    assert torch.autograd.gradcheck(warped, images)
    assert torch.autograd.gradgradcheck(warped, images)


def test_consistency_is_differentiable_twice():
    sides = [torch.randn(n, LAYOUT.width, dtype=torch.float64).requires_grad_() for n in (5, 3)]
    log_priors = [torch.randn(k, dtype=torch.float64).log_softmax(0) for k in (4, 3)]

    def term(parameters, warped):
        return consistency(parameters, warped, LAYOUT, spread=2.0, log_priors=log_priors)

    assert torch.autograd.gradcheck(term, sides)
    assert torch.autograd.gradgradcheck(term, sides)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": torch.zeros(2, 8, 8)}, ValueError, "images must be .n, c, h, w., not .2, 8, 8."),
        ({"images": torch.zeros(2, 1, 8, 8, dtype=torch.int32)}, TypeError, "images must be .* not torch.int32"),
        ({"normals": None}, ValueError, "normals .2, 32. must be given"),
        ({"values": torch.zeros(2, 6)}, ValueError, "values must be .2, 7., not .2, 6."),
        ({"values": torch.zeros(2, 7).half()}, TypeError, "values must be float32, not torch.float16"),
        ({"normals": torch.zeros(2, 32, device="meta")}, ValueError, "images are on cpu, normals on meta"),
    ],
)
def test_a_warp_is_refused(change, error, words):
    normals, values = draws(2)
    arguments = {"images": torch.zeros(2, 1, 8, 8), "normals": normals, "values": values, "steps": EVERY} | change
    with pytest.raises(error, match=words):
        random_warp(**arguments)


@pytest.mark.parametrize("amounts", [{"flip": -0.1}, {"elastic": float("nan")}])
def test_amounts_are_refused(amounts):
    with pytest.raises(ValueError, match="finite number of at least 0"):
        WarpSteps(**amounts)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"warped": torch.zeros(5, 9)}, ValueError, r"must be \[n, 9\] and \[m ≤ n, 9\], not \[4, 9\] and \[5, 9\]"),
        ({"parameters": torch.zeros(4, 8)}, ValueError, r"not \[4, 8\]"),
        ({"parameters": torch.zeros(4, 9).long()}, TypeError, "parameters must be"),
        ({"warped": torch.zeros(3, 9, device="meta")}, ValueError, "warped on meta"),
        ({"log_priors": [torch.zeros(4)]}, ValueError, r"log_priors must have \[4, 3\] values"),
    ],
)
def test_a_consistency_term_is_refused(change, error, words):
    arguments = {"parameters": torch.zeros(4, 9), "warped": torch.zeros(3, 9), "layout": LAYOUT, "spread": 1.0}
    with pytest.raises(error, match=words):
        consistency(**(arguments | change))
