"""Compile what the table leaves out, for one architecture: run by test_compiled.py in a process of its own.

Layouts of one kind, views, label dtypes, unaligned pointers, a step on the device: variants in which the
compiler may refuse what the interpreter accepts.
"""

import tempfile

import torch
import triton
from gan_zoo_kernels import Layout
from gan_zoo_kernels.fused import cross_entropy, gaussian_nll, q_head_nll, sample_latents

from benchmarks.kernels_compiled import compile_case


class Variant:
    """Looks like a case of the table."""

    dtype, stack, most_registers = "mixed", 0, 96

    def __init__(self, kernel, shape, run):
        self.kernel, self.shape, self.run, self.loads = kernel, shape, run, {}


def variants():
    specs = ["categorical:2", "gaussian:2x2", "gaussian:1x2", "bernoulli:1x2", "bernoulli:1|gaussian:1"]
    specs += ["gaussian:2|bernoulli:1|categorical:3", "bernoulli:1|categorical:3"]
    for layout in map(Layout, specs):
        n = layout.spec
        codes = len(layout.columns)
        for batch, p in (
            (1, torch.zeros(1, layout.width)),
            (40, torch.zeros(40, 3 * layout.width + 1)[:, 1::3].half()),
        ):
            c = torch.zeros(codes, batch).t()
            yield Variant("q", f"{n}", lambda p=p, c=c, n=n: q_head_nll.forward(p, c, n, -8.0, 8.0))
            g = torch.ones(()).expand(codes)
            yield Variant("q", f"{n}", lambda p=p, c=c, n=n, g=g: q_head_nll.backward(g, p, c, n, -8.0, 8.0))

    codes = ["categorical:3", "uniform:1", "gaussian:1", "bernoulli:1"]
    priors = [f"noise(normal):{noise}|{code}x2" for noise in (0, 5) for code in codes]
    priors += ["|".join(codes[1:]), "noise(normal):600", "|".join(["noise(uniform):3", *codes])]
    for i, spec in enumerate(priors):
        step = torch.tensor(3) if i % 2 else None
        yield Variant(
            "latents",
            spec,
            lambda n=spec, s=step: sample_latents.draw(
                n, 7, 2**40, 2**32 - 1, s, 1, 2**31, torch.device("cpu"), torch.bfloat16
            ),
        )

    for integer in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        x, y = torch.zeros(9, 40)[:, 1:12], torch.zeros(30, dtype=integer)[1:28:3]
        one = torch.ones(())
        yield Variant("ce", f"{integer}", lambda x=x, y=y: cross_entropy.forward(x, y, "sum", -100))
        yield Variant("ce", f"{integer}", lambda x=x, y=y, g=one: cross_entropy.backward(g, g, g, x, y, "sum", -100))
    for integer in (torch.uint8, torch.int64):
        x, y, kept = torch.zeros(9, 18_003).half()[:, 1:], torch.zeros(9, dtype=integer), torch.zeros(9, 2)
        yield Variant("ce", f"long {integer}", lambda x=x, y=y: cross_entropy.forward(x, y, "none", -100))
        yield Variant(
            "ce",
            f"long {integer}",
            lambda x=x, y=y, g=one, k=kept: cross_entropy.backward(g, g, k, x[:, ::2], y, "sum", -100),
        )
    yield Variant("ce", "one row", lambda: cross_entropy.forward(torch.zeros(7), torch.tensor(3), "none", None))
    yield Variant("ce", "1 column", lambda: cross_entropy.forward(torch.zeros(5, 1), torch.zeros(5).long(), "mean", 0))

    a, b, c = torch.zeros(40, 33), torch.zeros(33, 40).t().half(), torch.zeros(33).expand(40, 33).bfloat16()
    for log_var in (None, a):
        for reduction in ("mean", "none"):
            g = torch.ones(40, 33).t().contiguous().t() if reduction == "none" else torch.ones(())
            o = (b, log_var, c, reduction, -8.0, 8.0)
            yield Variant("gaussian", reduction, lambda o=o: gaussian_nll.forward(*o))
            for wanted in ([1, 0, 0], [0, 0, 2], [2, 1 if log_var is not None else 0, 1]):
                yield Variant("gaussian", f"{wanted}", lambda o=o, g=g, w=wanted: gaussian_nll.backward(g, *o, w))
    huge = torch.zeros(1).expand(2**31 + 64)
    yield Variant("gaussian", "2**31 elements", lambda: gaussian_nll.forward(huge, huge, huge, "mean", -8.0, 8.0))


def main():
    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache
        launches = 0
        for variant in variants():
            for line in compile_case(variant, "sm_90"):
                launches += 1
                assert line["spilled_bytes"] == 0, line
    print(launches, "launches compiled")


if __name__ == "__main__":
    main()
