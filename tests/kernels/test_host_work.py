"""What a call costs the host: copies, calls of functions, microseconds."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from gan_zoo_kernels import (
    Layout,
    QHeadTensors,
    WarpSteps,
    adam_step,
    binary_cross_entropy,
    consistency,
    cross_entropy,
    gaussian_nll,
    information_term,
    q_head_nll,
    random_warp,
    sample_latents,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Q_HEAD = Layout("categorical:10|gaussian:2x2|gaussian:1|bernoulli:1")
CODES = "categorical:10|uniform:1|gaussian:1|bernoulli:1"
EVERY_STEP = WarpSteps(flip=0.5, scale=True, height=True, shear=True, rotate=True, shift=True, elastic=0.05)
ROOT = Path(__file__).resolve().parents[2]
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def reference_calls(device):
    """Every function of the reference, with the tensors that it differentiates in; a call makes no tensor itself."""
    p, c = torch.randn(8, Q_HEAD.width, device=device), torch.zeros(8, 5, device=device)
    label, step = torch.zeros(8, dtype=torch.int64, device=device), torch.zeros((), dtype=torch.int64, device=device)
    a, b = (torch.randn(8, 3, device=device, requires_grad=True) for _ in range(2))
    p.requires_grad_()
    images = torch.zeros(8, 1, 6, 6, device=device)
    draws = torch.zeros(8, EVERY_STEP.normals, device=device), torch.zeros(8, EVERY_STEP.values, device=device)
    h, weight1, weight2 = (torch.randn(*n, device=device) for n in ((8, 6), (4, 6), (Q_HEAD.width, 4)))
    norm, bias2, of_codes = (torch.ones(*n, device=device) for n in ((4, 4), (Q_HEAD.width,), (5,)))
    head = QHeadTensors(weight1.requires_grad_(), *norm, weight2, bias2, of_codes.clone())
    log_prior = torch.zeros(10, device=device)
    weight, gradient, average, square, copy = (torch.ones(4, 3, device=device) for _ in range(5))
    lr, steps = (torch.ones((), device=device) for _ in range(2))
    plain = {"implementation": "reference"}
    calls = {
        "adam_step": (lambda: (adam_step(weight, gradient, average, square, copy, lr, steps, **plain), copy)[1:], []),
        "binary_cross_entropy": (lambda: binary_cross_entropy(ones=a, zeros=b, **plain), [a, b]),
        "q_head_nll": (lambda: q_head_nll(p, c, Q_HEAD, **plain), [p]),
        "gaussian_nll": (lambda: gaussian_nll(a, b, c[:, :3], **plain), [a, b]),
        "gaussian_nll, variance 1": (lambda: gaussian_nll(a, None, b, "sum", **plain), [a, b]),
        "cross_entropy": (lambda: cross_entropy(p, label, **plain), [p]),
        "information_term": (lambda: information_term(h, head, c, Q_HEAD, of_codes, of_codes, **plain)[0], [weight1]),
        "consistency": (lambda: consistency(p, p[:5], Q_HEAD, spread=4.0, log_priors=[log_prior], **plain), [p]),
        "random_warp": (lambda: (random_warp(images, *draws, EVERY_STEP, **plain),), []),
        "cross_entropy, some ignored": (lambda: cross_entropy(p, label, ignore_index=3, **plain), [p]),
    }
    for noise in ("normal", "uniform"):
        layout = Layout(f"noise({noise}):5|{CODES}")
        calls[f"sample_latents, {noise}"] = (
            lambda layout=layout: sample_latents(layout, 8, seed=2**63, step=step, stream=1, device=device, **plain),
            [],
        )
    return calls


CALLS = (
    "adam_step",
    "binary_cross_entropy",
    "q_head_nll",
    "gaussian_nll",
    "gaussian_nll, variance 1",
    "cross_entropy",
    "information_term",
    "consistency",
    "random_warp",
    "cross_entropy, some ignored",
    "sample_latents, normal",
    "sample_latents, uniform",
)


def test_these_are_all_calls():
    assert tuple(reference_calls("meta")) == CALLS


def differentiated(call, inputs):
    outputs = call()
    if not inputs:
        return list(outputs)
    return [outputs, *torch.autograd.grad(outputs.sum(), inputs)]


class HostTensors(TorchDispatchMode):
    """Operators of a block that take or make a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if any(t.device.type == "cpu" for t in tensors):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("name", CALLS)
