"""The kernels as torch operators: registered, traceable, reproducible, once differentiable."""

import gan_zoo_kernels.fused.cross_entropy
import gan_zoo_kernels.fused.gaussian_nll
import gan_zoo_kernels.fused.q_head_nll
import gan_zoo_kernels.fused.sample_latents  # noqa: F401 (these register the operators)
import pytest
import torch
from gan_zoo_kernels import (
    Layout,
    PriorCode,
    PriorLayout,
    cross_entropy,
    gaussian_nll,
    q_head_nll,
    sample_latents,
)

LATENTS = PriorLayout(6, "normal", (PriorCode("categorical", size=10), PriorCode("uniform"), PriorCode("uniform")))
Q_HEAD = Layout.of(("categorical", 10), ("gaussian", 2))
SEGMENTS = [int(n) for s in Q_HEAD.segments for n in (s.kind, s.start, s.size)]


def information_term(parameters):
    _, c = sample_latents(
        LATENTS, parameters.shape[0], seed=1, step=2, device=parameters.device, implementation="triton"
    )
    nll = q_head_nll(parameters, c, Q_HEAD, implementation="triton").sum()
    nll = nll + cross_entropy(parameters[:, :10], c[:, 0].long(), implementation="triton")
    return nll + gaussian_nll(parameters[:, 10], parameters[:, 11], c[:, 1], implementation="triton")


def cases(device):
    p, c = torch.randn(8, 14, device=device), torch.zeros(8, 3, device=device)
    label, one = torch.zeros(8, dtype=torch.int64, device=device), torch.ones((), device=device)
    return {
        "q_head_nll": (p, c, SEGMENTS, -8.0, 8.0),
        "q_head_nll_backward": (torch.ones(3, device=device), p, c, SEGMENTS, -8.0, 8.0),
        "cross_entropy": (p.half(), label, "mean", None),
        "cross_entropy_backward": (torch.ones(8, device=device), one, p, label, "none", 3),
        "gaussian_nll": (p, p.bfloat16(), p, "none", -8.0, 8.0),
        "gaussian_nll_backward": (one, p, p.half(), p, "mean", -8.0, 8.0, [1, 0, 2]),
        "sample_latents": ([5, 1, 3], [-1.0, 1.0, 0.5], [0], 4, 1, 2, None, 0, 0, device, torch.float32),
    }


@pytest.mark.parametrize("name", list(cases(torch.device("cpu"))))
def test_opcheck(name, device):
    results = torch.library.opcheck(getattr(torch.ops.gan_zoo_kernels, name).default, cases(device)[name])
    assert set(results.values()) == {"SUCCESS"}


def test_compiled_whole_and_once_for_all_batches(device):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(information_term, fullgraph=True, dynamic=True, backend=backend)
    for batch in (8, 9, 40):
        p = torch.randn(batch, 14, device=device, requires_grad=True)
        value, expected = compiled(p), information_term(p)
        assert torch.equal(value, expected)
        assert torch.equal(*(torch.autograd.grad(v, p)[0] for v in (value, expected)))
    assert len(graphs) == 1


def test_compiled_through_aot_autograd(device):
    torch._dynamo.reset()
    compiled = torch.compile(information_term, fullgraph=True, backend="aot_eager")
    p = torch.randn(8, 14, device=device, requires_grad=True)
    value, expected = compiled(p), information_term(p)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, p)[0] for v in (value, expected)))


def test_exported_with_any_batch(device):
    class Term(torch.nn.Module):
        def forward(self, parameters):
            return information_term(parameters)

    batch = torch.export.Dim("batch", max=4096)
    example = torch.randn(8, 14, device=device)
    program = torch.export.export(Term(), (example,), dynamic_shapes=({0: batch},))
    operators = [str(node.target) for node in program.graph.nodes if "gan_zoo_kernels" in str(node.target)]
    assert len(operators) == 4
    p = torch.randn(21, 14, device=device)
    torch.testing.assert_close(program.module()(p), information_term(p))


def test_reruns_are_bit_equal_and_inputs_stay(device):
    p = torch.randn(1000, 14, device=device, requires_grad=True)
    c = sample_latents(LATENTS, 1000, seed=1, step=2, implementation="reference")[1].to(device)
    before = p.detach().clone(), c.clone()
    first, second = (q_head_nll(p, c, Q_HEAD, implementation="triton") for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(*(torch.autograd.grad(nll.sum(), p)[0] for nll in (first, second)))
    assert torch.equal(p, before[0])
    assert torch.equal(c, before[1])


def test_double_backward_says_what_to_do(device):
    p = torch.randn(4, 14, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(information_term(p), p, create_graph=True)
    with pytest.raises(RuntimeError, match="implementation='reference' for double backward"):
        gradient.square().sum().backward()


def test_nan_is_not_hidden(device):
    p = torch.zeros(4, 14, device=device)
    p[1, 3], p[2, 10], p[3, 13] = float("nan"), float("nan"), float("nan")
    c = torch.zeros(4, 3, device=device)
    assert q_head_nll(p, c, Q_HEAD, implementation="triton").isnan().all()
    assert cross_entropy(p[:, :10], c[:, 0].long(), "none", implementation="triton").isnan().sum() == 1
    assert gaussian_nll(p[:, 12], p[:, 13], c[:, 0], "none", implementation="triton").isnan().sum() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graph(device):
    p = torch.randn(128, 14, device=device, requires_grad=True)
    step = torch.zeros((), dtype=torch.int64, device=device)

    def once():
        drawn = sample_latents(LATENTS, 128, seed=1, step=step, device=device)
        return drawn, torch.autograd.grad(q_head_nll(p, drawn[1], Q_HEAD).sum(), p)[0]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        once()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (latents, _), gradient = once()
    for i in (3, 4):
        step.fill_(i)
        graph.replay()
        expected = sample_latents(LATENTS, 128, seed=1, step=i, device=device)
        assert torch.equal(latents, expected[0])
        nll = q_head_nll(p, expected[1], Q_HEAD).sum()
        assert torch.equal(gradient, torch.autograd.grad(nll, p)[0])
