"""Reports made by hand."""

from __future__ import annotations

from typing import Any

from gan_zoo.bench.record import Cell, Report, Samples


def samples(*seconds: float, **facts: float) -> Samples:
    return Samples(seconds=seconds, facts={"images": 100, "flops": 2e9, "waiting": 0.001} | facts)


def step_report(*, scale: float = 1.0, **changes: Any) -> Report:
    """GAN at 0.1 s, InfoGAN at 0.11 s; a cell without memory."""
    key: dict[str, str | int] = {
        "trunk": "dcgan",
        "resolution": 64,
        "batch": 100,
        "precision": "fp32",
        "mode": "eager",
    }
    plain = samples(*(scale * t for t in (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)), peak_bytes=3 * 2**20)
    info = samples(*(scale * t for t in (0.11, 0.11, 0.11, 0.11, 0.11, 0.11, 0.11)))
    made: dict[str, Any] = {
        "suite": "step",
        "environment": {"device": "a card", "packages": {"torch": "9.9", "triton": "8.8"}, "threads": 2},
        "settings": {},
        "rates": {"matmul/fp32": 4e10, "copy": 1e10},
        "cells": (Cell(key=key, cases={"gan": plain, "infogan": info}), _no_room(key)),
        "notes": ("a note",),
    }
    return Report(**(made | changes))


def kernel_report() -> Report:
    key: dict[str, str | int] = {"kernel": "q_head_nll", "shape": "128", "precision": "bf16", "direction": "both"}
    case = Samples(seconds=(1e-5,), facts={"bytes": 1e5, "launches": 2})
    cell = Cell(key=key, cases={"ours": case}, missing={"ours, CUDA graph": "no GPU"})
    return Report(suite="kernels", environment={"device": "a card"}, settings={}, rates={"copy": 2e10}, cells=(cell,))


def _no_room(key: dict[str, str | int]) -> Cell:
    return Cell(key=key | {"batch": 200}, missing={"": "out of memory"})
