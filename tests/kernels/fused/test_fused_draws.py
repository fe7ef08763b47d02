"""A step's random numbers on the kernel: those of the reference, in one launch for a whole policy of augmentation."""

import pytest
import torch
from gan_zoo_kernels.fused.launches import count_launches

from gan_zoo.data.augment import AMOUNTS, parse_augment
from gan_zoo.draws import Draws

EVERYTHING = parse_augment(", ".join(AMOUNTS))


def drawn(step, device):
    random = Draws(3, step, first_row=5, device=device)
    mixed = random.mixed(9, normals=32, uniforms=((-0.3, 0.3), (0.0, 1.0)))
    return [random.uniform(9, 2), random.normal(9, 3), *mixed, random.integers(9, 6)]


def test_the_kernel_draws_what_the_reference_draws_on_a_cpu(device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    found = drawn(torch.tensor(2, device=device), device)
    monkeypatch.setenv("GAN_ZOO_KERNELS", "reference")
    for a, b in zip(found, drawn(2, "cpu"), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=2e-7, atol=0)


def test_a_policy_draws_in_one_launch(device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    images = torch.rand(4, 3, 12, 12, device=device)
    with count_launches() as names:
        EVERYTHING(images, Draws(0, 1, device=device))
    assert names == ["sample_latents_kernel", "random_warp_kernel"]


@pytest.mark.gpu
def test_a_captured_graph_augments_anew_when_its_step_is_advanced():
    images, step = torch.rand(4, 3, 12, 12, device="cuda"), torch.tensor(0, device="cuda")
    for _ in range(3):  # what is compiled at first use must not be captured
        EVERYTHING(images, Draws(0, step, device="cuda"))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        seen = EVERYTHING(images, Draws(0, step, device="cuda"))
        step += 1
    for done in range(3):
        graph.replay()
        torch.testing.assert_close(seen, EVERYTHING(images, Draws(0, done, device="cuda")), rtol=0, atol=1e-5)
