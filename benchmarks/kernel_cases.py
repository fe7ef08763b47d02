"""The calls that the kernel table is about: shapes and dtypes that choose different tiles and code paths.

A case is a function without arguments that makes one launch of the kernel it is named after (and the second
launch of a reduction), its inputs and outputs, from which the floor of its traffic follows, and the width of
the loads that its shape allows for each large input. Labels, targets of a Q head and scalars are not among them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from gan_zoo_kernels import Layout, WarpSteps
from gan_zoo_kernels.fused import (
    adam,
    batch_norm,
    binary_cross_entropy,
    consistency,
    cross_entropy,
    gaussian_nll,
    information_launchers,
    q_head_nll,
    random_warp,
    sample_latents,
)
from gan_zoo_kernels.fused.tiles import MAX_COLUMNS
from gan_zoo_kernels.layout import CATEGORICAL
from gan_zoo_kernels.reference_consistency import categorical_columns
from torch import Tensor

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LAYOUTS = {
    "10 + 2 gaussian": Layout("categorical:10|gaussian:2x2"),
    "10 x 10": Layout("categorical:10x10"),
    "4 x 16": Layout("categorical:16x4"),
    "all kinds": Layout("categorical:20|gaussian:2x3|gaussian:1x2|bernoulli:1x2"),
    "5 gaussian": Layout("gaussian:2x5"),
    "8192 + all kinds": Layout("categorical:8192|gaussian:2|gaussian:1|bernoulli:1"),
}
PRIORS = {
    "62 + 10 + 2 uniform": Layout("noise(normal):62|categorical:10|uniform:1x2"),
    "128 + 10 x 10": Layout("noise(normal):128|categorical:10x10"),
    "uniform 100": Layout("noise(uniform):100"),
    "8 + all kinds": Layout("noise(normal):8|categorical:8192|gaussian:1|bernoulli:1|uniform:1"),
}

WARPS = {
    "recipe": WarpSteps(scale=True, height=True, shear=True, rotate=True, shift=True, elastic=0.04),
    "all": WarpSteps(flip=0.5, scale=True, height=True, shear=True, rotate=True, shift=True, elastic=0.04),
    "shift": WarpSteps(shift=True),
}


MOST_TRAFFIC = 1.05  # times the floor, for partial sums and the scalars that every program reads
LABELLED_TRAFFIC = 1.2  # the exception: the label's logit is loaded again from the first cache, or g for every code
BROADCAST_TRAFFIC = 1.5  # the exception: a row that is broadcast over 64 rows is asked for 64 times (from a cache)
WARP_TRAFFIC = 2.6  # the exception: a pixel's four neighbours are other pixels' too, and come from a cache
STACK_OF_TURNS = 32  # the exception: what CUDA's float32 sine and cosine need to reduce a huge angle
MOST_REGISTERS = 96  # so that 640 threads fit on every multiprocessor of these architectures
ALONE_REGISTERS = 255  # the exception: the information term's few programs have a multiprocessor each
REREAD_TRAFFIC = 6  # the exception: every block of columns reads all features, from a cache
NORM_REGISTERS = 144  # the exception: a thread of a batch norm holds several numbers of each of 8 channels
PARTS_TRAFFIC = 2.5  # the exception: every program of the second launch reads all partial sums, from a cache


@dataclass(frozen=True)
class Case:
    """One launch worth a line of the table."""

    kernel: str
    shape: str
    dtype: str
    run: Callable[[], object]
    tensors: tuple[Tensor, ...]  # read once or written once; the outputs' twins stand for the outputs
    loads: dict[str, int]  # kernel argument: bytes that one load of it fetches at least, by the shape's alignment
    most_traffic: float = MOST_TRAFFIC  # times the floor
    stack: int = 0  # bytes a thread may have on an NVIDIA GPU
    most_registers: int = MOST_REGISTERS

    @property
    def floor(self) -> int:
        """Bytes of every input read once and every output written once; a broadcast input has few."""
        return sum(_stored(t) * t.element_size() for t in self.tensors)


def cases() -> Iterator[Case]:
    """All cases, in the order of the table."""
    for name, dtype in DTYPES.items():
        yield from _gaussian(name, dtype)
        yield from _cross_entropy(name, dtype)
        yield from _q_head(name, dtype)
        yield from _q_head_rows(name, dtype)
        yield from _information(name, dtype)
        yield from _latents(name, dtype)
        yield from _warps(name, dtype)
        yield from _consistency(name, dtype)
        yield from _batch_norm(name, dtype)
        yield from _binary_cross_entropy(name, dtype)
        yield from _adam(name, dtype)


def _stored(tensor: Tensor) -> int:
    """Elements in memory: an axis of stride 0 has one."""
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)


def _vector(values: int, dtype: torch.dtype) -> int:
    """Bytes of a load of neighbours when rows start at multiples of `values` values."""
    power = values & -values  # the largest power of two that divides it
    return min(16, power * dtype.itemsize)


def _gaussian(name: str, dtype: torch.dtype) -> Iterator[Case]:
    mean, log_var, target = (torch.zeros(64, 96, dtype=dtype) for _ in range(3))
    loss, one = torch.zeros(64, 96), torch.zeros(())
    bounds = (-8.0, 8.0)
    flat = (mean, log_var, target)
    row = torch.zeros(96, dtype=dtype)
    wide = {"mean": 16, "log_var": 16, "target": 16}
    narrow = dict.fromkeys(wide, 4 * dtype.itemsize)  # few elements without a sum: four a thread
    yield Case(
        "gaussian_nll_forward",
        "64x96 mean",
        name,
        lambda: gaussian_nll.forward(*flat, "mean", *bounds),
        (*flat, one),
        wide,
    )
    yield Case(
        "gaussian_nll_forward",
        "64x96 none",
        name,
        lambda: gaussian_nll.forward(*flat, "none", *bounds),
        (*flat, loss),
        narrow,
    )
    yield Case(
        "gaussian_nll_forward",
        "64x96 fixed variance",
        name,
        lambda: gaussian_nll.forward(mean, None, target, "mean", *bounds),
        (mean, target, one),
        {"mean": 16, "target": 16},
    )
    yield Case(
        "gaussian_nll_forward",
        "64x96, log_var a row (exception)",
        name,
        lambda: gaussian_nll.forward(mean, row.expand(64, 96), target, "mean", *bounds),
        (mean, target, row.expand(64, 96), one),
        dict.fromkeys(wide, dtype.itemsize),
        most_traffic=BROADCAST_TRAFFIC,
    )
    yield Case(
        "gaussian_nll_backward",
        "64x96 mean",
        name,
        lambda: gaussian_nll.backward(one, *flat, "mean", *bounds, [1, 1, 1]),
        (*flat, *flat, one),
        narrow,
    )
    yield Case(
        "gaussian_nll_backward",
        "64x96 none",
        name,
        lambda: gaussian_nll.backward(loss, *flat, "none", *bounds, [1, 1, 0]),
        (*flat, loss, mean, log_var),
        {**narrow, "upstream": 16},
    )
    many = tuple(torch.zeros(512, 512, dtype=dtype) for _ in range(3))
    yield Case(
        "gaussian_nll_forward",
        "512x512 mean",
        name,
        lambda: gaussian_nll.forward(*many, "mean", *bounds),
        (*many, one),
        wide,
    )
    yield Case(
        "gaussian_nll_backward",
        "512x512 mean",
        name,
        lambda: gaussian_nll.backward(one, *many, "mean", *bounds, [1, 1, 1]),
        (*many, *many, one),
        wide,
    )


def _cross_entropy(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for rows, columns in ((256, 2), (256, 10), (64, 100), (64, 128), (8, 1000), (4, 4096), (2, 8192), (2, 20_000)):
        logits, target = torch.zeros(rows, columns, dtype=dtype), torch.zeros(rows, dtype=torch.int64)
        loss, two, one = torch.zeros(rows), torch.zeros(2), torch.zeros(())
        kept = torch.zeros(rows if columns > MAX_COLUMNS else 0, 2)
        kernel = "cross_entropy_long" if columns > MAX_COLUMNS else "cross_entropy"
        wide = {"logits": _vector(columns, dtype)}
        for reduction, ignore_index in (("mean", None), ("none", 0)):
            yield Case(
                f"{kernel}_forward",
                f"{rows}x{columns} {reduction}",
                name,
                lambda a=logits, b=target, r=reduction, i=ignore_index: cross_entropy.forward(a, b, r, i),
                (logits, target, two if reduction == "mean" else loss, kept),
                wide,
            )
        yield Case(
            f"{kernel}_backward",
            f"{rows}x{columns} mean",
            name,
            lambda a=logits, b=target, g=one, k=kept: cross_entropy.backward(g, g, k, a, b, "mean", None),
            (logits, target, one, one, kept, logits),
            wide,
        )


def _q_head(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for shape, layout in LAYOUTS.items():
        batch = 4 if layout.most_classes > 1000 else 256
        codes = len(layout.columns)
        parameters = torch.zeros(batch, layout.width, dtype=dtype)
        targets, nll = torch.zeros(batch, codes), torch.zeros(codes)
        categorical = [group for group in layout.groups if group.kind == CATEGORICAL]
        starts_and_sizes = [n for group in categorical for n in (group.first_column, group.size)]
        wide = {
            "parameters": _vector(math.gcd(layout.width, *starts_and_sizes), dtype) if categorical else dtype.itemsize
        }
        yield Case(
            "q_head_nll_forward",
            f"{batch}: {shape}",
            name,
            lambda p=parameters, t=targets, s=layout.spec: q_head_nll.forward(p, t, s, -8.0, 8.0),
            (parameters, targets, nll),
            wide,
        )
        yield Case(
            "q_head_nll_backward",
            f"{batch}: {shape}",
            name,
            lambda p=parameters, t=targets, s=layout.spec, g=nll: q_head_nll.backward(g, p, t, s, -8.0, 8.0),
            (parameters, targets, nll, parameters),
            wide,
        )


def _q_head_rows(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for shape in ("10 x 10", "4 x 16"):
        layout = LAYOUTS[shape]
        parameters = torch.zeros(1024, layout.width, dtype=dtype)
        targets, nll = torch.zeros(1024, len(layout.columns)), torch.zeros(len(layout.columns))
        wide = {"parameters": _vector(layout.most_classes, dtype)}
        yield Case(
            "q_head_rows_forward",
            f"1024: {shape}",
            name,
            lambda p=parameters, t=targets, s=layout.spec: q_head_nll.forward(p, t, s, -8.0, 8.0),
            (parameters, targets, nll),
            wide,
            most_traffic=LABELLED_TRAFFIC,
        )
        yield Case(
            "q_head_rows_backward",
            f"1024: {shape}",
            name,
            lambda p=parameters, t=targets, s=layout.spec, g=nll: q_head_nll.backward(g, p, t, s, -8.0, 8.0),
            (parameters, targets, nll, parameters),
            wide,
            most_traffic=LABELLED_TRAFFIC,
        )


def _information(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for shape, width, hidden in (("10 + 2 gaussian", 1024, 128), ("10 x 10", 2112, 32)):  # two launches, and four
        layout = LAYOUTS[shape]
        batch, codes = 128, len(layout.columns)
        features, weight1 = torch.zeros(batch, width, dtype=dtype), torch.zeros(hidden, width)
        units, weight2, bias2 = torch.zeros(hidden), torch.zeros(layout.width, hidden), torch.zeros(layout.width)
        targets, of_codes, one = torch.zeros(batch, codes), torch.zeros(codes), torch.zeros(())
        normal, slopes = torch.zeros(batch, hidden), torch.zeros(batch, information_launchers.padded(layout.width))
        head = (weight1, units, units, units, units, weight2, bias2)
        variances, constants = of_codes + 1, (layout.spec, -8.0, 8.0, False, 0.02, 0.1, 1e-5, 0.1, dtype, True)
        known = (targets, of_codes, of_codes, variances, *constants)
        yield Case(
            "information_term_forward",
            f"{batch} x {width}: {shape}",
            name,
            lambda x=features, h=head, k=known: information_launchers.forward(x, *h, *k),
            (features, *head, *head[3:5], targets, *[of_codes] * 5, one, one, normal, units, slopes),
            {},
            most_traffic=REREAD_TRAFFIC,
            most_registers=ALONE_REGISTERS,
        )
        weights = (weight1, units, units, weight2, bias2)
        yield Case(
            "information_term_backward",
            f"{batch} x {width}: {shape}",
            name,
            lambda g=one, x=features, w=weights, s=(normal, units, slopes), d=dtype: information_launchers.backward(
                g, x, *w, *s, 0.1, d, True, True
            ),
            (one, features, *weights, normal, units, slopes, features, *weights),
            {},
            most_traffic=REREAD_TRAFFIC,
            most_registers=ALONE_REGISTERS,
        )


def _latents(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for shape, layout in PRIORS.items():
        outputs = (torch.zeros(128, layout.width, dtype=dtype), torch.zeros(128, len(layout.columns)))
        yield Case(
            "sample_latents",
            f"128: {shape}",
            name,
            lambda s=layout.spec, d=dtype: sample_latents.draw(s, 128, 1, 1, None, 0, 0, torch.device("cpu"), d),
            outputs,
            {},
        )


def _warps(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for n, channels, side, policy in ((8, 1, 28, "recipe"), (2, 3, 64, "all"), (8, 3, 32, "shift")):
        steps = WARPS[policy]
        images = torch.zeros(n, channels, side, side, dtype=dtype)
        if channels == 3:
            images = images.to(memory_format=torch.channels_last)
        normals, values = torch.zeros(n, steps.normals), torch.zeros(n, steps.values)
        yield Case(
            "random_warp",
            f"{n}x{channels}x{side}x{side} {policy}",
            name,
            lambda x=images, z=normals, v=values, s=steps.numbers: random_warp.forward(x, z, v, s),
            (images, normals, values, images),
            {},
            most_traffic=WARP_TRAFFIC,
            stack=STACK_OF_TURNS if steps.rotate else 0,
        )


def _consistency(name: str, dtype: torch.dtype) -> Iterator[Case]:
    for shape, n, m in (("10 + 2 gaussian", 128, 128), ("10 x 10", 256, 100), ("all kinds", 64, 64)):
        layout = LAYOUTS[shape]
        parameters, warped = (torch.zeros(rows, layout.width, dtype=dtype) for rows in (n, m))
        sizes = [columns.stop - columns.start for columns in categorical_columns(layout)]
        means, one = torch.zeros(sum(sizes)), torch.zeros(())
        read = tuple(side[:, : sum(sizes)] for side in (parameters, warped))
        log_priors = means if shape == "all kinds" else None
        priors = () if log_priors is None else (log_priors,)
        yield Case(
            "consistency_forward",
            f"{n}, {m}: {shape}",
            name,
            lambda p=parameters, w=warped, c=log_priors, s=layout.spec: consistency.forward(p, w, c, s, 4.0),
            (*read, *priors, means, torch.zeros(len(sizes))),
            {},
        )
        yield Case(
            "consistency_backward",
            f"{n}, {m}: {shape}",
            name,
            lambda g=one, p=parameters, w=warped, c=log_priors, mean=means, s=layout.spec: consistency.backward(
                g, p, w, c, mean, s, 4.0
            ),
            (*read, *priors, means, one, parameters, warped),
            {},
        )


def _batch_norm(name: str, dtype: torch.dtype) -> Iterator[Case]:
    shapes = (((128, 1024), 128), ((256, 100), 128), ((512, 64), 512), ((1024, 64), 1024), ((48, 64, 14, 14), 48))
    for shape, rows in shapes:
        x, c = torch.zeros(shape, dtype=dtype), torch.zeros(shape[1])
        x = x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x
        stats = torch.zeros(-(-shape[0] // rows), 2, shape[1])
        in_parts = batch_norm.shape_of(x, rows).rows > batch_norm.REGISTER_ROWS
        forward, backward = ("apply", "apply_backward") if in_parts else ("forward", "backward")
        read = (x, x) if in_parts else (x,)  # once in each launch
        limits = {
            "most_traffic": PARTS_TRAFFIC if in_parts else MOST_TRAFFIC,
            "most_registers": NORM_REGISTERS,
        }
        lots = f"{'x'.join(map(str, shape))} in {len(stats)}"
        wide = _vector(shape[1], dtype)
        yield Case(
            f"batch_norm_{forward}",
            lots,
            name,
            lambda x=x, c=c, n=rows: batch_norm.forward(x, c, c, c, c, n, 0.1, 1e-5, 0.1),
            (*read, x, *[c] * 6, stats),
            {"x": wide},
            **limits,
        )
        yield Case(
            f"batch_norm_{backward}",
            lots,
            name,
            lambda x=x, c=c, s=stats, n=rows: batch_norm.backward(x, x, c, c, s, n, 0.1, True),
            (*read, *read, x, *[c] * 4, stats),
            {"x": wide, "upstream": wide},
            **limits,
        )


def _binary_cross_entropy(name: str, dtype: torch.dtype) -> Iterator[Case]:
    loss = torch.zeros(())
    for shape, (ones, zeros) in {
        "128 and 128": (torch.zeros(128, dtype=dtype), torch.zeros(128, dtype=dtype)),
        "600 and none": (torch.zeros(600, dtype=dtype), None),
    }.items():
        logits = (ones,) if zeros is None else (ones, zeros)
        yield Case(
            "binary_cross_entropy_forward",
            shape,
            name,
            lambda ones=ones, zeros=zeros: binary_cross_entropy.forward(ones, zeros),
            (*logits, loss),
            {},
        )
        yield Case(
            "binary_cross_entropy_backward",
            shape,
            name,
            lambda ones=ones, zeros=zeros: binary_cross_entropy.backward(loss, ones, zeros),
            (*logits, *logits, *[loss] * 2),
            {},
        )


def _adam(name: str, dtype: torch.dtype) -> Iterator[Case]:
    weight, average, square = (torch.zeros(512, 512) for _ in range(3))
    half, one = torch.zeros(512, 512, dtype=dtype), torch.zeros(())
    updated = (weight, average, square)
    yield Case(
        "adam",
        "512x512",
        name,
        lambda: adam.adam_step(weight, half, average, square, half, one, one, 0.5, 0.999, 1e-8),
        (*updated, *updated, half, half, one, one),
        {"weight": 16, "average": 16, "square": 16, "gradient": 16},
    )


def selection(every: int) -> list[Case]:
    """One case in `every`, spread over kernels, shapes and dtypes."""
    return list(itertools.islice(cases(), 0, None, every))