def test_the_reference_copies_nothing_from_the_host(name, monkeypatch):
    # A meta tensor stands for one on a GPU: it has no value that could be read.
    call, inputs = reference_calls("meta")[name]

    def refuse(*_, **__):
        raise AssertionError("a list of Python numbers is copied to the device")

    for function in ("tensor", "as_tensor", "asarray"):  # a dispatch mode does not see them on a meta device
        monkeypatch.setattr(torch, function, refuse)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # a meta device has none
    with HostTensors() as host:
        differentiated(call, inputs)
    assert host.found == []


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("name", CALLS)
def test_the_reference_is_captured(name):
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):  # on which the leaves' gradients are awaited, too
        call, inputs = reference_calls("cuda")[name]
        expected = differentiated(call, inputs)
        with torch.cuda.graph(graph, stream=stream):
            captured = differentiated(call, inputs)
        graph.replay()
    stream.synchronize()
    assert all(torch.equal(*pair) for pair in zip(captured, expected, strict=True))


@pytest.fixture(scope="module")
def events():
    pytest.importorskip("triton")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    script = Path(__file__).parent / "host_calls.py"
    result = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("name", "forward", "both"),
    [
        ("adam_step", 65, 0),
        ("binary_cross_entropy", 65, 120),
        ("consistency", 65, 120),
        ("cross_entropy", 50, 105),
        ("gaussian_nll", 55, 120),
        ("information_term", 140, 240),
        ("q_head_nll", 50, 105),
        ("random_warp", 40, 0),
        ("sample_latents", 40, 0),
    ],
)
def test_a_later_call_searches_for_nothing(name, forward, both, events):
    once, differentiated = events["calls"][name]
    assert len(once) <= forward
    assert len(differentiated) <= both
    searches = {
        "operator",
        "JITFunction.run",
        "Layout.__post_init__",
        "get_args",
        "_choose",
    }
    assert searches.isdisjoint(once + differentiated)


def test_a_variant_is_looked_up_under_all_that_triton_compiles_for(events):
    """Each pair of launches differs in one respect; direct launches run what an ordinary launch would have run."""
    assert events["variants"] == dict.fromkeys(events["variants"], True)
    assert len(events["variants"]) >= 12


def host_microseconds(call):
    """The median time in which a call returns, while the device is never waited for."""
    times = []
    for _ in range(20):
        call()
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            call()
        times.append((time.perf_counter() - start) / 20 * 1e6)
    return statistics.median(times)


@pytest.mark.gpu
@NEEDS_CUDA
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward and backward"])
def test_a_call_costs_the_host_at_most_twice_what_torchs_cross_entropy_does(backward):
    p = torch.randn(128, 10, device="cuda", requires_grad=True)
    q = torch.randn(128, 14, device="cuda", requires_grad=True)
    a, b, c = torch.randn(128, 2, device="cuda"), torch.randn(128, 2, device="cuda"), torch.zeros(128, 3, device="cuda")
    a.requires_grad_(), b.requires_grad_()
    label, step = torch.zeros(128, dtype=torch.int64, device="cuda"), torch.zeros((), dtype=torch.int64, device="cuda")
    layout, prior = Layout("categorical:10|gaussian:2x2"), Layout(f"noise(normal):62|{CODES}")
    one, ones = torch.ones((), device="cuda"), torch.ones(3, device="cuda")
    calls = {
        "torch": (lambda: F.cross_entropy(p, label), [p], one),
        "cross_entropy": (lambda: cross_entropy(p, label), [p], one),
        "gaussian_nll": (lambda: gaussian_nll(a, b, c[:, :2]), [a, b], one),
        "q_head_nll": (lambda: q_head_nll(q, c, layout), [q], ones),
        "sample_latents": (lambda: sample_latents(prior, 128, seed=1, step=step, device="cuda"), [], one),
    }
    if backward:
        del calls["sample_latents"]
        calls = {
            name: (lambda call=call, wanted=wanted, g=g: torch.autograd.grad(call(), wanted, g), [], g)
            for name, (call, wanted, g) in calls.items()
        }
    took = {name: host_microseconds(call) for name, (call, *_) in calls.items()}
    assert all(us <= 2 * took["torch"] for us in took.values()), took
