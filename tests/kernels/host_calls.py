"""Count what a call of each function does on the host, and compare direct launches with ordinary ones; print JSON.

Run by test_host_work.py in a process of its own, without the interpreter and without a GPU: the kernels are compiled
for one, and a driver that launches nothing stands where Triton's does.
"""

import contextlib
import json
import sys

import torch
import triton
import triton.language as tl
from gan_zoo_kernels import (
    Layout,
    QHeadTensors,
    WarpSteps,
    adam_step,
    binary_cross_entropy,
    consistency,
    cross_entropy,
    dispatch,
    gaussian_nll,
    information_term,
    q_head_nll,
    random_warp,
    sample_latents,
)
from gan_zoo_kernels.fused import launches
from triton.backends.compiler import GPUTarget

Q_HEAD = Layout("categorical:10|gaussian:2x2")
PRIOR = Layout("noise(normal):62|categorical:10|uniform:1x2")


class Launcher:
    """Keeps which compiled kernel was launched last, and with what."""

    last = None

    def __init__(self, source, metadata):
        self.source = source

    def __call__(self, *arguments):
        Launcher.last = (self.source, arguments)


class Driver:
    """Triton's driver of an H100 that is not there."""

    launcher_cls = Launcher

    @property
    def utils(self):
        return self

    def load_binary(self, *_):
        return 0, 0, 0, 0, 1024

    def get_device_properties(self, _):
        return {"max_shared_mem": 2**17}

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, _):
        return 0


def functions_called(call):
    """The names of the functions that a later call calls: those of Python, and operators of ours."""
    names = []

    def profile(frame, event, argument):
        if event == "call":
            names.append(frame.f_code.co_qualname)
        elif event == "c_call" and "gan_zoo_kernels" in str(argument):
            names.append("operator")

    call()
    call()
    sys.setprofile(profile)
    call()
    sys.setprofile(None)
    return names


def calls_of_functions():
    label, step, one = torch.zeros(128, dtype=torch.int64), torch.zeros((), dtype=torch.int64), torch.ones(())
    p, a, b = (torch.zeros(128, n, requires_grad=True) for n in (14, 2, 2))
    c, ones = torch.zeros(128, 3), torch.ones(3)
    images, steps = torch.zeros(8, 1, 28, 28), WarpSteps(scale=True, shift=True, elastic=0.05)
    draws = torch.zeros(8, steps.normals), torch.zeros(8, steps.values)
    h, w1, w2 = torch.zeros(128, 64), torch.zeros(32, 64, requires_grad=True), torch.zeros(14, 32)
    units = (torch.ones(32), torch.zeros(32), torch.zeros(32), torch.ones(32))
    head = QHeadTensors(w1, *units, w2, torch.zeros(14), torch.ones(3))
    weights = [torch.zeros(128, 64) for _ in range(5)]
    fused = {"implementation": "triton"}
    calls = {
        "adam_step": (lambda: adam_step(*weights, one, one, **fused), [], None),
        "binary_cross_entropy": (lambda: binary_cross_entropy(ones=a, zeros=b[:, :1], **fused), [a, b], one),
        "consistency": (lambda: consistency(p, p[:100], Q_HEAD, spread=4.0, **fused), [p], one),
        "information_term": (lambda: information_term(h, head, c, Q_HEAD, ones, ones, **fused)[0], [w1], one),
        "random_warp": (lambda: random_warp(images, *draws, steps, **fused), [], None),
        "cross_entropy": (lambda: cross_entropy(p, label, **fused), [p], one),
        "gaussian_nll": (lambda: gaussian_nll(a, b, b, **fused), [a, b], one),
        "q_head_nll": (lambda: q_head_nll(p, c, Q_HEAD, **fused), [p], ones),
        "sample_latents": (lambda: sample_latents(PRIOR, 128, seed=1, step=step, **fused), [], None),
    }
    both = {name: lambda call=call, i=i, g=g: torch.autograd.grad(call(), i, g) for name, (call, i, g) in calls.items()}
    return {
        name: [functions_called(call), functions_called(both[name]) if i else []]
        for name, (call, i, _) in calls.items()
    }


@triton.jit(do_not_specialize=["free"])
def probe(x, y, n, free, factor, scale: tl.constexpr, pair: tl.constexpr):
    tl.store(x, (tl.load(y) + n + free * factor + scale + pair[1]).to(x.dtype.element_ty))


def variants():
    """Whether a launch, the second of its key, runs the compiled kernel that Triton would have chosen for it."""
    x, y = torch.zeros(64), torch.zeros(64)
    base = {"x": x, "y": y, "n": 32, "free": 5, "factor": 2.0, "scale": 3, "pair": (1, 2), "num_warps": 4}
    changes = {
        "nothing": {},
        "dtype": {"y": y.half()},
        "alignment": {"y": y[1:]},
        "alignment of the first": {"x": x[2:]},
        "one": {"n": 1},
        "odd": {"n": 33},
        "wide": {"n": 2**40},
        "wide and odd": {"n": 2**40 + 1},
        "the least int32": {"n": -(2**31)},
        "less": {"n": -(2**31) - 16},
        "free is wide": {"free": 2**31},
        "free is the largest": {"free": 2**31 - 1},
        "constant": {"scale": 4},
        "tuple": {"pair": (1, 3)},
        "warps": {"num_warps": 8},
    }
    same = {}
    for name, change in changes.items():
        x, y, n, free, factor, *constants = {**base, **change}.values()
        constants = dict(zip(("scale", "pair", "num_warps"), constants, strict=True))
        found = []
        for _ in range(2):
            launches.launch(probe, 2, x, x, y, n, free, factor, **constants)
            found.append(Launcher.last)
        probe[(2,)](x, y, n, free, factor, **launches.OPTIONS, **constants)
        found.append(Launcher.last)
        grids = [arguments[:3] for _, arguments in found]
        runtime = [[getattr(a, "data_ptr", lambda a=a: a)() for a in arguments[9:14]] for _, arguments in found]
        # n = 1 is compiled in: an ordinary launch passes it, and so does a direct one
        same[name] = found[0][0] is found[1][0] is found[2][0] and len({*map(str, grids)}) == len({*map(str, runtime)})
    return same


def main():
    triton.runtime.driver.set_active(Driver())
    dispatch.interpreting = lambda: True  # so that tensors on a CPU may stand for those on a device
    with contextlib.redirect_stdout(sys.stderr):
        result = {"calls": calls_of_functions(), "variants": variants()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
