"""The kernels as torch operators: registered, traceable, reproducible, once differentiable."""

import functools
import shutil

import gan_zoo_kernels.fused.consistency
import gan_zoo_kernels.fused.cross_entropy
import gan_zoo_kernels.fused.gaussian_nll
import gan_zoo_kernels.fused.q_head_nll
import gan_zoo_kernels.fused.random_warp
import gan_zoo_kernels.fused.sample_latents  # noqa: F401 (these register the operators)
import pytest
import torch
from gan_zoo_kernels import (
    Layout,
    cross_entropy,
    gaussian_nll,
    q_head_nll,
    sample_latents,
)
from gan_zoo_kernels.fused.launches import count_launches

LATENTS = Layout("noise(normal):6|categorical:10|uniform:1x2")
Q_HEAD = Layout("categorical:10|gaussian:2x2")


def information_term(parameters, implementation="triton"):
    _, c = sample_latents(
        LATENTS, parameters.shape[0], seed=1, step=2, device=parameters.device, implementation=implementation
    )
    nll = q_head_nll(parameters, c, Q_HEAD, implementation=implementation).sum()
    nll = nll + cross_entropy(parameters[:, :10], c[:, 0].long(), implementation=implementation)
    return nll + gaussian_nll(parameters[:, 10], parameters[:, 11], c[:, 1], implementation=implementation)


def cases(device):
    p, c = torch.randn(8, 14, device=device), torch.zeros(8, 3, device=device)
    label, one = torch.zeros(8, dtype=torch.int64, device=device), torch.ones((), device=device)
    return {
        "q_head_nll": (p, c, Q_HEAD.spec, -8.0, 8.0),
        "q_head_nll_backward": (torch.ones(3, device=device), p, c, Q_HEAD.spec, -8.0, 8.0),
        "cross_entropy": (p.half(), label, "mean", None),
        "cross_entropy_backward": (torch.ones(8, device=device), one, one, p, label, "none", 3),
        "gaussian_nll": (p, p.bfloat16(), p, "none", -8.0, 8.0),
        "gaussian_nll_backward": (one, p, p.half(), p, "mean", -8.0, 8.0, [1, 0, 2]),
        "consistency": (p, p[:5].half(), None, Q_HEAD.spec, 4.0),
        "consistency_backward": (one, p, p[:5].half(), torch.ones(10, device=device), p[0, :10], Q_HEAD.spec, 4.0),
        "random_warp": (p.view(8, 1, 7, 2), None, p[:, :2], [0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        "sample_latents": ("noise(normal):5|categorical:3", 4, 1, 2, None, 0, 0, device, torch.float32),
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


def test_compiled_by_default_a_second_batch_size_compiles_once_more_and_a_third_does_not(device):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(information_term, fullgraph=True, backend=backend)
    counts = []
    for batch in (8, 9, 40, 128):
        p = torch.randn(batch, 14, device=device, requires_grad=True)
        assert torch.equal(compiled(p), information_term(p))
        counts.append(len(graphs))
    assert counts == [1, 2, 2, 2]


def test_compiled_through_aot_autograd(device):
    torch._dynamo.reset()
    compiled = torch.compile(information_term, fullgraph=True, backend="aot_eager")
    p = torch.randn(8, 14, device=device, requires_grad=True)
    value, expected = compiled(p), information_term(p)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, p)[0] for v in (value, expected)))


@pytest.mark.parametrize("environment", ["triton", "reference", "auto"])
def test_compiled_with_the_implementation_unset(environment, device, monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", environment)
    torch._dynamo.reset()
    term = functools.partial(information_term, implementation=None)
    p = torch.randn(8, 14, device=device, requires_grad=True)
    value, expected = torch.compile(term, fullgraph=True, backend="aot_eager")(p), term(p)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, p)[0] for v in (value, expected)))


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler")
def test_compiled_by_the_default_backend(device):
    torch._dynamo.reset()
    compiled = torch.compile(information_term, fullgraph=True)
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


def calls(device):
    """Each function at a size whose sums take two launches, with its inputs; those that require it get gradients."""
    p = torch.randn(1000, 14, device=device, requires_grad=True)
    c = sample_latents(LATENTS, 1000, seed=1, step=2, implementation="reference")[1].to(device)
    a, b, target = (torch.randn(100, 70, device=device, requires_grad=True) for _ in range(3))
    row = torch.randn(70, device=device, requires_grad=True)
    label, step = c[:, 0].long(), torch.tensor(5, device=device)
    fused = {"implementation": "triton"}
    found = {
        "q_head_nll": (lambda p, c: q_head_nll(p, c, Q_HEAD, **fused), (p, c)),
        "sample_latents": (
            lambda step: sample_latents(LATENTS, 100, seed=1, step=step, device=device, **fused),
            (step,),
        ),
    }
    for reduction in ("mean", "sum", "none"):
        found[f"cross_entropy {reduction}"] = (
            lambda p, label, r=reduction: cross_entropy(p, label, r, ignore_index=3, **fused),
            (p, label),
        )
        for shape, log_var in (("", b), (" of a row", row)):
            found[f"gaussian_nll {reduction}{shape}"] = (
                lambda a, s, target, r=reduction: gaussian_nll(a, s, target, r, **fused),
                (a, log_var, target),
            )
    return found


@pytest.mark.parametrize("name", list(calls(torch.device("cpu"))))
def test_reruns_are_bit_equal_and_inputs_stay(name, device):
    function, inputs = calls(device)[name]
    before = [t.detach().clone() for t in inputs]
    wanted = [t for t in inputs if t.requires_grad]
    results = []
    for _ in range(2):
        values = function(*inputs)
        values = values if isinstance(values, tuple) else (values,)
        gradients = torch.autograd.grad(values[0], wanted, torch.ones_like(values[0])) if wanted else ()
        results.append([*values, *gradients])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(torch.equal(t, old) for t, old in zip(inputs, before, strict=True))


def test_launches_are_counted_by_every_block_they_are_in(device):
    p, c = torch.randn(8, 14, device=device), torch.zeros(8, 3, device=device)
    with count_launches() as outer:
        with count_launches() as inner:
            q_head_nll(p, c, Q_HEAD, implementation="triton")
        q_head_nll(p, c, Q_HEAD, implementation="triton")
        with count_launches() as later:
            pass
        q_head_nll(p, c, Q_HEAD, implementation="triton")
    q_head_nll(p, c, Q_HEAD, implementation="triton")
    assert [len(names) for names in (outer, inner, later)] == [3, 1, 0]


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
