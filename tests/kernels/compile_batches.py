"""Compile every kernel for several batch sizes and print how many variants each made, as JSON.

Run by test_compiled.py in a process of its own, without the interpreter. Inputs are contiguous and aligned.
"""

import collections
import json
import tempfile

import torch
import triton
from gan_zoo_kernels import Layout
from gan_zoo_kernels.fused import cross_entropy, gaussian_nll, q_head_nll, sample_latents
from gan_zoo_kernels.fused.launches import planned_launches
from triton.backends.compiler import GPUTarget

from benchmarks.kernels_compiled import _Driver

BATCHES = (2, 17, 128, 512)
Q_HEAD = Layout("categorical:10|gaussian:2x2")
PRIOR = Layout("noise(normal):62|categorical:10|uniform:1x2")


def calls(batch):
    """One call of each kernel; a row of 16 elements keeps their number a multiple of 16."""
    one, three = torch.ones(()), torch.ones(3)
    p, c, label = torch.zeros(batch, 14), torch.zeros(batch, 3), torch.zeros(batch, dtype=torch.int64)
    a, b, target = (torch.zeros(batch, 16) for _ in range(3))
    q_head_nll.forward(p, c, Q_HEAD.spec, -8.0, 8.0)
    q_head_nll.backward(three, p, c, Q_HEAD.spec, -8.0, 8.0)
    cross_entropy.forward(p, label, "mean", None)
    cross_entropy.backward(one, one, one, p, label, "mean", None)
    gaussian_nll.forward(a, b, target, "none", -8.0, 8.0)
    gaussian_nll.backward(one, a, b, target, "mean", -8.0, 8.0, [1, 1, 0])
    sample_latents.draw(PRIOR.spec, batch, 1, batch, None, 0, 0, torch.device("cpu"), torch.float32)


def main():
    triton.runtime.driver.set_active(_Driver(0, GPUTarget("cuda", 90, 32)))
    compiled = collections.defaultdict(list)  # Triton gives the same object where it compiles nothing
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache
        for batch in BATCHES:
            with planned_launches(32) as launches:
                calls(batch)
            for launch in launches:
                variant = launch.kernel.warmup(*launch.arguments, grid=(launch.programs,), **launch.options)
                compiled[launch.kernel.__name__].append(variant)
    print(json.dumps({name: [len(found), len({id(v) for v in found})] for name, found in compiled.items()}))


if __name__ == "__main__":
    main()
